"""A second server that waits for the first one's end."""

import asyncio
import os
import signal
from pathlib import Path

from tests.e2e.service import Service
from tests.site import Site

TAKEOVER_SEC = 5.0


async def standing_by(data_dir: Path) -> Service:
    service = Service(data_dir)
    await service.launch("--standby")
    await service.logged("app.standing_by")
    return service


async def test_a_standby_takes_over_within_five_seconds(tmp_path: Path, site: Site) -> None:
    first = Service(tmp_path)
    await first.start()
    second = await standing_by(tmp_path)
    job_id = await first.submit(site.url("/media/1mb/standby.mp4", rate=300_000), embed_metadata=False)
    await site.wait_bytes("/media/1mb/standby.mp4", 100_000)

    await first.kill()
    async with asyncio.timeout(TAKEOVER_SEC):
        await second.logged("app.ready")
    await second.ready()

    assert (await second.final(job_id))["status"] == "completed"
    assert await second.stop() == 0


async def test_a_leader_that_is_only_stopped_keeps_the_log(tmp_path: Path, site: Site) -> None:
    """A second server leaves at once, and a standby waits until it is told to leave."""
    first = Service(tmp_path)
    await first.start()
    job_id = await first.submit(site.url("/media/small/stopped.mp4"))
    os.kill(first.pid, signal.SIGSTOP)
    second = Service(tmp_path)
    await second.launch()
    third = await standing_by(tmp_path)

    assert await second.stop(signal.SIGCONT) == 75
    assert await third.stop() == 0
    os.kill(first.pid, signal.SIGCONT)
    assert (await first.final(job_id))["status"] == "completed"
    assert await first.stop() == 0


async def test_a_leader_whose_lock_was_taken_away_cannot_write(tmp_path: Path, site: Site) -> None:
    """Whoever deletes the lock's file lets a second server in; the first one must not write any more."""
    first = Service(tmp_path)
    await first.start()
    await first.warm()  # the second one takes the first one's workers for leftovers, and kills them
    os.kill(first.pid, signal.SIGSTOP)
    (tmp_path / "log" / "log.lock").unlink()
    second = Service(tmp_path)
    await second.start()
    os.kill(first.pid, signal.SIGCONT)

    refused = await first.call("POST", "download", 503, json={"url": site.url("/media/small/late.mp4")})

    assert refused["code"] == "shutting_down"
    assert await first.stop(signal.SIGCONT) == 70
    assert (await second.download(site.url("/media/small/mine.mp4")))["status"] == "completed"
    assert await second.stop() == 0
