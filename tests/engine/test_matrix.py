"""Options in the pairs that people ask for: each has its effect, and none takes it from another."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tests.engine.rig import Rig, Run

Check = Callable[[Rig, Run, Mapping[str, Any]], bool]


def tracks(kind: str, codec: str, count: int = 1) -> Check:
    """So many streams of this kind and codec."""

    def check(_rig: Rig, _run: Run, probed: Mapping[str, Any]) -> bool:
        found = [one for one in probed["streams"] if one["codec_type"] == kind and not is_picture(one)]
        return [one.get("codec_name") for one in found] == [codec] * count

    return check


def is_picture(stream: Mapping[str, Any]) -> bool:
    return bool(stream["disposition"]["attached_pic"]) or "mimetype" in stream.get("tags", {})


def poster(_rig: Rig, _run: Run, probed: Mapping[str, Any]) -> bool:
    return any(map(is_picture, probed["streams"]))


def marks(_rig: Rig, _run: Run, probed: Mapping[str, Any]) -> bool:
    return [one["tags"]["title"] for one in probed["chapters"]] == ["Opening", "Middle / part", "Close"]


def title(_rig: Rig, _run: Run, probed: Mapping[str, Any]) -> bool:
    tags = [probed["format"].get("tags", {}), *(one.get("tags", {}) for one in probed["streams"])]
    return any("Video " in tag.get(key, "") for tag in tags for key in ("title", "TITLE"))


def lasts(seconds: float, within: float = 1.1) -> Check:
    def check(_rig: Rig, _run: Run, probed: Mapping[str, Any]) -> bool:
        return abs(float(probed["format"]["duration"]) - seconds) <= within

    return check


def beside(*suffixes: str) -> Check:
    """These files and no other."""

    def check(_rig: Rig, run: Run, _probed: Mapping[str, Any]) -> bool:
        return run.files == {run.main.name, *(f"media{suffix}" for suffix in suffixes)}

    return check


def chapters_of(extension: str, codec: str) -> Check:
    """Three files, of the same kind as the whole."""

    def check(rig: Rig, run: Run, _probed: Mapping[str, Any]) -> bool:
        names = [f"media.chapter-00{number}.{extension}" for number in (1, 2, 3)]
        return run.files >= set(names) and all(codec in rig.codecs(run.folder / name) for name in names)

    return check


def commented(_rig: Rig, run: Run, _probed: Mapping[str, Any]) -> bool:
    return len(json.loads((run.folder / "media.comments.json").read_text())) == 3


PAIRS: dict[str, tuple[dict[str, Any], list[Check]]] = {
    "mp4 with everything": (
        {
            "embed_subtitles": True,
            "embed_thumbnail": True,
            "embed_chapters": True,
            "embed_metadata": True,
            "subtitle_languages": ("en", "de"),
        },
        [tracks("subtitle", "mov_text", 2), poster, marks, title, lasts(10), beside()],
    ),
    "mkv with everything, kept": (
        {
            "video_format": "mkv",
            "embed_subtitles": True,
            "download_subtitles": True,
            "embed_thumbnail": True,
            "write_thumbnail": True,
            "embed_metadata": True,
        },
        [tracks("subtitle", "subrip"), poster, marks, title, beside(".en.srt", ".jpg")],
    ),
    "mkv with styled subtitles": (
        {"video_format": "mkv", "embed_subtitles": True, "subtitle_format": "ass"},
        [tracks("subtitle", "ass"), beside()],
    ),
    "webm with subtitles and metadata": (
        {"video_format": "webm", "custom_format": "242+249", "embed_subtitles": True, "embed_metadata": True},
        [tracks("subtitle", "webvtt"), tracks("video", "vp9"), title, marks, beside()],
    ),
    "mp3 with cover and tags": (
        {"audio_only": True, "embed_thumbnail": True, "embed_metadata": True},
        [tracks("audio", "mp3"), poster, title, marks, beside()],
    ),
    "opus with cover, tags and the picture": (
        {
            "audio_only": True,
            "audio_format": "opus",
            "embed_thumbnail": True,
            "all_thumbnails": True,
            "embed_metadata": True,
        },
        [tracks("audio", "opus"), title, beside(".00-small.jpg", ".01-large.jpg")],
    ),
    "m4a of its chapters": (
        {
            "audio_only": True,
            "audio_format": "m4a",
            "split_chapters": True,
            "embed_thumbnail": True,
            "embed_metadata": True,
        },
        [tracks("audio", "aac"), poster, chapters_of("m4a", "aac"), lasts(10)],
    ),
    "mp3 of its chapters": (
        {"audio_only": True, "split_chapters": True},
        [tracks("audio", "mp3"), chapters_of("mp3", "mp3")],
    ),
    "flac of its chapters": (
        {"audio_only": True, "audio_format": "flac", "split_chapters": True},
        [tracks("audio", "flac"), chapters_of("flac", "flac")],
    ),
    "mkv of its chapters": (
        {"video_format": "mkv", "split_chapters": True, "embed_subtitles": True},
        [tracks("subtitle", "subrip"), chapters_of("mkv", "h264"), lasts(10)],
    ),
    "a section as mkv with a poster": (
        {"video_format": "mkv", "download_sections": ("*2-6",), "embed_thumbnail": True},
        [tracks("video", "h264"), poster, lasts(4), beside()],
    ),
    "a chapter as mp3 with tags": (
        {"audio_only": True, "download_sections": ("Middle",), "embed_metadata": True},
        [tracks("audio", "mp3"), title, lasts(4), beside()],
    ),
    "a low quality with sidecars": (
        {"quality": "360p", "write_info_json": True, "write_comments": True, "write_description": True},
        [tracks("video", "h264"), commented, beside(".info.json", ".comments.json", ".description")],
    ),
    "a poster of another format": (
        {"embed_thumbnail": True, "thumbnail_format": "webp", "write_thumbnail": True},
        [poster, beside(".webp")],
    ),
    "generated subtitles in mp4": (
        {"auto_subtitles": True, "embed_subtitles": True, "subtitle_format": "vtt"},
        [tracks("subtitle", "mov_text"), beside(".en.vtt")],
    ),
}


@pytest.mark.parametrize("name", PAIRS)
async def test_options_have_their_effect_together(forking: Rig, name: str) -> None:
    options, checks = PAIRS[name]
    run = await forking.download("/site/video/pair?formats=all", **options)

    assert run.finished.fault is None, run.lines
    probed = forking.probe(run.main)
    failed = [check for check in checks if not check(forking, run, probed)]
    assert failed == [], (run.files, probed)


@pytest.mark.parametrize("quality", ["96", "192"])
@pytest.mark.parametrize(
    ("kind", "source"),
    [
        ("mp3", "rich/x.m4a"),
        ("m4a", "rich-mp3/x.mp3"),
        ("aac", "rich-mp3/x.mp3"),
        ("opus", "rich/x.m4a"),
        ("vorbis", "rich/x.m4a"),
    ],
)
async def test_audio_has_the_bit_rate_that_was_asked_for(
    forking: Rig, kind: str, source: str, quality: str
) -> None:
    run = await forking.download(
        f"/media/{source}", audio_only=True, audio_format=kind, audio_quality=quality
    )

    assert run.main.stat().st_size * 8 / 10 / 1_000 == pytest.approx(int(quality), rel=0.35)


@pytest.mark.parametrize(("kind", "media"), [("m4a", "rich"), ("mp3", "rich-mp3")])
async def test_audio_that_is_richer_than_asked_for_is_encoded_and_other_is_copied(
    forking: Rig, kind: str, media: str
) -> None:
    path = f"/media/{media}/{kind}.{kind}"
    asked, best = [
        await forking.download(path, audio_only=True, audio_format=kind, audio_quality=quality)
        for quality in ("96", "best")
    ]

    def rate(run: Run) -> float:
        return int(forking.probe(run.main)["streams"][0]["bit_rate"]) / 1_000

    assert rate(best) == pytest.approx(256, rel=0.2)
    assert rate(asked) == pytest.approx(96, rel=0.2)
    assert any("Destination: media" in line for line in asked.lines)
    assert asked.files == {f"media.{kind}"}
