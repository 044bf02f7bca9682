"""What a client gets beside the media and inside of it, looked at in the files."""

import asyncio
import json
from pathlib import Path
from typing import Any

import mutagen
import pytest

from tests.engine.rig import Rig
from umd.storage.volume import sources

FORMATS = "?formats=combined"


def kinds(folder: Path, main: Path) -> dict[str, str]:
    """The suffix and kind of each file that the client will get."""
    return {source.suffix: source.kind for source in sources(folder, main.name)}


def streams(rig: Rig, path: Path, kind: str) -> list[dict[str, Any]]:
    return [one for one in rig.probe(path)["streams"] if one["codec_type"] == kind]


SUBTITLES = {
    "srt": ("1\n00:00:00,000 --> 00:00:00,900\n", "Line 1 of the picture – “quoted”"),
    "vtt": ("WEBVTT\n", "Line 1 of the picture – “quoted”"),
    "ass": ("[Script Info]", "Dialogue: 0,0:00:00.00,0:00:00.90,Default,,0,0,0,,Line 1 of the picture"),
    "lrc": ("[", "[00:00.00]Line 1 of the picture"),
}


async def test_subtitles_come_in_each_format(forking: Rig) -> None:
    async def get(kind: str) -> str:
        run = await forking.download(
            f"/site/video/sub-{kind}{FORMATS}", download_subtitles=True, subtitle_format=kind
        )
        assert kinds(run.folder, run.main) == {".mp4": "media", f".en.{kind}": "subtitle"}
        return (run.folder / f"media.en.{kind}").read_text()

    for kind, text in zip(SUBTITLES, await asyncio.gather(*map(get, SUBTITLES)), strict=True):
        first, line = SUBTITLES[kind]
        assert text.startswith(first)
        assert line in text


@pytest.mark.parametrize(
    ("options", "files", "words"),
    [
        ({"download_subtitles": True, "subtitle_languages": ("all",)}, {"de", "en"}, "Zeile 1 des Bildes"),
        ({"download_subtitles": True, "subtitle_languages": ("d.*",)}, {"de"}, "Zeile 1 des Bildes"),
        ({"download_subtitles": True, "subtitle_languages": ("all", "-en")}, {"de"}, "Zeile 1 des Bildes"),
        ({"download_subtitles": True, "subtitle_languages": ("fr",)}, set(), ""),
        ({"auto_subtitles": True, "subtitle_languages": ("de",)}, {"de"}, "as heard by a machine"),
        (
            {"download_subtitles": True, "auto_subtitles": True, "subtitle_languages": ("de",)},
            {"de"},
            "Zeile 1 des Bildes",
        ),
    ],
)
async def test_subtitles_are_those_that_were_asked_for(
    forking: Rig, options: dict[str, Any], files: set[str], words: str
) -> None:
    run = await forking.download(f"/site/video/subs{FORMATS}", **options)

    assert run.files == {"media.mp4", *(f"media.{language}.srt" for language in files)}
    if words:
        assert words in (run.folder / "media.de.srt").read_text()


@pytest.mark.parametrize(
    ("container", "codec", "kept"),
    [("mp4", "mov_text", False), ("mkv", "subrip", True), ("webm", "webvtt", False)],
)
async def test_subtitles_are_embedded(forking: Rig, container: str, codec: str, *, kept: bool) -> None:
    run = await forking.download(
        "/site/video/embedded?formats=all",
        custom_format="242+249",
        video_format=container,
        embed_subtitles=True,
        download_subtitles=kept,
        subtitle_languages=("en", "de"),
    )

    found = streams(forking, run.main, "subtitle")
    assert [one["codec_name"] for one in found] == [codec, codec]
    assert [one["tags"]["language"] for one in found] == ["eng", "deu"]
    assert run.files == {run.main.name, *({"media.en.srt", "media.de.srt"} if kept else set())}
    assert "Zeile 10 des Bildes" in forking.subtitle(run.main, 1)


async def test_a_subtitle_that_cannot_be_had_fails_the_job(forking: Rig) -> None:
    run = await forking.download(f"/site/video/lost{FORMATS}&subs=/subs/lost/xx.vtt", download_subtitles=True)

    assert run.fault.code == "not_found"
    assert "subtitles" in run.fault.message


async def test_thumbnails_are_written_the_best_or_all_and_converted(forking: Rig) -> None:
    best, every, none = await asyncio.gather(
        forking.download(f"/site/video/thumb{FORMATS}", write_thumbnail=True),
        forking.download(f"/site/video/thumbs{FORMATS}", all_thumbnails=True, thumbnail_format="webp"),
        forking.download(f"/site/video/no-thumb{FORMATS}&thumb=/thumb/none.jpg", write_thumbnail=True),
    )

    original = forking.site.media.root / "images" / "large.jpg"
    assert (best.folder / "media.jpg").read_bytes() == original.read_bytes()
    assert kinds(best.folder, best.main) == {".mp4": "media", ".jpg": "thumbnail"}
    assert kinds(every.folder, every.main) == {
        ".mp4": "media",
        ".00-small.webp": "thumbnail",
        ".01-large.webp": "thumbnail",
    }
    assert (every.folder / "media.01-large.webp").read_bytes()[8:12] == b"WEBP"
    assert none.files == {"media.mp4"}, "a thumbnail that is not there is no fault"


