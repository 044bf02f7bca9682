"""A process that lives a short life of the service on a data directory, as often as it is asked.

Run it as `python -m tests.storage.lives LIFE`, a key of `LIVES`: for each directory that it reads, it forks
a process, writes its number, lets it live when it has read another line, and writes its status. That process
has one thread, and ends by `os._exit`: so its calls to the kernel are the same each time.
"""

import asyncio
import ctypes
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tests.actors.world import ScriptedEngine, World, Write
from tests.domain.builders import METADATA
from tests.simulation import be_quiet
from tests.virtual import VirtualLoop
from umd.domain.job import FINAL
from umd.engine.protocol import Extracted, Finished
from umd.log import Record
from umd.log.memory import MemoryLog
from umd.settings import Settings

FILES = {"media.mp4": b"film" * 1_000, "media.en.srt": b"words" * 100, "media.jpg": b"picture" * 50}
URL = "https://example.com/v"

PR_SET_PTRACER = 0x59616D61
PR_SET_PTRACER_ANY = 2**64 - 1
"""Where Yama lets nobody follow but an ancestor: https://docs.kernel.org/admin-guide/LSM/Yama.html"""

_decoder = msgspec.msgpack.Decoder(list[Record])


class JournalLog(MemoryLog):
    """A log in one file, to which each batch is added by one call, and by no thread."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_APPEND)
        super().__init__(read(path))

    async def _store(self, records: Sequence[Record]) -> None:
        batch = msgspec.msgpack.encode(list(records))
        os.write(self._descriptor, len(batch).to_bytes(4, "big") + batch)
        os.fsync(self._descriptor)
        self._keep(records)


def journal(root: Path) -> Path:
    return root / "log/journal"


def read(path: Path) -> list[Record]:
    """The rows of a journal."""
    data, records = path.read_bytes(), list[Record]()
    while data:
        size = int.from_bytes(data[:4], "big")
        records += _decoder.decode(data[4 : 4 + size])
        data = data[4 + size :]
    return records


def world(root: Path) -> World:
    """The core of the service, whose only download has some files."""
    files = (Write(name, content) for name, content in FILES.items())
    engine = ScriptedEngine({URL: [(Extracted(METADATA), *files, Finished(main="media.mp4"))]})
    journal(root).parent.mkdir(exist_ok=True)
    settings = Settings(orphan_grace_sec=0)
    return World(root, settings, log=JournalLog(journal(root)), engine=engine)


async def download(root: Path) -> None:
    """Accept a download where there is none, and let it come to its end."""
    alive = world(root)
    await alive.start()
    if not alive.jobs.in_creation_order():
        await alive.submit(URL)
    [entry] = alive.jobs.in_creation_order()
    await alive.until(entry.job.job_id, *FINAL)
    await alive.idle()


async def sweep(root: Path) -> None:
    """Let the files of no job be swept."""
    alive = world(root)
    await alive.start()
    await asyncio.sleep(SWEPT_SEC)


SWEPT_SEC = 5
"""Of virtual time."""
LIVES = {"download": download, "sweep": sweep}


def main() -> None:
    be_quiet()
    live = LIVES[sys.argv[1]]
    for line in sys.stdin:
        gate, opener = os.pipe()
        waiting, arrived = os.pipe()
        if (child := os.fork()) == 0:
            ctypes.CDLL(None).prctl(PR_SET_PTRACER, ctypes.c_ulong(PR_SET_PTRACER_ANY))
            os.write(arrived, b"!")
            os.read(gate, 1)
            loop = VirtualLoop()
            asyncio.set_event_loop(loop)
            loop.run_until_complete(live(Path(line.rstrip("\n"))))
            os._exit(0)
        os.read(waiting, 1)
        print(child, flush=True)  # noqa: T201  # the answer
        sys.stdin.readline()
        os.write(opener, b"!")
        for descriptor in (gate, opener, waiting, arrived):
            os.close(descriptor)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
