"""Parts of an item: time ranges, chapters by name, and what SponsorBlock says is to be left out."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.engine.rig import Rig, Run
from tests.site import Site

EXACT_SEC = 0.3
KEYFRAME_SEC = 1.1
"""A cut without encoding begins at a key frame: the site's clips have one each second."""


def duration(rig: Rig, run: Run, name: str = "media.mp4") -> float:
    return float(rig.probe(run.folder / name)["format"]["duration"])


@pytest.mark.parametrize(
    ("sections", "lengths"),
    [
        (("*2-5",), [3]),
        (("*00:07-inf",), [3]),
        (("*-2",), [2]),
        (("*1-3,6-9.5",), [2, 3.5]),
        (("*0:01-0:02", "Close"), [3, 1]),
        (("^Middle", "^O"), [3, 4]),
    ],
)
async def test_sections_become_a_file_each(
    forking: Rig, sections: tuple[str, ...], lengths: list[float]
) -> None:
    run = await forking.download("/site/video/parts?formats=combined", download_sections=sections)

    names = ["media.mp4", *(f"media-{number}.mp4" for number in range(2, len(lengths) + 1))]
    assert (run.files, run.main.name) == (set(names), "media.mp4")
    found = [duration(forking, run, name) for name in names]
    assert found == pytest.approx(lengths, abs=KEYFRAME_SEC)
    assert all(forking.codecs(run.folder / name) == {"h264", "aac"} for name in names)


@pytest.mark.parametrize("sections", [("Nothing of the kind",), ("*20-30",), ("*20-30", "^x$")])
async def test_a_section_that_is_not_there_is_said_before_anything_is_downloaded(
    forking: Rig, sections: tuple[str, ...]
) -> None:
    run = await forking.download("/site/video/no-part?formats=combined", download_sections=sections)

    assert (run.fault.code, run.fault.message) == ("format_unavailable", "The item has no such section.")
    assert forking.site.requests_for("/media/*/no-part.mp4") == []


@pytest.mark.parametrize(
    "options",
    [
        {"video_format": "mkv", "embed_metadata": True},
        {"audio_only": True, "audio_format": "opus", "embed_metadata": True},
        {"video_format": "mkv", "embed_thumbnail": True, "write_info_json": True},
    ],
)
async def test_a_section_goes_through_the_other_steps(forking: Rig, options: dict[str, Any]) -> None:
    run = await forking.download("/site/video/part?formats=split", download_sections=("*2-6",), **options)

    assert duration(forking, run, run.main.name) == pytest.approx(4, abs=KEYFRAME_SEC)
    if options.get("embed_metadata"):
        assert "Video part" in str(forking.probe(run.main))


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def sponsored(site: Site, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    """An engine that asks the site where others ask SponsorBlock."""
    root: Path = tmp_path_factory.mktemp("sponsored")
    async with Rig(site, root, "fork", sponsorblock_api=site.url("/sponsorblock/sponsored")) as rig:
        yield rig


async def test_segments_that_sponsorblock_knows_are_removed(sponsored: Rig) -> None:
    path = "/site/video/sponsored?formats=combined&extractor_key=Youtube"
    one, two, none = await asyncio.gather(
        sponsored.download(path, sponsorblock_remove=("sponsor",), download_subtitles=True),
        sponsored.download(path, sponsorblock_remove=("sponsor", "intro"), embed_chapters=True),
        sponsored.download(path, sponsorblock_remove=("outro",)),
    )

    assert duration(sponsored, one) == pytest.approx(7, abs=EXACT_SEC)
    assert duration(sponsored, two) == pytest.approx(6, abs=EXACT_SEC)
    assert duration(sponsored, none) == pytest.approx(10, abs=EXACT_SEC)
    subtitle = (one.folder / "media.en.srt").read_text()
    assert "Line 2 of" in subtitle
    assert "Line 4 of" not in subtitle, "subtitles are cut as the picture is"
    assert one.files == {"media.mp4", "media.en.srt"}
    assert float(sponsored.probe(two.main)["chapters"][-1]["end_time"]) == pytest.approx(6, abs=EXACT_SEC)


async def test_sponsorblock_is_asked_for_youtube_alone(sponsored: Rig) -> None:
    run = await sponsored.download("/site/video/other?formats=combined", sponsorblock_remove=("sponsor",))

    assert duration(sponsored, run) == pytest.approx(10, abs=EXACT_SEC)
    assert any("not supported" in line for line in run.lines)
