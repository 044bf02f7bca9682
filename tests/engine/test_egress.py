"""The way out of a child: the proxy makes every connection, a refusal is the job's error, nothing is left."""

import asyncio
import gc
import threading
from pathlib import Path

import psutil
import pytest

from tests.engine.rig import WAIT_SEC, Rig
from tests.site import Site
from umd.domain.faults import blame

SOURCES = (
    "/media/small/census.mp4",
    "/redirect?to=/media/small/census-redirected.mp4",
    "/hls/master/census.m3u8",
    "/hls/aes/census.m3u8",
    "/dash/segments/census.mpd",
    "/live/census.m3u8?until=3",
    "/page/html5/census.html",
    "/site/video/census",
)
ATTEMPTS = 500
AT_ONCE = 10
HOUR_SEC = 3_600
PAUSE_SEC = 5


async def test_every_request_comes_from_the_proxy(forking: Rig) -> None:
    before = len(forking.site.requests)
    runs = await asyncio.gather(*(forking.download(path, audio_only=True) for path in SOURCES[:4]))
    runs += await asyncio.gather(*(forking.download(path) for path in SOURCES))
    seen = forking.site.requests[before:]

    assert [run.finished.fault for run in runs if run.finished.fault] == []
    assert len(seen) > 3 * len(SOURCES)
    assert [one.path for one in seen if one.peer_port not in forking.ports] == []


async def test_a_refusal_is_the_error_and_stands_in_the_log(rig: Rig) -> None:
    run = await rig.begin("/redirect?to=http%3A%2F%2F127.0.0.3%3A8000%2Fx.mp4")
    ended = await run.ended()

    assert ended.refusal is not None
    assert blame(run.fault, ended.refusal).code == "address_not_allowed"
    assert run.lines[-1].startswith("Not let through to 127.0.0.3:8000: ")


async def test_a_picture_that_is_refused_explains_no_other_failure(rig: Rig) -> None:
    run = await rig.begin("/site/removed/x?thumb=http%3A%2F%2F127.0.0.3%2Fx.jpg")
    ended = await run.ended()

    assert blame(run.fault, ended.refusal).code == "not_found"


async def test_the_rate_holds_for_all_connections_together(rig: Rig) -> None:
    """yt-dlp's own limit holds for each of them."""
    began = asyncio.get_running_loop().time()
    run = await rig.download("/site/video/rate?formats=split", limit_rate=500_000)
    size = sum(rig.site.media.size(clip) for clip in ("video-720p", "audio"))

    assert run.finished.fault is None
    assert asyncio.get_running_loop().time() - began > 0.7 * size / 500_000


async def test_nothing_is_left_of_500_attempts(site: Site, tmp_path: Path) -> None:
    """Most go well, some are cancelled, some are slow, some are refused."""
    async with Rig(site, tmp_path, "fork") as rig:
        room = asyncio.Semaphore(AT_ONCE)

        async def attempt(number: int) -> None:
            kind = number % 25
            async with room:
                match kind:
                    case 0:
                        run = await rig.begin(f"/media/50mb/leak-{number}.mp4?rate=500000")
                        await run.entered("downloading")
                        await run.attempt.stop()
                    case 1:
                        await rig.download(f"/redirect?to=http%3A%2F%2F127.0.0.3%2F{number}.mp4")
                    case 2:
                        await rig.download(f"/media/small/leak-{number}.mp4?rate=500000")
                    case _:
                        await rig.download(f"/media/small/leak-{number}.mp4")

        await asyncio.gather(*(attempt(number) for number in range(AT_ONCE)))
        before = counted()
        await asyncio.gather(*(attempt(number) for number in range(ATTEMPTS)))

        assert rig.egress.passages == 0
        await nothing_more_than(before)


@pytest.mark.soak
async def test_nothing_is_left_of_a_stream_of_an_hour(site: Site, tmp_path: Path) -> None:
    """Meanwhile others begin and are cancelled, and one worker reads more slowly than its site sends."""
    size = site.media.size("50mb")
    async with Rig(site, tmp_path, "fork") as rig:
        await rig.download("/media/50mb/warm.mp4")  # the site keeps it open
        before = counted()
        slow = await rig.begin("/media/50mb/slow-reader.mp4", limit_rate=size // (2 * HOUR_SEC))
        hour = await rig.begin(f"/media/50mb/hour.mp4?rate={size // HOUR_SEC}")
        cancelled = 0
        while not hour.following.done():
            run = await rig.begin(f"/media/50mb/passing-{cancelled}.mp4?rate=500000")
            await run.entered("downloading")
            await run.attempt.stop()
            await run.ended()
            await asyncio.wait([hour.following], timeout=PAUSE_SEC)
            cancelled += 1
        await slow.attempt.stop()
        await hour.ended()
        await slow.ended()

        assert hour.main.stat().st_size == size
        assert cancelled > HOUR_SEC // (2 * PAUSE_SEC)
        assert rig.egress.passages == 0
        await nothing_more_than(before)


async def nothing_more_than(before: tuple[int, ...]) -> None:
    """Wait for the site's own ends of connections, which live in this process too and tell of no end."""
    async with asyncio.timeout(WAIT_SEC):
        while any(after > now for after, now in zip(counted(), before, strict=True)):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def counted() -> tuple[int, int, int, int]:
    """Descriptors, tasks, threads and processes of this one."""
    gc.collect()
    process = psutil.Process()
    return (
        process.num_fds(),
        len(asyncio.all_tasks()),
        threading.active_count(),
        len(process.children(recursive=True)),
    )


@pytest.mark.parametrize("max_filesize", [200_000])
async def test_what_comes_in_is_held_to_the_largest_size(rig: Rig, max_filesize: int) -> None:
    """An endless body, of no known size, ends when the file is as large as it may be."""
    run = await rig.begin("/media/50mb/endless.mp4?chunked=1", max_filesize=max_filesize)
    ended = await run.ended()

    assert blame(run.fault, ended.refusal).code == "too_large"
    assert sum(path.stat().st_size for path in run.folder.iterdir()) <= max_filesize * 1.1
