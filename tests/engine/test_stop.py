"""Ending an attempt: everything of it is gone, quickly, and what was downloaded is resumed."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from tests.engine.rig import WAIT_SEC, Calls, Rig, is_alive, stubborn_tools
from tests.site import Site
from umd.engine import ffmpeg
from umd.engine.protocol import Said, Tick
from umd.errors import EngineError

SOON_SEC = 1.0
"""The goal is 0.2 s; this machine may be busy with other things."""


@pytest_asyncio.fixture(scope="module", loop_scope="session", params=["fork", "spawn"])
async def stubborn(
    request: pytest.FixtureRequest, site: Site, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Rig]:
    """An engine whose ffmpeg hangs, is deaf to INT and TERM, and leaves a daemon behind."""
    folder: Path = tmp_path_factory.mktemp("stubborn")
    real = ffmpeg.find(folder / "real")
    tools = stubborn_tools(real, folder / "bin")
    async with Rig(site, folder / "data", request.param, tools) as running:
        yield running


async def test_a_stopped_download_is_gone_at_once_and_resumes_by_range(rig: Rig) -> None:
    path = f"/media/1mb/stopped-{rig.mode}.mp4"
    run = await rig.begin(f"{path}?rate=400000")
    await rig.site.wait_bytes(path, 300_000)
    began = asyncio.get_running_loop().time()
    ended = await run.attempt.stop()
    stopped = asyncio.get_running_loop().time() - began
    record = rig.site.requests_for(path)[-1]
    await rig.site.wait_closed(record, SOON_SEC)

    assert stopped < SOON_SEC
    assert ended.status in (130, -signal.SIGINT, -signal.SIGTERM)
    assert record.aborted
    assert run.files == {"media.mp4.part"}
    partial = (run.folder / "media.mp4.part").stat().st_size
    assert partial > 100_000

    again = await rig.download(path, folder=run.folder)

    original = rig.site.media.of_kind("1mb")
    assert original is not None
    assert rig.site.requests_for(path)[-1].range == f"bytes={partial}-"
    assert again.main.read_bytes() == original.read_bytes()
    assert again.files == {"media.mp4"}


@pytest.mark.parametrize("left", ["whole", "longer"])
async def test_a_partial_file_that_lacks_nothing_is_no_obstacle(rig: Rig, left: str) -> None:
    """A kill between the last byte and the renaming leaves one; its Range is answered with 416."""
    path = f"/media/small/{left}-{rig.mode}.mp4"
    run = await rig.download(path)
    part = run.main.rename(run.folder / "media.mp4.part")
    if left == "longer":
        with part.open("ab") as file:
            file.write(bytes(1_000))

    again = await rig.download(path, folder=run.folder)

    original = rig.site.media.of_kind("small")
    assert original is not None
    assert again.finished.fault is None
    assert again.main.read_bytes() == original.read_bytes()
    assert again.files == {"media.mp4"}


async def test_the_last_report_of_a_stopped_attempt_tells_how_far_it_came(rig: Rig) -> None:
    path = f"/media/50mb/far-{rig.mode}.mp4"
    run = await rig.begin(f"{path}?rate=2000000")
    await run.told(lambda one: isinstance(one, Tick) and one.progress.downloaded_bytes > 300_000)
    await run.attempt.stop()
    await run.ended()

    size = (run.folder / "media.mp4.part").stat().st_size
    assert run.progress[-1].downloaded_bytes == pytest.approx(size, abs=70_000)


async def test_parts_of_something_else_are_not_gone_on_with(forking: Rig) -> None:
    first = await forking.begin("/site/video/other?formats=bare&rate=100000")
    await forking.site.wait_bytes("/media/small/other.mp4", 50_000)
    await first.attempt.stop()

    again = await forking.download("/site/video/other?formats=combined", folder=first.folder, quality="360p")

    assert again.main.stat().st_size == forking.site.media.size("360p")
    assert forking.site.requests_for("/media/360p/other.mp4")[-1].range is None


async def test_what_is_no_part_is_removed_before_the_next_attempt(forking: Rig) -> None:
    folder = forking.folder()
    await forking.download("/site/video/again?formats=split", folder=folder)
    for name in ("media.orig.mp4", "media.temp.mp4", "media.mp3"):
        (folder / name).write_bytes(b"left")

    again = await forking.download("/site/video/again?formats=split", folder=folder)

    assert again.files == {"media.mp4"}
    assert forking.codecs(again.main) == {"h264", "aac"}


@pytest.mark.parametrize("kind", ["hang", "spin"])
async def test_an_extractor_that_hangs_or_spins_is_stopped(rig: Rig, kind: str) -> None:
    run = await rig.begin(f"/site/{kind}/stop-{rig.mode}")
    await run.told(lambda one: isinstance(one, Said) and "Extracting URL" in one.message)
    began = asyncio.get_running_loop().time()
    await run.attempt.stop()

    assert asyncio.get_running_loop().time() - began < SOON_SEC
    await run.ended()


async def test_a_stop_takes_a_deaf_ffmpeg_along_and_the_daemon_that_it_made(stubborn: Rig) -> None:
    folder = stubborn.folder()
    calls = Calls(folder)
    run = await stubborn.begin("/site/video/deaf?formats=split", folder=folder)
    pids = [await calls.pid_of("ffmpeg"), await calls.pid_of("daemon")]
    assert all(map(is_alive, pids))
    await run.entered("processing", "Merger")
    began = asyncio.get_running_loop().time()
    await run.attempt.stop()

    assert [pid for pid in pids if is_alive(pid)] == []
    assert asyncio.get_running_loop().time() - began < SOON_SEC + 1


async def test_a_killed_child_takes_its_ffmpeg_along(stubborn: Rig) -> None:
    """As the kernel's memory killer would do it: the child alone, and with a signal that it cannot hear."""
    folder = stubborn.folder()
    calls = Calls(folder)
    run = await stubborn.begin("/site/video/killed?formats=split", folder=folder)
    pid = await calls.pid_of("ffmpeg")
    await calls.pid_of("daemon")
    os.kill(os.getpgid(pid), signal.SIGKILL)
    ended = await run.ended()

    assert ended.status == -signal.SIGKILL
    assert not is_alive(pid)


