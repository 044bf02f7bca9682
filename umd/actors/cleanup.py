"""Deletes what is due, what the quota has no room for, and what belongs to no job."""

import asyncio
from collections.abc import Sequence
from heapq import heappop, heappush

import structlog

from umd.actors.actor import Actor
from umd.actors.space import Space
from umd.actors.sweep import Stock, Sweep
from umd.clock import SECOND, Micros
from umd.domain import retention
from umd.domain.commands import RecordFilesDeleted
from umd.domain.events import DeletionReason, File
from umd.domain.job import Job, State
from umd.domain.retention import deadline
from umd.errors import InvalidState, StorageFull
from umd.log import Fact

LOOK_SEC = 5.0
"""How often the clock and the space are looked at, whatever happens: either may jump."""

RETRY_SEC = 60
"""A deletion that the disk or the log refused is tried again after so long."""

_log = structlog.get_logger(__name__)


class Cleanup(Actor[None]):
    """Keeps the deadlines of the log: after a restart they are known again, and what is overdue goes.

    First go the files whose time has come; if space is still short, those of the jobs that were completed
    first. A file that is being read is not taken for space's sake. The log comes first, for a client may
    have moved the deadline in this very moment; what a crash leaves undone, the next start does.
    """

    def __init__(self, stock: Stock, space: Space, sweep: Sweep) -> None:
        super().__init__("cleanup")
        self._stock = stock
        self._space = space
        self._sweep = sweep
        self._due: list[tuple[Micros, str]] = []
        self._refused: list[File] = []
        self._retry_at: Micros = 0
        self._changed = asyncio.Event()

    def apply(self, facts: Sequence[Fact]) -> None:
        """Follow the log: take note of the deadlines of the jobs that were touched."""
        for job_id in {fact.record.stream.removeprefix("job-") for fact in facts}:
            entry = self._stock.jobs.get(job_id)
            if entry is not None:
                self._note(entry.job)

    @property
    def overdue_sec(self) -> float:
        """How long the most overdue deletion has been due; 0 where none is."""
        return max(0.0, (self._stock.clock.now() - self._due[0][0]) / SECOND) if self._due else 0.0

    async def run(self) -> None:
        """Delete what is due, then what there is no room for, then what belongs to no job; wait; again."""
        self._due.clear()
        for entry in self._stock.jobs.in_state(State.COMPLETED, State.FAILED):
            self._note(entry.job)
        while True:
            self._changed.clear()
            await self._delete_due()
            await self._make_room()
            await self._sweep.when_due()
            await self._wait()

    def _note(self, job: Job) -> None:
        due = deadline(job)
        if due is not None and job.job_id not in self._stock.jobs.frozen:
            heappush(self._due, (due, job.job_id))
            self._changed.set()

    async def _delete_due(self) -> None:
        now = self._stock.clock.now()
        while self._due and self._due[0][0] <= now:
            _, job_id = heappop(self._due)
            job = self._stock.jobs.require(job_id).job
            due = deadline(job)
            if due is None or due > now:  # it was moved, or somebody was quicker
                continue
            if not await self._delete(job, "retention"):
                heappush(self._due, (now + RETRY_SEC * SECOND, job_id))
        if self._refused and now >= self._retry_at:
            await self._remove(self._refused)

    async def _make_room(self) -> None:
        lacking = await self._space.lacking_bytes()
        if not lacking:
            return
        reason: DeletionReason = "quota" if self._space.over_quota else "space"
        idle = (
            entry.job
            for entry in self._stock.jobs.in_state(State.COMPLETED)
            if entry.job.job_id not in self._stock.jobs.frozen
            and not self._stock.volume.is_read(file.path for file in entry.job.files)
        )
        for job in retention.spare(idle, lacking):
            await self._delete(job, reason)

    async def _delete(self, job: Job, reason: DeletionReason) -> bool:
        """Say that what is left of a job goes, and delete it; False when it has to be tried again."""
        try:
            if job.state is not State.COMPLETED:
                await asyncio.to_thread(self._stock.volume.discard, job.job_id, lambda: self._is_over(job))
                return True
            owned = self._owned(job)
            await self._stock.dispatcher.execute(RecordFilesDeleted(job.job_id, reason))
        except InvalidState:
            return True
        except (OSError, StorageFull) as error:
            _log.warning("cleanup.failed", job_id=job.job_id, reason=str(error))
            return False
        await self._remove(owned)
        _log.info("cleanup.deleted", job_id=job.job_id, files=len(owned), reason=reason)
        return True

    def _is_over(self, job: Job) -> bool:
        """Whether this end of a job is still its last word: it may have been retried by now."""
        now = self._stock.jobs.require(job.job_id).job
        return (now.state, now.ended_at) == (job.state, job.ended_at)

    async def _remove(self, files: Sequence[File]) -> None:
        """Delete files; those that the disk does not give up are tried again later."""
        refused = await asyncio.to_thread(self._stock.volume.delete, files)
        kept = [file for file in self._refused if file not in files]
        self._refused = [*kept, *refused]
        self._retry_at = self._stock.clock.now() + RETRY_SEC * SECOND

    def _owned(self, job: Job) -> list[File]:
        """The job's files, less those whose path was free already and is another job's by now."""
        stored = ((file, self._stock.files.get(file.path)) for file in job.files)
        return [
            file
            for file, owner in stored
            if owner is not None and owner.job_id == job.job_id and not owner.deleted
        ]

    async def _wait(self) -> None:
        left = (self._due[0][0] - self._stock.clock.now()) / SECOND if self._due else LOOK_SEC
        try:
            async with asyncio.timeout(min(max(0.0, left), LOOK_SEC)):
                await self._changed.wait()
        except TimeoutError:
            return
