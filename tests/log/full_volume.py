"""Fill a volume of 2 MiB under a log, make room again, and see that the log went on by itself.

It mounts the volume, so it is run in a mount namespace of its own:

    unshare --user --map-root-user --mount python -m tests.log.full_volume DIRECTORY
"""

import asyncio
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.log.worlds import append
from umd.domain.events import JobStarted
from umd.errors import StorageFull
from umd.log.sqlite import SqliteLog

RESERVE_BYTES = 6 * 2**20
LARGE = [JobStarted(1, "x" * 20_000)]


def main(volume: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(volume)], check=True)  # noqa: S607
    asyncio.run(fill_and_recover(volume))
    subprocess.run(["mount", "-o", "remount,size=24m", str(volume)], check=True)  # noqa: S607
    asyncio.run(live_on_the_reserve(volume))


async def fill_and_recover(volume: Path) -> None:
    ballast = volume / "ballast"
    ballast.write_bytes(bytes(2**20))
    log = SqliteLog(volume / "log")
    await log.start()

    stored = await fill(log)
    assert stored == await fill(log), "a full volume took more"
    assert len(await log.read(limit=10_000)) == stored
    ballast.unlink()
    await append(log, "job-after", 0, LARGE)
    await log.stop()

    log = SqliteLog(volume / "log")
    await log.start()
    assert log.head == stored + 2
    await log.stop()


async def live_on_the_reserve(volume: Path) -> None:
    """Others fill the volume: the log goes on, starts again, and takes its reserve back in the end."""
    log = SqliteLog(volume / "log", reserve_bytes=RESERVE_BYTES)
    await log.start()
    reserve = volume / "log" / "log.reserve"
    await until(lambda: reserve.exists() and reserve.stat().st_size == RESERVE_BYTES)
    media = volume / "media"
    fill_up(media)

    for number in range(100):
        await append(log, f"job-full-{number}", 0, LARGE)
    assert reserve.stat().st_size < RESERVE_BYTES
    await log.stop()
    fill_up(media)
    log = SqliteLog(volume / "log", reserve_bytes=RESERVE_BYTES)
    await log.start()
    await append(log, "job-started-full", 0, LARGE)
    await fill(log)
    assert reserve.stat().st_size == 0
    assert await log.read(log.head - 1)
    media.unlink()
    await append(log, "job-with-room", 0, LARGE)
    await log.stop()

    log = SqliteLog(volume / "log", reserve_bytes=RESERVE_BYTES)
    await log.start()
    await until(lambda: reserve.stat().st_size == RESERVE_BYTES)
    await log.stop()


def fill_up(path: Path) -> None:
    """Write until there is no space left."""
    with path.open("ab", buffering=0) as file, suppress(OSError):
        while file.write(bytes(2**16)):
            pass


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  # a file has no event
            await asyncio.sleep(0.01)


async def fill(log: SqliteLog) -> int:
    """Append, some at a time, until the volume is full; the head then."""
    while True:
        streams = [f"job-{log.head}-{number}" for number in range(3)]
        outcomes = await asyncio.gather(
            *(append(log, stream, 0, LARGE) for stream in streams), return_exceptions=True
        )
        if any(isinstance(outcome, StorageFull) for outcome in outcomes):
            return log.head
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome


if __name__ == "__main__":
    main(Path(sys.argv[1]))
