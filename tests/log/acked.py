"""A process that appends a while, and writes each append that was answered to its output at once.

Run it as `python -m tests.log.acked DIRECTORY ROUNDS [SYNCHRONOUS]`. An append that is refused is left out of
the output and is not tried again.
"""

import asyncio
import os
import sys
from pathlib import Path

from tests.log.worlds import append
from umd.errors import UmdError
from umd.log import database
from umd.log.sqlite import SqliteLog

APPENDERS = 5


async def main(directory: Path, rounds: int) -> None:
    log = SqliteLog(directory)
    try:
        await log.start()
    except UmdError:
        return

    async def appender(stream: str) -> None:
        position = 0
        for _ in range(rounds):
            try:
                position = (await append(log, stream, position)).last
            except UmdError:
                continue
            os.write(1, f"{stream} {position}\n".encode())

    await asyncio.gather(*(appender(f"acked-{number}") for number in range(APPENDERS)))
    os._exit(0)  # without a last checkpoint: what was answered has to be there without it


if __name__ == "__main__":
    if len(sys.argv) > 3:
        database.PRAGMAS = database.PRAGMAS.replace("= FULL", f"= {sys.argv[3]}")  # type: ignore[misc]  # planted
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
