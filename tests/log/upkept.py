"""A process that appends, puts by and prunes until it is killed, and writes each append that was answered.

Run it as `python -m tests.log.upkept DIRECTORY NAME`. Half of the rows are always old enough to be pruned.
"""

import asyncio
import os
import sys
from pathlib import Path

import structlog

from tests.domain.builders import LIMITS
from umd.domain import commands as c
from umd.domain import events as e
from umd.domain.options import DownloadRequest
from umd.log.sqlite import SqliteLog
from umd.projections.models import Models

APPENDERS = 5


async def main(directory: Path, name: str) -> None:
    log = SqliteLog(directory)
    await log.start(models=Models())

    async def appender(number: int) -> None:
        for count in range(10**9):
            job_id = f"{name}-{number}-{count}"
            request = DownloadRequest(url="https://example.com/a")
            command = c.SubmitDownload(job_id, request=request, limits=LIMITS, owner="me")
            queued = e.JobQueued(job_id, request, LIMITS, "me")
            done = await log.append(
                f"job-{job_id}", 0, command, [queued], at=log.head + 1, correlation="killed"
            )
            os.write(1, f"{job_id} {done.last}\n".encode())

    async def upkeep() -> None:
        while True:
            await log.put_by()
            await log.raise_floor(log.head // 2)
            while await log.sweep():
                pass
            await log.cut_wal()

    await asyncio.gather(*map(appender, range(APPENDERS)), upkeep())


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