async def test_a_stop_may_be_repeated_and_come_after_the_end(rig: Rig) -> None:
    run = await rig.begin("/media/50mb/twice.mp4?rate=500000")
    await run.entered("downloading")
    first, second = await asyncio.gather(run.attempt.stop(), run.attempt.stop())
    third = await run.attempt.stop()
    done = await rig.download("/media/small/done.mp4")

    assert first == second == third
    assert (await done.attempt.stop()).status == 0


async def test_a_child_that_nobody_listens_to_can_be_stopped(forking: Rig) -> None:
    run = await forking.begin("/media/50mb/unheard.mp4?rate=500000")
    run.following.cancel()
    await forking.site.wait_bytes("/media/50mb/unheard.mp4", 100_000)

    assert (await run.attempt.stop()).status in (130, -signal.SIGINT, -signal.SIGTERM)


@pytest.mark.parametrize("mode", ["fork", "spawn"])
async def test_a_stop_of_the_engine_ends_all_attempts_and_may_be_repeated(
    site: Site, tmp_path: Path, mode: str
) -> None:
    rig = Rig(site, tmp_path, mode)
    await rig.engine.stop()
    async with rig:
        await rig.engine.start()
        runs = [await rig.begin(f"/media/50mb/all-{number}.mp4?rate=500000") for number in range(2)]
        for run in runs:
            await run.entered("downloading")
        await rig.engine.stop()
        ended = [await run.ended() for run in runs]
    await rig.engine.stop()

    assert [one.status in (130, -signal.SIGINT, -signal.SIGTERM) for one in ended] == [True, True]
    assert rig.engine.alive is False
    with pytest.raises(EngineError, match="not running"):
        await rig.begin("/media/small/too-late.mp4")


@pytest.mark.parametrize("mode", ["fork", "spawn"])
async def test_a_start_that_is_broken_off_leaves_nothing(site: Site, tmp_path: Path, mode: str) -> None:
    """At whichever of its steps: a process, its pipes, the way out."""
    async with Rig(site, tmp_path, mode) as rig:
        await rig.download("/media/small/warm.mp4")
        async with asyncio.timeout(WAIT_SEC):
            while connected(site):  # noqa: ASYNC110  # its end of a connection is in this process, too
                await asyncio.sleep(0.01)
        before, broken_off = held(), 0
        for step in range(1, 9):
            starting = asyncio.create_task(rig.begin(f"/media/small/broken-off-{step}.mp4"))
            for _ in range(step):
                await asyncio.sleep(0)
            starting.cancel()
            await asyncio.wait({starting})
            if not starting.cancelled():
                run = starting.result()
                await run.attempt.stop()
                await run.ended()
            broken_off += starting.cancelled()
        async with asyncio.timeout(WAIT_SEC):
            while held() != before:  # noqa: ASYNC110  # the kernel tells of no descriptor that is closed
                await asyncio.sleep(0.01)

        assert broken_off > 1


def connected(site: Site) -> bool:
    """Whether anybody has a connection to the site, or the site one to anybody."""
    talking = [one for one in psutil.Process().net_connections("tcp") if one.status != psutil.CONN_LISTEN]
    return any(site.port in (one.laddr[1], one.raddr[1]) for one in talking)


def held() -> tuple[int, int]:
    """Descriptors and children of this process."""
    process = psutil.Process()
    return process.num_fds(), len(process.children(recursive=True))
