"""Overwrites a file before it is removed.

What this can promise: on a file system that writes in place (ext4 or XFS on a magnetic disk) the bytes are
gone. What it cannot: a solid-state disk, a snapshot, copy-on-write (btrfs, ZFS, overlayfs) and a network
volume may keep the old blocks. There only encryption of the volume, and the loss of its key, forgets.
"""

import os
from contextlib import suppress
from pathlib import Path

CHUNK_BYTES = 1_048_576


def erase(path: Path) -> None:
    """Write zeros over a file's bytes, sync, and remove it. One that is gone already is no error.

    A file with another name elsewhere (a hard link) is removed only: its bytes are not ours alone.
    """
    with suppress(FileNotFoundError):
        descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW)
        try:
            if os.fstat(descriptor).st_nlink == 1:
                _overwrite(descriptor)
        finally:
            os.close(descriptor)
        path.unlink()


def _overwrite(descriptor: int) -> None:
    left = os.fstat(descriptor).st_size
    zeros = bytes(min(left, CHUNK_BYTES))
    while left:
        left -= os.write(descriptor, zeros[:left])
    os.fsync(descriptor)
