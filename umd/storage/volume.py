"""Files below one root: a working folder for each job, and results that appear whole or not at all.

A result is moved, never copied: synced, renamed within the volume, the folder synced. What is about to be
moved is written down first (`publish.json` in the working folder), so that a crash in the middle can be
undone: the next attempt finds its files where it left them.
"""

import errno
import hashlib
import mimetypes
import os
import re
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from umd.domain.events import File, FileKind
from umd.domain.naming import Place, safe_extension, safe_suffix
from umd.storage.erase import erase

NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})
SAME_NAMES_MAX = 10_000
MEDIA_FOLDERS = ("videos", "playlists", "channels", "batch")
"""Where results lie, unless a template says otherwise; only here files of no job are looked for."""

_MANIFEST = "publish.json"
_ASIDE = "swept-"
_CHUNK = 1_048_576
_SUBTITLES = frozenset({"srt", "vtt", "ass", "ssa", "lrc", "ttml", "dfxp", "json3", "srv1", "srv2", "srv3"})
_THUMBNAILS = frozenset({"jpg", "jpeg", "png", "webp", "gif", "avif"})
_SIDECARS: dict[str, FileKind] = {
    ".info.json": "info_json",
    ".comments.json": "comments",
    ".description": "description",
    ".live_chat.json": "subtitle",
}
_CHAPTER = re.compile(r"\.chapter-\d+\.")
_TYPES = {
    "srt": "application/x-subrip",
    "vtt": "text/vtt",
    "ass": "text/x-ssa",
    "lrc": "text/plain",
    "description": "text/plain",
    "json": "application/json",
    "mkv": "video/x-matroska",
    "flv": "video/x-flv",
    "m4a": "audio/mp4",
    "flac": "audio/flac",
    "opus": "audio/ogg",
    "ogg": "audio/ogg",
    "aac": "audio/aac",
    "webp": "image/webp",
}
"""Beside what the standard library knows everywhere: that a machine knows more must not change an answer."""


class Source(msgspec.Struct, frozen=True):
    """A finished file in a working folder; `suffix` is what follows the common stem, as `.en.srt`."""

    path: Path
    suffix: str
    kind: FileKind


class Space(msgspec.Struct, frozen=True):
    """How large the volume is, and what is left of it for this user."""

    size_bytes: int
    free_bytes: int


