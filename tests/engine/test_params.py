from typing import Any

import msgspec
import pytest

from umd.domain.options import AudioFormat, AudioQuality, MediaOptions, Quality, VideoFormat
from umd.engine.config import EngineConfig
from umd.engine.ffmpeg import Tools
from umd.engine.params import Step, base, plan

LIMIT = 1_000_000
METADATA = Step("FFmpegMetadata", {"add_metadata": True, "add_chapters": True, "add_infojson": False})


def config(**changes: Any) -> EngineConfig:  # noqa: ANN401 - any field
    return msgspec.structs.replace(EngineConfig("/data", "/data/scratch", Tools("/tools"), "a.b"), **changes)


def test_the_default_request() -> None:
    made = plan(MediaOptions(), LIMIT)

    assert made.params == {
        "format": "bv*+ba/b",
        "format_sort": ["lang", "res", "fps", "vcodec:h264", "acodec:aac"],
        "merge_output_format": "mp4",
        "max_filesize": LIMIT,
        "ratelimit": None,
    }
    assert made.steps == (Step("Container", {"preferedformat": "mp4", "reencode": True}), METADATA)
    assert made.needs_ffmpeg


@pytest.mark.parametrize(
    ("quality", "res"),
    [
        ("best", "res"),
        ("4k", "res:2160"),
        ("1080p", "res:1080"),
        ("720p", "res:720"),
        ("480p", "res:480"),
        ("360p", "res:360"),
    ],
)
def test_a_quality_sorts_by_height_before_anything_of_the_codec(quality: Quality, res: str) -> None:
    assert plan(MediaOptions(quality=quality), LIMIT).params["format_sort"][:2] == ["lang", res]


@pytest.mark.parametrize(
    ("video_format", "merged", "codecs"),
    [
        ("mp4", "mp4", ["fps", "vcodec:h264", "acodec:aac"]),
        ("mkv", "mkv", []),
        ("webm", "webm/mkv", ["fps", "vcodec:vp9", "acodec:opus"]),
        ("mov", "mov/mkv", ["fps", "vcodec:h264", "acodec:aac"]),
        ("avi", "avi/mkv", ["fps", "vcodec:h264", "acodec:mp3"]),
        ("flv", "flv/mkv", ["fps", "vcodec:h264", "acodec:aac"]),
    ],
)
def test_a_container_chooses_codecs_that_it_takes(
    video_format: VideoFormat, merged: str, codecs: list[str]
) -> None:
    made = plan(MediaOptions(video_format=video_format), LIMIT)

    assert made.params["merge_output_format"] == merged
    assert made.params["format_sort"] == ["lang", "res", *codecs]
    assert made.steps[0] == Step("Container", {"preferedformat": video_format, "reencode": True})


@pytest.mark.parametrize(
    ("audio_format", "audio_quality", "step"),
    [
        ("mp3", "192", Step("Audio", {"preferredcodec": "mp3", "preferredquality": "192"})),
        ("mp3", "best", Step("Audio", {"preferredcodec": "mp3", "preferredquality": "0"})),
        ("m4a", "96", Step("Audio", {"preferredcodec": "m4a", "preferredquality": "96"})),
        ("opus", "best", Step("Audio", {"preferredcodec": "opus", "preferredquality": "256"})),
        ("flac", "320", Step("Audio", {"preferredcodec": "flac", "preferredquality": None})),
        ("wav", "best", Step("Audio", {"preferredcodec": "wav", "preferredquality": None})),
        (
            "vorbis",
            "128",
            Step("Audio", {"preferredcodec": "vorbis", "preferredquality": "128"}),
        ),
        ("aac", "256", Step("AacAudio", {"preferredcodec": "aac", "preferredquality": "256"})),
    ],
)
def test_audio_is_extracted(audio_format: AudioFormat, audio_quality: AudioQuality, step: Step) -> None:
    options = MediaOptions(
        audio_only=True, audio_format=audio_format, audio_quality=audio_quality, embed_metadata=False
    )
    made = plan(options, LIMIT)

    assert (made.params["format"], made.steps) == ("ba/b", (step,))
    assert "merge_output_format" not in made.params
    assert made.needs_ffmpeg


def test_quality_audio_is_audio_only() -> None:
    assert plan(MediaOptions(quality="audio"), LIMIT) == plan(MediaOptions(audio_only=True), LIMIT)


def test_a_custom_format_wins() -> None:
    assert plan(MediaOptions(custom_format="18/22", audio_only=True), LIMIT).params["format"] == "18/22"


def test_limits_are_the_smaller_of_the_clients_and_the_services() -> None:
    small = plan(MediaOptions(max_filesize=10, limit_rate=50_000), LIMIT).params
    large = plan(MediaOptions(max_filesize=10 * LIMIT), LIMIT).params

    assert (small["max_filesize"], small["ratelimit"], large["max_filesize"]) == (10, 50_000, LIMIT)


def test_a_plain_file_without_metadata_needs_no_ffmpeg() -> None:
    assert not plan(MediaOptions(embed_metadata=False), LIMIT).needs_ffmpeg


def test_what_all_jobs_share_takes_nothing_from_the_environment() -> None:
    params = base(config())

    assert (params["proxy"], params["cachedir"], params["geo_bypass"]) == ("", False, False)
    assert params["outtmpl"] == {
        "default": "media.%(ext)s",
        "chapter": "media.chapter-%(section_number)03d.%(ext)s",
    }
    assert params["ffmpeg_location"] == "/tools"
    assert "nocheckcertificate" not in params
    assert "cookiesfrombrowser" not in params


@pytest.mark.parametrize(
    ("setting", "runtimes"),
    [("auto", {"deno": {}}), ("", {}), ("/opt/deno", {"deno": {"path": "/opt/deno"}})],
)
def test_the_javascript_runtime_is_the_operators_choice(
    setting: str, runtimes: dict[str, dict[str, str]]
) -> None:
    assert base(config(js_runtime=setting))["js_runtimes"] == runtimes


def test_retries_wait_longer_each_time() -> None:
    wait = base(config())["retry_sleep_functions"]["http"]

    assert [wait(n=n) for n in range(5)] == [0.25, 0.5, 1.0, 2.0, 2.0]
