"""A process that appends until it is killed, and writes each append that was answered to its output.

Run it as `python -m tests.log.killed DIRECTORY NAME`.
"""

import asyncio
import os
import sys
from pathlib import Path

from tests.log.worlds import append
from umd.log.sqlite import SqliteLog

APPENDERS = 20


async def main(directory: Path, name: str) -> None:
    log = SqliteLog(directory)
    await log.start()

    async def appender(stream: str) -> None:
        position = 0
        while True:
            position = (await append(log, stream, position)).last
            os.write(1, f"{stream} {position}\n".encode())

    await asyncio.gather(*(appender(f"{name}-{number}") for number in range(APPENDERS)))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
