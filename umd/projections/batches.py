"""Every batch as it is now, and how far its downloads are."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import msgspec

from umd.domain.batch import FINAL, Batch, evolve
from umd.domain.events import BatchEvent, BatchQueued, DeliveryEvent
from umd.domain.job import Job, State
from umd.errors import NotFound
from umd.log import Fact, Record, Unknown
from umd.projections.jobs import Entry, Jobs
from umd.projections.watches import Watches

Condition = Callable[[Batch], bool]


class BatchEntry(msgspec.Struct, frozen=True, gc=False):
    """A batch, the position of its stream's last row, and what its first row brought with it."""

    batch: Batch
    position: int
    created_position: int
    correlation: str


class BatchPage(msgspec.Struct, frozen=True):
    """Some batches, newest first; `next` is the cursor of what follows, None at the end."""

    entries: list[BatchEntry]
    next: int | None


class Batches:
    """All batches by id, in order of creation, each with the states of its jobs. Folds after `Jobs`."""

    def __init__(self, jobs: Jobs) -> None:
        self.frozen: dict[str, int] = {}
        """Batches of which an event cannot be read, and its position: nothing more is decided for them."""
        self._jobs = jobs
        self._entries: dict[str, BatchEntry] = {}
        self._created: list[tuple[int, str]] = []
        self._created_by: dict[str, list[tuple[int, str]]] = {}
        self._children: dict[str, dict[str, State]] = {}
        self._counts: dict[str, Counter[State]] = {}
        self._active: dict[str, None] = {}
        self._watches: Watches[BatchEntry] = Watches()

    def apply(self, facts: Sequence[Fact]) -> None:
        """Fold committed rows, those of the batches' jobs included.

        An event that is damaged freezes its batch, and no other; the jobs that it has go on.
        """
        touched: set[str] = set()
        for fact in facts:
            if fact.event is None:
                continue
            if fact.record.stream.startswith("batch-"):
                self._fold(fact)
            elif self._entries:
                touched.add(fact.record.stream)
        for stream in touched:
            entry = self._jobs.get(stream.removeprefix("job-"))
            if entry is not None and entry.job.batch_id in self._entries:
                self._note(entry.job.batch_id, entry.job)

    def in_creation_order(self) -> list[BatchEntry]:
        """All batches, oldest first."""
        return list(self._entries.values())

    def fill(self, entries: Sequence[BatchEntry]) -> None:
        """Take in batches as they were put by, in the order of their creation."""
        for entry in entries:
            self._enter(entry)

    def fill_jobs(self, entries: Sequence[Entry]) -> None:
        """Take in the states of the batches' jobs, when the batches are there."""
        for entry in entries:
            if entry.job.batch_id in self._entries:
                self._note(entry.job.batch_id, entry.job)

    def get(self, batch_id: str) -> BatchEntry | None:
        """The batch with this id."""
        return self._entries.get(batch_id)

    def require(self, batch_id: str) -> BatchEntry:
        """The batch with this id. Raises `NotFound`."""
        entry = self._entries.get(batch_id)
        if entry is None:
            raise NotFound("batch", batch_id)
        return entry

    async def when(self, batch_id: str, condition: Condition) -> BatchEntry:
        """Wait until a batch meets a condition: at once, or as soon as an event makes it so."""
        now = self.require(batch_id)
        return await self._watches.wait(batch_id, now, lambda entry: condition(entry.batch))

    def counts(self, batch_id: str) -> Counter[State]:
        """How many of a batch's jobs are in which state; items that have no job yet are not among them."""
        return self._counts[batch_id]

    def unended(self, batch_id: str) -> list[str]:
        """The jobs of a batch that have not come to their end."""
        ends = (State.COMPLETED, State.FAILED, State.CANCELLED)
        return [job_id for job_id, state in self._children[batch_id].items() if state not in ends]

    def active(self) -> list[str]:
        """The batches that are under way, oldest first; one that is frozen is not."""
        return list(self._active)

    def page(
        self,
        *,
        limit: int,
        before: int | None = None,
        wanted: Condition = lambda _: True,
        owner: str | None = None,
    ) -> BatchPage:
        """At most `limit` batches that were created before position `before`, newest first.

        They are those of one owner, or everybody's.
        """
        found: list[BatchEntry] = []
        created = self._created if owner is None else self._created_by.get(owner, [])
        for entry in self._backwards(created, before):
            if not wanted(entry.batch):
                continue
            if len(found) == limit:
                return BatchPage(found, found[-1].created_position)
            found.append(entry)
        return BatchPage(found, None)

    def _backwards(self, created: list[tuple[int, str]], before: int | None) -> Iterator[BatchEntry]:
        end = len(created) if before is None else bisect_left(created, (before, ""))
        for index in range(end - 1, -1, -1):
            yield self._entries[created[index][1]]

    def _fold(self, fact: Fact) -> None:
        event, record = fact.event, fact.record
        batch_id = record.stream.removeprefix("batch-")
        if isinstance(event, Unknown) and event.damaged:
            self.frozen.setdefault(batch_id, record.position)
            self._active.pop(batch_id, None)
        if batch_id in self.frozen:
            return
        entry = self._entries.get(batch_id)
        if entry is None:
            if isinstance(event, BatchQueued):
                self._add(evolve(None, event, record.at), record)
            return
        batch = entry.batch
        if isinstance(event, BatchEvent | DeliveryEvent):
            batch = evolve(batch, event, record.at)
        self._put(BatchEntry(batch, record.position, entry.created_position, entry.correlation))

    def _add(self, batch: Batch, record: Record) -> None:
        self._enter(BatchEntry(batch, record.position, record.position, record.correlation))

    def _enter(self, entry: BatchEntry) -> None:
        batch = entry.batch
        place = (entry.created_position, batch.batch_id)
        self._created.append(place)
        self._created_by.setdefault(batch.owner, []).append(place)
        self._children[batch.batch_id] = {}
        self._counts[batch.batch_id] = Counter()
        self._put(entry)

    def _put(self, entry: BatchEntry) -> None:
        batch_id = entry.batch.batch_id
        self._entries[batch_id] = entry
        if entry.batch.state in FINAL:
            self._active.pop(batch_id, None)
        else:
            self._active[batch_id] = None
        self._watches.tell(batch_id, entry)

    def _note(self, batch_id: str, job: Job) -> None:
        children, counts = self._children[batch_id], self._counts[batch_id]
        before = children.get(job.job_id)
        if before is job.state:
            return
        if before is not None:
            counts[before] -= 1
        counts[job.state] += 1
        children[job.job_id] = job.state