class Volume:
    """The storage root. All methods block on the disk: call them in a thread.

    With `overwrites`, what is deleted is overwritten before (`umd.storage.erase`).
    """

    def __init__(self, root: Path, *, overwrites: bool = False) -> None:
        self.root = root
        self._remove = erase if overwrites else _unlink
        self._temp = root / "temp"
        self._naming = threading.Lock()
        self._read: Counter[str] = Counter()

    def prepare(self) -> None:
        """Make the root and the folder of working folders. Raises `OSError`."""
        self._temp.mkdir(parents=True, exist_ok=True, mode=0o750)

    def working_folder(self, job_id: str) -> Path:
        """A job's own folder, as an earlier attempt left it; a publication that was cut short is undone."""
        folder = self._folder(job_id)
        with self._naming:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._undo_publication(folder)
        return folder

    def discard(self, job_id: str, wanted: Callable[[], bool] = lambda: True) -> None:
        """Remove a job's working folder with all that is in it; none is left in any case but an `OSError`.

        `wanted` is asked at a moment from which on nobody is given the folder until it is gone.
        """
        folder = self._folder(job_id)
        with self._naming:
            if not folder.is_dir() or not wanted():
                return
            self._undo_publication(folder)
            self._remove_all(folder)

    def working_folders(self) -> list[str]:
        """The ids of the jobs that have a working folder."""
        return [folder.name.removeprefix("job-") for folder in self._temp.glob("job-*")]

    def publish(self, job_id: str, place: Place, sources: Sequence[Source]) -> tuple[File, ...]:
        """Move the files of a result into place and describe them, the media first.

        No file that is there already is touched: where a name is taken, the whole result gets a number.
        Where one of them cannot be moved, those that were go back: an `OSError` leaves no part of a result.
        """
        folder = self._folder(job_id)
        described = [_described(source) for source in sources]
        with self._naming:
            suffixes = _suffixes(sources)
            free = self._free_place(place, suffixes)
            files = tuple(
                msgspec.structs.replace(file, path=free.path(suffix))
                for file, suffix in zip(described, suffixes, strict=True)
            )
            moves = [(source.path.name, file.path) for source, file in zip(sources, files, strict=True)]
            _write_synced(folder / _MANIFEST, msgspec.json.encode(moves))
            try:
                for name, path in moves:
                    self._move(folder / name, self.root / path)
            except OSError:
                self._undo_publication(folder)
                raise
        return files

    def close_publication(self, job_id: str) -> None:
        """The result stands in the log: the moves will not be undone any more. Removes the working folder."""
        folder = self._folder(job_id)
        if folder.is_dir():
            (folder / _MANIFEST).unlink(missing_ok=True)
            shutil.rmtree(folder)

    def locate(self, path: str) -> Path:
        """The absolute path of a file that the log knows by this relative one."""
        return self.root / path

    def delete(self, files: Sequence[File]) -> list[File]:
        """Remove files, and the folders that this leaves empty; returns those that the disk does not give up.

        What is gone already is no error.
        """
        refused = []
        with self._naming:
            for file in files:
                target = self.root / file.path
                try:
                    self._remove(target)
                except OSError:
                    refused.append(file)
                else:
                    self._remove_empty(target.parent)
        return refused

    @contextmanager
    def reading(self, path: str) -> Iterator[None]:
        """Note that a file is being read: as long as it is, it does not go for want of space."""
        self._read[path] += 1
        try:
            yield
        finally:
            self._read[path] -= 1
            if not self._read[path]:
                del self._read[path]

    def is_read(self, paths: Iterable[str]) -> bool:
        """Whether somebody reads one of these."""
        return any(path in self._read for path in paths)

    def missing(self, paths: Iterable[str]) -> list[str]:
        """Those of the paths where no file lies."""
        return [path for path in paths if not (self.root / path).is_file()]

    def media_paths(self) -> list[str]:
        """The paths of all files in the media folders, less those that are just being published."""
        moving = {path for job_id in self.working_folders() for _, path in self._moves(self._folder(job_id))}
        found = (
            (Path(folder) / name).relative_to(self.root).as_posix()
            for media in MEDIA_FOLDERS
            for folder, _, names in os.walk(self.root / media)
            for name in names
        )
        return sorted(path for path in found if path not in moving)

    def put_aside(self, path: str, mark: int) -> None:
        """Take a file from its place, and the folders that this leaves empty, to where `aside` finds it."""
        source, target = self.root / path, self._aside(mark) / path
        with self._naming:
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            source.rename(target)
            _sync(target.parent)
            self._remove_empty(source.parent)

    def aside(self) -> dict[int, dict[str, int]]:
        """The files that were put aside: by mark, and by the path that they had, their sizes in bytes."""
        names = (folder.name.removeprefix(_ASIDE) for folder in self._temp.glob(f"{_ASIDE}*"))
        marks = sorted(int(name) for name in names if name.isdecimal())
        return {mark: dict(_sizes(self._aside(mark))) for mark in marks}

    def remove_aside(self, mark: int) -> None:
        """Remove what was put aside under this mark."""
        self._remove_all(self._aside(mark))

    def probe(self, folder: str = "temp") -> None:
        """Write a small file into a folder of the volume and remove it. Raises `OSError`."""
        target = self.root / folder / f".probe-{os.getpid()}-{threading.get_ident()}"
        try:
            target.write_bytes(b"umd")
        finally:
            target.unlink(missing_ok=True)

    def free_bytes(self) -> int:
        """The space that is left on the volume for this user."""
        return self.space().free_bytes

    def space(self) -> Space:
        """How full the volume is."""
        usage = shutil.disk_usage(self.root)
        return Space(usage.total, usage.free)

    def _folder(self, job_id: str) -> Path:
        return self._temp / f"job-{job_id}"

    def _aside(self, mark: int) -> Path:
        return self._temp / f"{_ASIDE}{mark}"

    def _remove_all(self, folder: Path) -> None:
        for path in folder.rglob("*"):
            if path.is_file() and not path.is_symlink():
                self._remove(path)
        shutil.rmtree(folder)

    def _free_place(self, place: Place, suffixes: Sequence[str]) -> Place:
        folder = self.root / place.folder
        taken = {name.casefold() for name in os.listdir(folder)} if folder.is_dir() else set()
        for number in range(1, SAME_NAMES_MAX):
            stem = place.stem if number == 1 else f"{place.stem} ({number})"
            if not any(f"{stem}{suffix}".casefold() in taken for suffix in suffixes):
                return Place(place.folder, stem)
        raise FileExistsError(f"{SAME_NAMES_MAX} files are named {place.stem!r}.")

    def _move(self, source: Path, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
        source.rename(target)
        _sync(target.parent)

    def _undo_publication(self, folder: Path) -> None:
        """Bring back what was moved for a result that never came to stand in the log."""
        for name, path in self._moves(folder):
            source, target = folder / name, self.root / path
            if target.is_file() and not source.exists():
                target.rename(source)
                self._remove_empty(target.parent)
        (folder / _MANIFEST).unlink(missing_ok=True)

    def _moves(self, folder: Path) -> list[tuple[str, str]]:
        """What the manifest in a working folder names, where there is one: names there, and their places."""
        with suppress(FileNotFoundError):
            return msgspec.json.decode((folder / _MANIFEST).read_bytes(), type=list[tuple[str, str]])
        return []

    def _remove_empty(self, folder: Path) -> None:
        for parent in (folder, *folder.parents):
            if self.root not in parent.parents:
                return
            try:
                parent.rmdir()
            except FileNotFoundError:
                continue
            except OSError:  # it is not empty
                return


def sources(folder: Path, main: str | None) -> list[Source]:
    """The finished files in a working folder, the media first: what lies there is the result.

    Names there are `media`, a suffix and an extension, as the worker's parameters fix them. Partial and
    temporary files of yt-dlp's and ffmpeg's are no result.
    """
    found = [path for path in _walk(folder) if not _unfinished(path.name)]
    named = [Source(path, path.name.removeprefix("media"), _kind(path, main)) for path in found]
    return sorted(
        named, key=lambda source: (source.path.name != main, source.kind != "media", source.path.name)
    )


def _sizes(folder: Path) -> Iterator[tuple[str, int]]:
    for within, _, names in os.walk(folder):
        for path in (Path(within) / name for name in names):
            yield path.relative_to(folder).as_posix(), path.lstat().st_size


def _walk(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_file() and not path.is_symlink() and path.name.startswith("media"):
            yield path


def _unfinished(name: str) -> bool:
    return name.endswith((".part", ".ytdl", ".temp")) or ".part-Frag" in name or ".temp." in name


def _kind(path: Path, main: str | None) -> FileKind:
    if path.name == main:
        return "media"
    for ending, kind in _SIDECARS.items():
        if path.name.endswith(ending):
            return kind
    extension = path.suffix.removeprefix(".").lower()
    if extension in _SUBTITLES:
        return "subtitle"
    if extension in _THUMBNAILS:
        return "thumbnail"
    return "chapter" if _CHAPTER.search(path.name) else "media"


def _suffixes(sources: Sequence[Source]) -> list[str]:
    """A suffix for each file, no two alike, also where a file system does not tell cases apart."""
    found: list[str] = []
    taken: set[str] = set()
    for source in sources:
        suffix = safe_suffix(source.suffix)
        head, dot, extension = suffix.rpartition(".")
        number = 1
        while suffix.casefold() in taken:
            number += 1
            suffix = f"{head}-{number}{dot}{extension}"
        taken.add(suffix.casefold())
        found.append(suffix)
    return found


def _described(source: Source) -> File:
    """Read a file to its end, and see that it is on the disk."""
    extension = safe_extension(source.path.suffix.removeprefix("."))
    guessed = _TYPES.get(extension) or mimetypes.guess_type(f"x.{extension}", strict=False)[0]
    digest = hashlib.sha256()
    with source.path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
        size = file.tell()
        os.fsync(file.fileno())
    return File("", size, digest.hexdigest(), guessed or "application/octet-stream", extension, source.kind)


def _unlink(path: Path) -> None:
    path.unlink(missing_ok=True)


def _write_synced(path: Path, data: bytes) -> None:
    """The file is there whole, or not at all."""
    beside = path.with_suffix(".new")
    beside.write_bytes(data)
    _sync(beside)
    beside.rename(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
