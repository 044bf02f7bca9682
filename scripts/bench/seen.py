"""Measures what an operator asks for, with 10,000 jobs known: `python -m scripts.bench.seen`."""

import asyncio
import statistics
import tempfile
import time
from pathlib import Path

import aiohttp

from tests.domain.builders import DONE, FILE, LIMITS
from tests.e2e.service import running
from umd.clock import SystemClock
from umd.dispatcher import Dispatcher
from umd.domain import commands as c
from umd.domain.options import DownloadRequest
from umd.log.sqlite import SqliteLog
from umd.projections.batches import Batches
from umd.projections.jobs import Jobs
from umd.projections.releases import Releases
from umd.projections.sweeps import Sweeps

JOBS = 10_000
AT_ONCE = 500
REQUESTS = 100
TARGET_MS = 10
PATHS = ("metrics", "stats", "health", "health/ready")


async def fill(folder: Path) -> None:
    """A log of jobs that were all completed."""
    jobs, clock = Jobs(), SystemClock()
    log = SqliteLog(folder / "log")
    await log.start(jobs.apply)
    dispatcher = Dispatcher(log, jobs, Batches(jobs), Releases(jobs), Sweeps(), clock)

    async def one(number: int) -> None:
        job_id = clock.new_id()
        request = DownloadRequest(url=f"https://example.com/{number}.mp4")
        await dispatcher.execute(c.SubmitDownload(job_id, request=request, limits=LIMITS, owner="anonymous"))
        await dispatcher.execute(c.StartAttempt(job_id, "2026.10.26"))
        await dispatcher.execute(c.CompleteAttempt(job_id, 1, (FILE,), DONE))

    for first in range(0, JOBS, AT_ONCE):
        await asyncio.gather(*(one(number) for number in range(first, first + AT_ONCE)))
    await log.stop()


async def ask(client: aiohttp.ClientSession, path: str) -> float:
    began = time.perf_counter()
    async with client.get(path) as answer:
        await answer.read()
        assert answer.status == 200, path
    return 1_000 * (time.perf_counter() - began)


async def main() -> None:
    with tempfile.TemporaryDirectory(prefix="umd-bench-") as name:
        folder = Path(name)
        await fill(folder)
        async with running(folder) as service:
            ready = next(line for line in service.lines if line["event"] == "app.ready")
            print(f"{'start with ' + format(JOBS, ',') + ' jobs':<46} {ready['seconds']:>9.2f} s")
            # The tests' own client reads each answer twice, in search of secrets.
            async with aiohttp.ClientSession(f"http://127.0.0.1:{service.port}/api/v1/") as client:
                for path in PATHS:
                    waits = sorted([await ask(client, path) for _ in range(REQUESTS)])
                    print(
                        f"{'GET /' + path:<46} {statistics.median(waits):>9.1f} ms"
                        f"   p99 {waits[int(REQUESTS * 0.99) - 1]:.1f} ms   < {TARGET_MS} ms"
                    )


if __name__ == "__main__":
    asyncio.run(main())
