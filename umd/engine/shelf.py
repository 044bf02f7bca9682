"""The releases of yt-dlp that lie below the data directory, beside the one that umd came with.

    engines/<version>/   a release: the packages `yt_dlp` and, where it wants another one, `yt_dlp_ejs`
    engines/current      which one a start begins with; written after the event log knows it
    engines/checked      when the newest release was looked for
    engines/wanted       a wish: the service is to try this release, and to use it if it is sound
    engines/.lock        held by whoever installs, wishes or removes
    engines/.new-*, .old-*   what is being installed or removed

The event log decides which release is in use. These files only carry what it cannot: a wish from a process
that may not write it, and the last decision to a start that has not read it yet. Each file and each folder
appears whole, by a rename, or not at all. So a kill between any two steps leaves a sound engine: an
installation that was cut off is swept by the next one, a wish stays until the log has its answer, and a start
with an old `current` changes over as soon as the log is read.
"""

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

import msgspec

from umd.clock import Micros
from umd.domain.engine import Release, due
from umd.errors import EngineError

PACKAGE = "yt_dlp"
_VERSION = re.compile(r"^__version__ = '([0-9][0-9A-Za-z.]{0,39})'$", re.MULTILINE)
_NAME = re.compile(r"[0-9][0-9A-Za-z.]{0,39}")
_PREPARED, _DISCARDED = ".new-", ".old-"

S = TypeVar("S", bound=msgspec.Struct)


class Choice(msgspec.Struct, frozen=True):
    """What stands in `current`: a release, and the one that came with the umd of that time."""

    version: str
    own: str


class Wish(msgspec.Struct, frozen=True):
    """What stands in `wanted`: a release, and the name by which the log answers."""

    version: str
    id: str


class Check(msgspec.Struct, frozen=True):
    """What stands in `checked`."""

    at: Micros


class Shelf:
    """All methods block on the disk."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def path(self, version: str) -> str:
        """The folder of a release; empty for umd's own. Raises `EngineError` where it is not there."""
        if version == own_version():
            return ""
        if not _NAME.fullmatch(version) or version_in(self.place / version) != version:
            raise EngineError(f"yt-dlp {version} is not installed.")
        return str(self.place / version)

    def installed(self) -> list[str]:
        """The releases beside umd's own."""
        with suppress(FileNotFoundError):
            return sorted(entry.name for entry in self.place.iterdir() if version_in(entry) == entry.name)
        return []

    def first(self) -> str:
        """The folder of the release that a start begins with; in doubt that is umd's own."""
        choice = self._read("current", Choice)
        if choice is None:
            return ""
        with suppress(EngineError):
            return self.path(due(Release(choice.version, own=choice.own), own_version()))
        return ""

    def choose(self, version: str) -> None:
        """Let the next start begin with this release."""
        if self._read("current", Choice) != (choice := Choice(version, own_version())):
            self._write("current", choice)

    @property
    def wish(self) -> Wish | None:
        """What is wanted of the service."""
        return self._read("wanted", Wish)

    def want(self, wish: Wish) -> None:
        """Leave a wish; it takes the place of an earlier one."""
        self._write("wanted", wish)

    def forget(self, wish: Wish) -> None:
        """This wish has its answer."""
        if self.wish == wish:
            (self.place / "wanted").unlink(missing_ok=True)

    @property
    def checked(self) -> Micros:
        """When the newest release was last looked for; 0 for never."""
        check = self._read("checked", Check)
        return check.at if check else 0

    def note_check(self, at: Micros) -> None:
        """The newest release was looked for."""
        self._write("checked", Check(at))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Be the only one that installs or removes. Raises `EngineError` where another process does."""
        self.place.mkdir(parents=True, exist_ok=True, mode=0o750)
        descriptor = os.open(self.place / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._sweep()
            yield
        except BlockingIOError as error:
            raise EngineError("Another process installs a release of yt-dlp at this moment.") from error
        finally:
            os.close(descriptor)

    def prepared(self) -> Path:
        """A new folder for what is to become a release. Under the lock."""
        return Path(tempfile.mkdtemp(prefix=_PREPARED, dir=self.place))

    def put(self, folder: Path, version: str) -> None:
        """Let a prepared folder be this release. Under the lock, and not where it is there already."""
        os.sync()  # whoever sees the name sees all that belongs to it, also after a loss of power
        folder.chmod(0o750)
        folder.rename(self.place / version)
        _sync(self.place)

    def prune(self, kept: Iterable[str]) -> list[str]:
        """Remove all releases but these; returns which. Does nothing while another process installs."""
        surplus = set(self.installed()).difference(kept)
        if not surplus:
            return []
        with suppress(EngineError), self.locked():
            for version in surplus:
                (self.place / version).rename(self.place / f"{_DISCARDED}{version}")
            self._sweep()
            return sorted(surplus)
        return []

    def _sweep(self) -> None:
        for entry in self.place.iterdir():
            if entry.name.startswith((_PREPARED, _DISCARDED)):
                shutil.rmtree(entry, ignore_errors=True)

    def _read(self, name: str, kind: type[S]) -> S | None:
        with suppress(FileNotFoundError, msgspec.DecodeError):
            return msgspec.json.decode((self.place / name).read_bytes(), type=kind)
        return None

    def _write(self, name: str, value: msgspec.Struct) -> None:
        self.place.mkdir(parents=True, exist_ok=True, mode=0o750)
        fresh = self.place / f".{name}.new"
        with fresh.open("wb") as file:
            file.write(msgspec.json.encode(value))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self.place / name)
        _sync(self.place)


def version_in(folder: Path) -> str | None:
    """The version of the yt-dlp in a folder, as it calls itself, without importing it."""
    with suppress(OSError, UnicodeDecodeError):
        found = _VERSION.search((folder / PACKAGE / "version.py").read_text("utf-8"))
        return found[1] if found else None
    return None


def version_at(folder: str) -> str:
    """The version of the release in a folder that is one; that of umd's own for an empty name."""
    return (version_in(Path(folder)) if folder else None) or own_version()


@cache
def own_version() -> str:
    """The release that this installation of umd came with. Raises `EngineError` where it has none."""
    spec = find_spec(PACKAGE)
    version = version_in(Path(spec.origin).parent.parent) if spec is not None and spec.origin else None
    if version is None:
        raise EngineError("yt-dlp is not installed.")
    return version


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
