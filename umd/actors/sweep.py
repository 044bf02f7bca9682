"""Brings the volume and the log together again: files of no job, and jobs that miss their files."""

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from umd.clock import SECOND, Clock, Micros
from umd.dispatcher import Dispatcher
from umd.domain.commands import RecordFilesMissing, RecordSwept
from umd.domain.events import SWEPT_MAX, SweptFile
from umd.errors import InvalidState, StorageFull
from umd.projections.files import Files
from umd.projections.jobs import Jobs
from umd.projections.sweeps import Sweeps
from umd.storage.volume import Volume

SWEEP_SEC = 600

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Stock:
    """What is stored, as the log and the volume know it: what every deletion works with."""

    dispatcher: Dispatcher
    jobs: Jobs
    files: Files
    sweeps: Sweeps
    volume: Volume
    clock: Clock


class Sweep:
    """Looks over the volume now and then.

    A file that the log does not know is deleted when it has been known as such for the grace, counted from
    the first look of this process: what an operator has just put there, or a backup of the log does not
    name yet, has that time. Only the media folders of the service are looked at.

    Between a deletion and its event a crash would leave it untold. So a file is moved out of its place first,
    then told, then deleted; what is left of a life is told by the next one.
    """

    def __init__(self, stock: Stock, grace_sec: int) -> None:
        self._stock = stock
        self._grace = grace_sec * SECOND
        self._next: Micros = 0
        self._strangers: dict[str, Micros] = {}

    async def when_due(self) -> None:
        """Sweep if the last time is long enough ago."""
        now = self._stock.clock.now()
        if now < self._next:
            return
        self._next = now + min(SWEEP_SEC * SECOND, max(self._grace, SECOND))
        try:
            await self._settle()
            await self._report_missing()
            await self._delete_strangers(now)
        except (OSError, StorageFull) as error:
            _log.warning("sweep.failed", reason=str(error))

    async def _report_missing(self) -> None:
        stored = {stored.file.path: stored.job_id for stored in self._stock.files.stored()}
        gone = await asyncio.to_thread(self._stock.volume.missing, list(stored))
        by_job: dict[str, list[str]] = {}
        for path in gone:
            by_job.setdefault(stored[path], []).append(path)
        for job_id, paths in by_job.items():
            try:
                await self._stock.dispatcher.execute(RecordFilesMissing(job_id, tuple(paths)))
            except InvalidState:
                continue
            _log.warning("sweep.files_missing", job_id=job_id, paths=paths)

    async def _delete_strangers(self, now: Micros) -> None:
        if self._stock.jobs.frozen:  # one of these jobs may know the file, and cannot say so
            return
        found = await asyncio.to_thread(self._stock.volume.media_paths)
        strangers = [path for path in found if not self._is_known(path)]
        self._strangers = {path: self._strangers.get(path, now) for path in strangers}
        due = [path for path, since in self._strangers.items() if now - since >= self._grace]
        for begin in range(0, len(due), SWEPT_MAX):
            await self._delete(due[begin : begin + SWEPT_MAX])

    async def _delete(self, paths: Sequence[str]) -> None:
        """Put files aside, where each kill finds them, and then settle, also where the disk keeps one."""
        mark = self._stock.sweeps.position
        try:
            for path in paths:
                del self._strangers[path]
                await asyncio.to_thread(self._stock.volume.put_aside, path, mark)
        finally:
            await self._settle()

    async def _settle(self) -> None:
        """Tell of the files that were put aside, and delete them.

        They lie under the position that the stream had: if it has another by now, they were told already.
        """
        volume = self._stock.volume
        for mark, sizes in (await asyncio.to_thread(volume.aside)).items():
            files = [SweptFile(_text(path), size) for path, size in sorted(sizes.items())]
            if files and mark == self._stock.sweeps.position:
                await self._stock.dispatcher.execute_storage(RecordSwept(tuple(files)))
                for file in files:
                    _log.warning("sweep.stranger_deleted", path=file.path, size_bytes=file.size_bytes)
            await asyncio.to_thread(volume.remove_aside, mark)

    def _is_known(self, path: str) -> bool:
        stored = self._stock.files.get(path)
        return stored is not None and not stored.deleted


def _text(path: str) -> str:
    """A path as Unicode text: what others put on the volume may have names that are not UTF-8."""
    return os.fsencode(path).decode(errors="backslashreplace")
