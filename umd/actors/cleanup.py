"""Deletes what is due: the files of completed jobs, and what failed ones have left half-done."""

import asyncio
from collections.abc import Sequence
from heapq import heappop, heappush

import structlog

from umd.actors.actor import Actor
from umd.clock import SECOND, Clock, Micros
from umd.dispatcher import Dispatcher
from umd.domain.commands import RecordFilesDeleted
from umd.domain.events import File
from umd.domain.job import Job, State
from umd.errors import InvalidState
from umd.log import Fact
from umd.projections.files import Files
from umd.projections.jobs import Jobs
from umd.storage.volume import Volume

_log = structlog.get_logger(__name__)


class Cleanup(Actor[None]):
    """Keeps the deadlines of the log: after a restart they are known again, and what is overdue goes."""

    def __init__(
        self, dispatcher: Dispatcher, jobs: Jobs, files: Files, volume: Volume, clock: Clock
    ) -> None:
        super().__init__("cleanup")
        self._files = files
        self._dispatcher = dispatcher
        self._jobs = jobs
        self._volume = volume
        self._clock = clock
        self._due: list[tuple[Micros, str]] = []
        self._changed = asyncio.Event()

    def apply(self, facts: Sequence[Fact]) -> None:
        """Follow the log: take note of the deadlines of the jobs that were touched."""
        for job_id in {fact.record.stream.removeprefix("job-") for fact in facts}:
            entry = self._jobs.get(job_id)
            if entry is not None:
                self._note(entry.job)

    @property
    def overdue_sec(self) -> float:
        """How long the most overdue deletion has been due; 0 where none is."""
        return max(0.0, (self._clock.now() - self._due[0][0]) / SECOND) if self._due else 0.0

    async def run(self) -> None:
        """Wait for the next deadline, delete, again."""
        for entry in self._jobs.in_state(State.COMPLETED, State.FAILED):
            self._note(entry.job)
        while True:
            self._changed.clear()
            while self._due and self._due[0][0] <= self._clock.now():
                due, job_id = heappop(self._due)
                await self._delete(self._jobs.require(job_id).job, due)
            await self._wait()

    def _note(self, job: Job) -> None:
        due = deadline(job)
        if due is not None:
            heappush(self._due, (due, job.job_id))
            self._changed.set()

    async def _delete(self, job: Job, due: Micros) -> None:
        if deadline(job) != due:  # it was moved, or somebody was quicker
            return
        if job.state is State.FAILED:
            await asyncio.to_thread(self._volume.discard, job.job_id)
            return
        await asyncio.to_thread(self._volume.delete, self._owned(job))
        try:
            await self._dispatcher.execute(RecordFilesDeleted(job.job_id, "retention"))
        except InvalidState:
            return
        _log.info("cleanup.deleted", job_id=job.job_id, files=len(job.files), reason="retention")

    def _owned(self, job: Job) -> list[File]:
        """The job's files, less those whose path was free already and is another job's by now."""
        stored = ((file, self._files.get(file.path)) for file in job.files)
        return [file for file, owner in stored if owner is not None and owner.job_id == job.job_id]

    async def _wait(self) -> None:
        timeout = max(0.0, (self._due[0][0] - self._clock.now()) / SECOND) if self._due else None
        try:
            async with asyncio.timeout(timeout):
                await self._changed.wait()
        except TimeoutError:
            return


def deadline(job: Job) -> Micros | None:
    """When something of this job is to be deleted, None where nothing is."""
    if job.state is State.COMPLETED and job.files_deleted_at is None:
        return job.delete_at
    retention = job.limits.retention_sec
    if job.state is State.FAILED and job.ended_at is not None and retention is not None:
        return job.ended_at + retention * SECOND
    return None
