"""A file that only takes up space: the log gives it up, piece by piece, when its volume is full.

Media fill a volume faster than a log does. With the ballast the log goes on for thousands of rows while
every other writer is refused, so that what happens then (a download fails, files are deleted) is stored.
It is given up in small pieces, because whoever else writes takes of each what it can get.
"""

import os
from pathlib import Path
from typing import Final

import structlog

NAME: Final = "log.reserve"
SLICE_BYTES: Final = 2 * 2**20
ROOM: Final = 2
"""The ballast is taken only where the volume has this many times its size free."""

_ZEROS: Final = bytes(2**20)
_logger = structlog.get_logger(__name__)


class Ballast:
    """`size_bytes` in one file; 0 keeps none."""

    def __init__(self, path: Path, size_bytes: int) -> None:
        self._path = path
        self.size_bytes = size_bytes

    @property
    def held_bytes(self) -> int:
        """How much is there to give."""
        try:
            return self._path.stat().st_size
        except OSError:
            return 0

    def release(self) -> bool:
        """Give up a piece; False when nothing is left."""
        held = self.held_bytes
        if not held:
            return False
        try:
            os.truncate(self._path, max(0, held - SLICE_BYTES))
        except OSError:
            return False
        _logger.warning("log.reserve_used", left_bytes=self.held_bytes)
        return True

    def release_where_full(self) -> None:
        """Give up a piece before anything is opened, if the volume has no room for it."""
        if self.held_bytes and self._free_bytes() < SLICE_BYTES:
            self.release()

    def refill(self) -> None:
        """Take back what was given up, if the volume has room again."""
        held = self.held_bytes
        if held == self.size_bytes or (held < self.size_bytes and not self._has_room()):
            return
        try:
            _resize(self._path, held, self.size_bytes)
        except OSError as error:
            _logger.warning("log.reserve_missing", reason=str(error))

    def _has_room(self) -> bool:
        return self._free_bytes() >= ROOM * self.size_bytes

    def _free_bytes(self) -> int:
        volume = os.statvfs(self._path.parent)
        return volume.f_bavail * volume.f_frsize


def _resize(path: Path, held: int, wanted: int) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if wanted < held:
            os.ftruncate(descriptor, wanted)
        elif hasattr(os, "posix_fallocate"):
            os.posix_fallocate(descriptor, held, wanted - held)
        else:  # macOS
            for offset in range(held, wanted, len(_ZEROS)):
                os.pwrite(descriptor, _ZEROS[: wanted - offset], offset)
    finally:
        os.close(descriptor)
