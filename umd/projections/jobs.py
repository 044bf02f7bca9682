"""Every job as it is now, and the order in which the waiting ones may start.

The fold of the log, kept at its head: the log tells this projection each committed row before the append
returns, so an answer that comes after a write has seen it.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import msgspec

from umd.domain.events import DeliveryEvent, Event, JobEvent, JobQueued
from umd.domain.job import Job, State, evolve
from umd.errors import NotFound
from umd.log import Fact, Record, Unknown
from umd.projections.watches import Watches

Condition = Callable[[Job], bool]

OF_JOBS: Final = (JobEvent, DeliveryEvent)


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A job, the position of its stream's last row, and what its first row brought with it."""

    job: Job
    position: int
    created_position: int
    correlation: str


class Page(msgspec.Struct, frozen=True):
    """Some jobs, newest first; `next` is the cursor of what follows, None at the end."""

    entries: list[Entry]
    next: int | None


class Jobs:
    """All jobs by id, in order of creation, and counted by state."""

    def __init__(self) -> None:
        self.position = 0
        self.frozen: dict[str, int] = {}
        """The jobs of which an event cannot be read, and its position: nothing more is decided for them."""
        self._entries: dict[str, Entry] = {}
        self._created: list[tuple[int, str]] = []
        self._created_by: dict[str, list[tuple[int, str]]] = {}
        self._counts: Counter[State] = Counter()
        self._watches: Watches[Entry] = Watches()

    def apply(self, facts: Sequence[Fact]) -> None:
        """Fold committed rows. An event of a newer release moves the position and nothing else.

        One that is damaged freezes its job, and no other: what it is now, nobody knows.
        """
        for fact in facts:
            if fact.event is not None and fact.record.stream.startswith("job-"):
                self._fold(fact.record, fact.event)
        if facts:
            self.position = facts[-1].record.position

    def fill(self, entries: Sequence[Entry]) -> None:
        """Take in jobs as they were put by, in the order of their creation."""
        for entry in entries:
            self._enter(entry)

    def forget(self, count: int) -> bool:
        """Let go of so many, whether there are more. For a model that nobody asks any more."""
        for _ in range(min(count, len(self._entries))):
            self._entries.popitem()
        return bool(self._entries)

    def get(self, job_id: str) -> Entry | None:
        """The job with this id."""
        return self._entries.get(job_id)

    def require(self, job_id: str) -> Entry:
        """The job with this id. Raises `NotFound`."""
        entry = self._entries.get(job_id)
        if entry is None:
            raise NotFound("job", job_id)
        return entry

    async def when(self, job_id: str, condition: Condition) -> Entry:
        """Wait until a job meets a condition: at once, or as soon as an event makes it so."""
        return await self._watches.wait(job_id, self.require(job_id), lambda entry: condition(entry.job))

    def count(self, *states: State) -> int:
        """How many jobs are in these states."""
        return sum(self._counts[state] for state in states)

    def in_state(self, *states: State) -> list[Entry]:
        """The jobs in these states, oldest first."""
        if not self.count(*states):
            return []
        return [entry for entry in self._entries.values() if entry.job.state in states]

    def in_creation_order(self) -> list[Entry]:
        """All jobs, oldest first."""
        return list(self._entries.values())

    def page(
        self,
        *,
        limit: int,
        before: int | None = None,
        states: frozenset[State] | None = None,
        owner: str | None = None,
    ) -> Page:
        """At most `limit` jobs that were created before position `before`, newest first.

        They are those of one owner, or everybody's.
        """
        found: list[Entry] = []
        created = self._created if owner is None else self._created_by.get(owner, [])
        for entry in self._backwards(created, before):
            if states is not None and entry.job.state not in states:
                continue
            if len(found) == limit:
                return Page(found, found[-1].created_position)
            found.append(entry)
        return Page(found, None)

    def _backwards(self, created: list[tuple[int, str]], before: int | None) -> Iterator[Entry]:
        end = len(created) if before is None else bisect_left(created, (before, ""))
        for index in range(end - 1, -1, -1):
            yield self._entries[created[index][1]]

    def _fold(self, record: Record, event: Event | Unknown) -> None:
        job_id = record.stream.removeprefix("job-")
        if type(event) is Unknown and event.damaged:
            self.frozen.setdefault(job_id, record.position)
        if job_id in self.frozen:
            return
        entry = self._entries.get(job_id)
        if entry is None:
            if isinstance(event, JobQueued):  # what begins in any other way cannot be read, and stays unknown
                self._add(evolve(None, event, record.at), record)
            return
        before = entry.job
        job = evolve(before, event, record.at) if isinstance(event, OF_JOBS) else before
        entry = Entry(job, record.position, entry.created_position, entry.correlation)
        self._entries[job_id] = entry
        if job.state is not before.state:
            self._counts[before.state] -= 1
            self._counts[job.state] += 1
        self._watches.tell(job_id, entry)

    def _add(self, job: Job, record: Record) -> None:
        self._enter(Entry(job, record.position, record.position, record.correlation))

    def _enter(self, entry: Entry) -> None:
        job = entry.job
        self._entries[job.job_id] = entry
        place = (entry.created_position, job.job_id)
        self._created.append(place)
        self._created_by.setdefault(job.owner, []).append(place)
        self._counts[job.state] += 1