@pytest.mark.parametrize("kind", ["jpg", "png", "webp"])
async def test_a_thumbnail_has_the_format_that_was_asked_for(forking: Rig, kind: str) -> None:
    run = await forking.download(
        f"/site/video/thumb-{kind}{FORMATS}&thumb_ext=png", write_thumbnail=True, thumbnail_format=kind
    )

    signatures = {"jpg": b"\xff\xd8\xff", "png": b"\x89PNG\r\n", "webp": b"RIFF"}
    assert (run.folder / f"media.{kind}").read_bytes().startswith(signatures[kind])
    assert run.files == {"media.mp4", f"media.{kind}"}


def covers(path: Path) -> int:
    """How many pictures a player would find in an audio file."""
    opened: Any = mutagen.File
    found = opened(path)
    match path.suffix:
        case ".mp3":
            return len(found.tags.getall("APIC"))
        case ".m4a":
            return len(found.tags["covr"])
        case ".flac":
            return len(found.pictures)
        case _:
            return len(found["metadata_block_picture"])


@pytest.mark.parametrize("kind", ["mp3", "m4a", "flac", "opus", "vorbis"])
async def test_a_thumbnail_and_tags_are_embedded_in_audio(forking: Rig, kind: str) -> None:
    run = await forking.download(
        "/site/video/cover?formats=audio",
        audio_only=True,
        audio_format=kind,
        embed_thumbnail=True,
        embed_metadata=True,
    )

    assert covers(run.main) == 1
    assert run.files == {run.main.name}
    probed = forking.probe(run.main)
    tags = probed["format"].get("tags") or streams(forking, run.main, "audio")[0]["tags"]
    told = {name.lower(): text for name, text in tags.items()} | {
        name.lower(): text for name, text in streams(forking, run.main, "audio")[0].get("tags", {}).items()
    }
    assert (told["title"], told["artist"], told["date"][:4]) == ("Video cover", "Una Uploader", "2026")


@pytest.mark.parametrize("container", ["mp4", "mkv"])
async def test_a_thumbnail_is_embedded_in_video(forking: Rig, container: str) -> None:
    run = await forking.download(
        f"/site/video/poster{FORMATS}", video_format=container, embed_thumbnail=True, write_thumbnail=True
    )

    pictures = [
        one
        for one in forking.probe(run.main)["streams"]
        if one["disposition"]["attached_pic"] or one.get("tags", {}).get("mimetype") == "image/jpeg"
    ]
    assert len(pictures) == 1
    assert run.files == {run.main.name, "media.jpg"}


async def test_chapters_are_marks_and_files(forking: Rig) -> None:
    run = await forking.download(f"/site/video/chapters{FORMATS}", embed_chapters=True, split_chapters=True)

    marks = [one["tags"]["title"] for one in forking.probe(run.main)["chapters"]]
    assert marks == ["Opening", "Middle / part", "Close"]
    assert "title" not in forking.probe(run.main)["format"].get("tags", {})
    assert kinds(run.folder, run.main) == {
        ".mp4": "media",
        ".chapter-001.mp4": "chapter",
        ".chapter-002.mp4": "chapter",
        ".chapter-003.mp4": "chapter",
    }
    lengths = [
        float(forking.probe(run.folder / f"media.chapter-00{number}.mp4")["format"]["duration"])
        for number in (1, 2, 3)
    ]
    assert lengths == pytest.approx([3, 4, 3], abs=0.6)


async def test_an_item_without_chapters_has_no_chapter_files(forking: Rig) -> None:
    run = await forking.download(f"/site/video/whole{FORMATS}&chapters=0", split_chapters=True)

    assert (run.finished.fault, run.files) == (None, {"media.mp4"})


async def test_sidecars_tell_what_the_site_told(forking: Rig) -> None:
    run = await forking.download(
        f"/site/video/told{FORMATS}&comments=7",
        write_info_json=True,
        write_description=True,
        write_comments=True,
    )

    assert kinds(run.folder, run.main) == {
        ".mp4": "media",
        ".info.json": "info_json",
        ".description": "description",
        ".comments.json": "comments",
    }
    info = json.loads((run.folder / "media.info.json").read_text())
    assert (info["id"], info["title"], len(info["formats"])) == ("told", "Video told", 2)
    assert "http_headers" not in info
    assert "The description of told." in (run.folder / "media.description").read_text()
    said = json.loads((run.folder / "media.comments.json").read_text())
    assert [one["text"] for one in said][:1] == ["Comment number 1: nice pattern!"]
    assert len(said) == 7


async def test_nothing_is_written_that_was_not_asked_for(forking: Rig) -> None:
    run = await forking.download(f"/site/video/plain{FORMATS}")

    assert run.files == {"media.mp4"}
    asked = {record.path for record in forking.site.requests if "/plain" in record.path}
    assert not any(path.startswith(("/subs", "/thumb", "/site/api/comments")) for path in asked)


async def test_names_from_a_site_leave_no_folder(forking: Rig) -> None:
    run = await forking.download(
        f"/site/video/escape{FORMATS}&thumb_id=../../x/&sub_id=../../y/",
        all_thumbnails=True,
        download_subtitles=True,
        subtitle_languages=("all",),
    )

    assert run.files == {"media.mp4", "media.00-x-small.jpg", "media.01-x-large.jpg"}
    assert not any((forking.root / "temp").glob("x*"))
