"""The lock that keeps a second server off the same log."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from umd.errors import LogLocked


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive `flock` on the file, or raise `LogLocked` at once.

    The lock belongs to the open file, not to the process: a second log in the same process is turned down
    too, and closing another descriptor of the file does not lose it, as it would a POSIX lock. It ends with
    the process, however that ends. The descriptor is closed on exec; a child forked without exec would
    share the lock. The file stays, with the holder's process id: were it removed, two could hold "it".
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _take(descriptor, path)
        yield
    finally:
        os.close(descriptor)


def holder(path: Path) -> int | None:
    """The process that holds the lock, as far as one can tell without trying to take it."""
    with suppress(OSError, ValueError):
        pid = int(path.read_bytes())
        with suppress(PermissionError):  # another user's, and so alive
            os.kill(pid, 0)
        return pid
    return None


def _take(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip() or "unknown"
        raise LogLocked(f"Another server, process {holder}, holds {path}.") from error
    with suppress(OSError):  # It is only for the message above, and the volume may be full.
        os.pwrite(descriptor, f"{os.getpid():<19}\n".encode(), 0)
