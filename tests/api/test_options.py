"""Bad input for every field: 422 with the field's pointer, and nothing is stored."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.api.world import URL, World, is_problem
from umd.domain.options import DownloadRequest, MediaOptions
from umd.domain.validation import Permits

TEXT = "t"
A_LIST = ["t"]

BAD: dict[str, list[object]] = {
    "url": [1, None, "", "x" * 2_049, "ftp://a.test/", A_LIST],
    "quality": ["8k", "", 720, None, A_LIST],
    "custom_format": ["", "x" * 513, 18, A_LIST],
    "video_format": ["ogv", "MP4", 4, None],
    "audio_only": ["true", 1, None],
    "audio_format": ["mp4", "", 3, None],
    "audio_quality": [128, "0", "64", None],
    "download_subtitles": ["yes", 0, None],
    "auto_subtitles": ["yes", 0, None],
    "embed_subtitles": ["yes", 0, None],
    "subtitle_languages": [
        "en",
        [],
        [1],
        [""],
        ["e n"],
        ["en\n"],
        ["x" * 33],
        ["(a+)+"],
        ["*"],
        ["en"] * 51,
        None,
    ],
    "subtitle_format": ["sub", 1, None],
    "write_thumbnail": ["yes", 1, None],
    "all_thumbnails": ["yes", 1, None],
    "embed_thumbnail": ["yes", 1, None],
    "thumbnail_format": ["gif", "", 1],
    "embed_metadata": ["yes", 1, None],
    "embed_chapters": ["yes", 1, None],
    "split_chapters": ["yes", 1, None],
    "sponsorblock_remove": ["sponsor", ["poi_highlight"], [1], ["sponsor"] * 10, None],
    "write_info_json": ["yes", 1, None],
    "write_description": ["yes", 1, None],
    "write_comments": ["yes", 1, None],
    "download_sections": [
        "*1-2",
        [1],
        [""],
        ["x" * 201],
        ["*"],
        ["*-"],
        ["*5"],
        ["*5-3"],
        ["*5-5"],
        ["*a-b"],
        ["*1:2:3:4-5"],
        ["*1-2,"],
        ["*1..2-3"],
        ["*from-url"],
        ["("],
        ["a{2,1}"],
        ["a{99999999999999999999}"],
        ["(" * 200],
        ["*1-2"] * 21,
        None,
    ],
    "live_from_start": ["yes", 1, None],
    "wait_for_video_sec": [0, -1, 86_401, 1.5, "10", True],
    "path_template": ["", "x" * 513, "../{id}", "/{id}", "{nope}", "a//b", "log/{id}", 1, None],
    "max_filesize": [0, -1, 2**50 + 1, 1.5, "10", True],
    "limit_rate": [0, 1_023, 2**40 + 1, 1.5, "10", True],
    "cookies_id": ["", "x" * 65, 1],
    "proxy": ["", "x" * 2_049, 1, "http://proxy.test:3128"],
    "retries": [-1, 21, 1.5, "1", True],
    "priority": [-11, 11, 1.5, "1", True, None],
    "timeout_sec": [59, 7_201, 60.5, "60", True],
    "retention_sec": [-1, 31_536_001, 1.5, "1", True],
    "webhook_secret": ["", "whsec_", "whsec_short", "whsec_" + "é" * 40, "x" * 600, 1],
    "webhook_url": ["", "x" * 2_049, "ftp://a.test/", "https://u:p@a.test/", 1],
    "webhook_events": ["download.completed", ["job.completed"], [1], ["download.started"] * 7],
}


def test_every_field_has_its_bad_values() -> None:
    assert BAD.keys() == set(DownloadRequest.__struct_fields__)
    assert {field.name for field in msgspec.structs.fields(MediaOptions)} < BAD.keys()


@pytest.mark.parametrize("field", BAD)
async def test_a_bad_value_is_refused_with_the_pointer_of_its_field(world: World, field: str) -> None:
    for value in BAD[field]:
        answer = await world.post({"url": URL, field: value})

        assert is_problem(answer, "validation_error", 422), (value, answer.body)
        (error,) = answer.json["errors"][:1]
        assert error["pointer"] == f"/{field}" or error["pointer"].startswith(f"/{field}/"), (value, error)
        assert error["message"].endswith(".")
        assert error["message"][0].isupper()
    assert world.log.head == 0


@pytest.mark.parametrize(
    ("options", "pointers"),
    [
        ({"embed_subtitles": True, "video_format": "avi"}, ["/embed_subtitles"]),
        ({"embed_subtitles": True, "video_format": "mov"}, ["/embed_subtitles"]),
        ({"embed_subtitles": True, "video_format": "flv"}, ["/embed_subtitles"]),
        ({"embed_subtitles": True, "audio_only": True}, ["/embed_subtitles"]),
        ({"embed_subtitles": True, "quality": "audio"}, ["/embed_subtitles"]),
        ({"embed_subtitles": True, "download_subtitles": True, "video_format": "webm"}, ["/subtitle_format"]),
        ({"embed_thumbnail": True, "video_format": "webm"}, ["/embed_thumbnail"]),
        ({"embed_thumbnail": True, "video_format": "avi"}, ["/embed_thumbnail"]),
        ({"embed_thumbnail": True, "video_format": "flv"}, ["/embed_thumbnail"]),
        ({"embed_thumbnail": True, "video_format": "mov"}, ["/embed_thumbnail"]),
        ({"embed_thumbnail": True, "audio_only": True, "audio_format": "wav"}, ["/embed_thumbnail"]),
        ({"embed_thumbnail": True, "quality": "audio", "audio_format": "aac"}, ["/embed_thumbnail"]),
        ({"split_chapters": True, "download_sections": ["*1-2"]}, ["/split_chapters"]),
        ({"sponsorblock_remove": ["intro"], "download_sections": ["*1-2"]}, ["/sponsorblock_remove"]),
        (
            {"subtitle_languages": ["en", "a**"], "download_sections": ["x", "*9-1"]},
            ["/subtitle_languages/1", "/download_sections/1"],
        ),
        (
            {"embed_thumbnail": True, "embed_subtitles": True, "video_format": "avi"},
            ["/embed_subtitles", "/embed_thumbnail"],
        ),
    ],
)
async def test_what_does_not_go_together_is_refused_at_the_door(
    world: World, options: dict[str, Any], pointers: list[str]
) -> None:
    answer = await world.post({"url": URL, **options})

    assert is_problem(answer, "validation_error", 422)
    assert [error["pointer"] for error in answer.json["errors"]] == pointers
    assert world.log.head == 0


@pytest.mark.parametrize(
    "options",
    [
        {"embed_subtitles": True, "video_format": "webm"},
        {"embed_subtitles": True, "auto_subtitles": True, "video_format": "webm", "subtitle_format": "vtt"},
        {"embed_thumbnail": True, "audio_only": True, "audio_format": "vorbis", "video_format": "webm"},
        {"subtitle_languages": ["en.*", "all", "-live_chat", "zh-Hans"]},
        {
            "download_sections": [
                "*10:15-10:45",
                "*1:00:00-inf",
                "*-30",
                "*90-",
                "*1-2, 3.5-4",
                "^Chapter [12]$",
                "[[x]",
            ]
        },
        {"sponsorblock_remove": ["sponsor", "hook"], "split_chapters": True},
        {"retention_sec": 0},
        {"retention_sec": None},
    ],
)
async def test_what_goes_together_is_accepted(world: World, options: dict[str, Any]) -> None:
    answer = await world.post({"url": URL, **options})

    assert answer.status == 202, answer.body


async def test_what_the_operator_permits_is_accepted(tmp_path: Path) -> None:
    world = World(tmp_path, permits=Permits(request_proxy=True))
    async with world.running():
        good = await world.post({"url": URL, "proxy": "socks5h://u:p@proxy.test:1080"})
        bad = [
            await world.post({"url": URL, "proxy": proxy})
            for proxy in ("file:///etc/passwd", "https://proxy.test:1", "http://proxy.test", "socks5://a:1/x")
        ]

    assert good.status == 202
    assert [error["pointer"] for answer in bad for error in answer.json["errors"]] == ["/proxy"] * 4


async def test_where_nothing_may_stay_for_ever_that_is_refused(tmp_path: Path) -> None:
    async with World(tmp_path, permits=Permits(endless_retention=False)).running() as world:
        refused = await world.post({"url": URL, "retention_sec": None})
        job_id = await world.completed({"videos/a.mp4": b"film"})
        kept = await world.ask("DELETE", f"/download/{job_id}/deletion")

    assert [error["pointer"] for error in refused.json["errors"]] == ["/retention_sec"]
    assert is_problem(kept, "invalid_state", 409)


async def test_without_ffmpeg_what_needs_it_is_refused_at_the_door(tmp_path: Path) -> None:
    needing: dict[str, object] = {
        "audio_only": True,
        "quality": "audio",
        "embed_subtitles": True,
        "embed_thumbnail": True,
        "embed_chapters": True,
        "split_chapters": True,
        "sponsorblock_remove": ["sponsor"],
        "download_sections": ["*1-2"],
    }
    async with World(tmp_path, permits=Permits(ffmpeg=False)).running() as world:
        for field, value in needing.items():
            answer = await world.post({"url": URL, field: value})
            assert f"/{field}" in [error["pointer"] for error in answer.json["errors"]]
        assert (await world.post({"url": URL, "embed_metadata": False})).status == 202
