"""Who may start now: slots in all, slots for each site, priority, age, and the limit of the queue."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import structlog

from umd.actors.actor import Actor
from umd.actors.space import Space
from umd.clock import SECOND, Clock
from umd.domain import urls
from umd.domain.job import State
from umd.errors import QueueFull, ShuttingDown
from umd.log import Fact
from umd.projections.jobs import Entry, Jobs
from umd.projections.queue import Queue
from umd.settings import Settings

SPACE_LOOK_SEC = 1.0
"""How often the space is looked at while there is too little of it."""

WaitingFor = Literal["slot", "site", "space", "retry"]
_log = structlog.get_logger(__name__)

StartJob = Callable[[str, Callable[[], None]], None]
"""Start the actor of a job; the second argument is to be called when it has ended."""


class Admission(Actor[None]):
    """Starts waiting jobs as slots come free.

    It follows the log, and what it knows of the queue is a fold of it; a change wakes it, so that its
    mailbox stays empty however many jobs arrive.
    """

    def __init__(
        self, settings: Settings, clock: Clock, jobs: Jobs, space: Space, start_job: StartJob
    ) -> None:
        super().__init__("admission")
        self._settings = settings
        self._clock = clock
        self._jobs = jobs
        self._space = space
        self._space_is_short = False
        self._start_job = start_job
        self._queue = Queue()
        self._running: dict[str, str] = {}
        self._sites: Counter[str] = Counter()
        self._arriving = 0
        self._changed = asyncio.Event()
        self._closed = False

    @property
    def running(self) -> int:
        """How many jobs hold a slot."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """How many jobs wait for one, or for a retry."""
        return len(self._queue)

    @property
    def queue_max(self) -> int:
        """How many may wait."""
        return self._settings.queue_max

    def apply(self, facts: Sequence[Fact]) -> None:
        """Follow the log: take note of each job that was touched."""
        for job_id in {fact.record.stream.removeprefix("job-") for fact in facts}:
            self._note(job_id)
        self._changed.set()

    @contextmanager
    def intake(self) -> Iterator[None]:
        """Hold a place in the queue while a job is being accepted. Raises `QueueFull` or `ShuttingDown`."""
        if self._closed:
            raise ShuttingDown("The service is stopping; it takes no new work.")
        if len(self._queue) + self._arriving >= self._settings.queue_max:
            raise QueueFull(f"{self._settings.queue_max} jobs are waiting already.")
        self._arriving += 1
        try:
            yield
        finally:
            self._arriving -= 1

    def close(self) -> None:
        """Accept and start nothing more."""
        self._closed = True

    def waiting_for(self, entry: Entry) -> WaitingFor | None:
        """What a queued job waits for."""
        if entry.job.state is not State.QUEUED:
            return None
        if entry.job.retry_at is not None and entry.job.retry_at > self._clock.now():
            return "retry"
        if self._space_is_short:
            return "space"
        return "slot" if self._has_room(urls.site(entry.job.request.url)) else "site"

    async def run(self) -> None:
        """Start what may start; wait for a change, for the next retry or for space; again."""
        for entry in self._jobs.in_state(State.QUEUED):
            self._note(entry.job.job_id)
        while not self._closed:
            self._changed.clear()
            if len(self._queue):
                await self._look_at_space()
            self._fill_slots()
            await self._wait()

    async def _look_at_space(self) -> None:
        lacking = await self._space.lacking_bytes()
        if bool(lacking) is not self._space_is_short:
            self._space_is_short = bool(lacking)
            _log.info("admission.space", short=self._space_is_short, lacking_bytes=lacking)

    def _fill_slots(self) -> None:
        if self._closed or self._space_is_short:
            return
        while len(self._running) < self._settings.max_concurrent_downloads:
            found = self._queue.next(self._clock.now(), self._has_room)
            if found is None:
                return
            self._occupy(*found)

    def _occupy(self, job_id: str, site: str) -> None:
        if job_id in self._running:  # its last attempt is just being put away; `_release` notes it again
            return
        self._running[job_id] = site
        self._sites[site] += 1
        self._start_job(job_id, lambda: self._release(job_id))

    def _release(self, job_id: str) -> None:
        site = self._running.pop(job_id)
        self._sites[site] -= 1
        if not self._sites[site]:
            del self._sites[site]
        self._note(job_id)
        self._changed.set()

    def _note(self, job_id: str) -> None:
        entry = self._jobs.get(job_id)
        if entry is not None and job_id not in self._jobs.frozen:
            self._queue.note(entry)

    def _has_room(self, site: str) -> bool:
        return self._sites[site] < self._settings.max_concurrent_per_site

    async def _wait(self) -> None:
        now = self._clock.now()
        due = self._queue.next_due(now)
        timeout = None if due is None else (due - now) / SECOND
        if self._space_is_short:
            timeout = SPACE_LOOK_SEC
        try:
            async with asyncio.timeout(timeout):
                await self._changed.wait()
        except TimeoutError:
            return
