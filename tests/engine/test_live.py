"""Live streams and what has yet to begin."""

import asyncio

import pytest

from tests.engine.rig import Rig
from umd.engine.protocol import Tick


async def test_a_recording_that_is_interrupted_is_a_file(rig: Rig) -> None:
    run = await rig.begin(f"/site/live/kept-{rig.mode}?pace_ms=300", embed_metadata=True)
    await rig.site.wait_request("/hls/files/live/seg4.ts")
    await run.told(lambda one: isinstance(one, Tick) and one.progress.phase == "downloading")
    began = asyncio.get_running_loop().time()
    await run.attempt.interrupt()
    await run.ended()

    assert run.finished.fault is None
    assert asyncio.get_running_loop().time() - began < 5
    assert rig.codecs(run.main) >= {"h264", "aac"}
    assert float(rig.probe(run.main)["format"]["duration"]) >= 2
    assert run.files == {"media.mp4"}


async def test_any_other_download_that_is_interrupted_just_ends(rig: Rig) -> None:
    path = f"/media/1mb/broken-off-{rig.mode}.mp4"
    run = await rig.begin(f"{path}?rate=300000")
    await rig.site.wait_bytes(path, 100_000)
    await run.attempt.interrupt()
    await run.ended()

    assert run.files == {"media.mp4.part"}


async def test_a_live_stream_is_recorded_from_its_start(forking: Rig) -> None:
    """The window of the stream shows five seconds at most; its beginning is long out of it."""
    late, whole = await asyncio.gather(
        forking.download("/site/live/late?until=8&window=3&pace_ms=100"),
        forking.download("/site/live/whole?until=8&window=3&pace_ms=100", live_from_start=True),
    )

    def seconds(path: object) -> float:
        return float(forking.probe(path)["format"]["duration"])  # type: ignore[arg-type]

    assert seconds(whole.main) == pytest.approx(8, abs=0.5)
    assert forking.site.requests_for("/live/whole.m3u8")[-1].path == "/live/whole.m3u8"
    assert late.finished.fault is None


async def test_what_is_upcoming_is_waited_for(forking: Rig) -> None:
    run = await forking.download(
        "/site/upcoming/soon?opens_in=2&formats=combined", wait_for_video_sec=30, embed_metadata=True
    )

    assert run.finished.fault is None
    assert forking.codecs(run.main) >= {"h264", "aac"}
    assert any("Waiting" in line for line in run.lines)
    assert len([one for one in run.of(Tick) if one.progress.phase == "extracting"]) >= 2, "a sign of life"


async def test_the_wait_has_an_end(forking: Rig) -> None:
    upcoming, offline = await asyncio.gather(
        forking.download("/site/upcoming/never?opens_in=3000", wait_for_video_sec=1),
        forking.download("/site/notlive/never", wait_for_video_sec=1),
    )

    assert (upcoming.fault.code, offline.fault.code) == ("live_not_started", "live_not_started")


async def test_a_wait_is_stopped_at_once(forking: Rig) -> None:
    run = await forking.begin("/site/upcoming/stopped?opens_in=3000", wait_for_video_sec=3_000)
    await run.told(lambda one: "Waiting" in getattr(one, "message", ""))
    began = asyncio.get_running_loop().time()
    await run.attempt.stop()

    assert asyncio.get_running_loop().time() - began < 2
