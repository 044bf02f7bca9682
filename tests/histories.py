"""What must be true of the rows of a log, whatever has happened: each stream's way, and how they fit.

It goes through the rows once, in order, and raises `BrokenInvariant` at the first that must not be.
"""

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from umd.domain import batch as batch_rules
from umd.domain import events as e
from umd.domain import job as job_rules
from umd.domain.batch import Batch, BatchState
from umd.domain.commands import BatchCommand, Command, JobCommand
from umd.domain.job import FINAL, Job, State
from umd.errors import Refused
from umd.log import Record, Unknown, chain
from umd.log.codec import EVENTS, decode_command

ALLOWED: Mapping[State, frozenset[State]] = {
    State.QUEUED: frozenset({State.RUNNING, State.PAUSED, State.CANCELLED}),
    State.RUNNING: frozenset({State.QUEUED, State.STOPPING, State.COMPLETED, State.FAILED}),
    State.STOPPING: frozenset({State.PAUSED, State.CANCELLED}),
    State.PAUSED: frozenset({State.QUEUED, State.CANCELLED}),
    State.COMPLETED: frozenset(),
    State.FAILED: frozenset({State.QUEUED}),
    State.CANCELLED: frozenset({State.QUEUED}),
}
"""From each state where to, besides staying."""

_UNDER_WAY = frozenset({BatchState.EXPANDING, BatchState.RUNNING})
BATCH_ALLOWED: Mapping[BatchState, frozenset[BatchState]] = {
    BatchState.EXPANDING: frozenset({BatchState.RUNNING, BatchState.STOPPING}),
    BatchState.RUNNING: frozenset({BatchState.STOPPING, BatchState.COMPLETED, BatchState.FAILED}),
    BatchState.STOPPING: batch_rules.FINAL,
    BatchState.COMPLETED: _UNDER_WAY,
    BatchState.FAILED: _UNDER_WAY,
    BatchState.CANCELLED: _UNDER_WAY,
}
"""The same for a batch."""

AFTER_THE_END = (
    e.JobFile,
    e.JobFilesDeleted,
    e.JobFilesMissing,
    e.JobDeletionScheduled,
    e.WebhookDelivered,
    e.WebhookFailed,
    e.WebhookRequeued,
    e.JobRetrying,
    e.BatchRetrying,
)
"""Events that a job or a batch may still have after its final one."""

COUNTED = frozenset({State.QUEUED, State.RUNNING, State.STOPPING})
"""A job of a batch that takes one of the places that `concurrent_limit` gives."""

_encode = msgspec.json.Encoder().encode


class BrokenInvariant(AssertionError):
    """Something that must be true is not."""


def hold(condition: object, what: str) -> None:
    if not condition:
        raise BrokenInvariant(what)


class History:
    """The jobs and batches that the rows tell of, up to a position."""

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}
        self.batches: dict[str, Batch] = {}
        self._versions: Counter[str] = Counter()
        self._digest = chain.GENESIS
        self.position = 0
        self._due: dict[str, deque[bytes]] = {}
        self._children = Children(self.batches, self.jobs)

    def take(self, record: Record) -> None:
        """The next row."""
        self.position += 1
        stream = record.stream
        hold(record.position == self.position, f"row {self.position} has position {record.position}")
        self._versions[stream] += 1
        hold(record.version == self._versions[stream], f"row {record.position} leaves a gap in {stream}")
        chain.check(self._digest, record)
        self._digest = record.hash
        if stream.startswith((job_rules.PREFIX, batch_rules.PREFIX)):
            if record.kind == "command":
                self._decide(record)
            else:
                self._follow(record)

    def end(self) -> None:
        """There are no more rows, or none yet."""
        for stream, due in self._due.items():
            hold(not due, f"{stream}: it ends before what its last command leads to")
            name = stream.partition("-")[2]
            hold(name in self.jobs or name in self.batches, f"{stream} has no event")

    def _decide(self, record: Record) -> None:
        """The events behind a command's row are what it leads to, byte for byte."""
        stream, command = record.stream, decode_command(record)
        hold(not isinstance(command, Unknown), f"{stream}: row {record.position} cannot be read")
        hold(not self._due.get(stream), f"{stream}: row {record.position} is decided otherwise now")
        try:
            events = self._decided(stream, command, record)
        except Refused as refused:
            raise BrokenInvariant(
                f"{stream}: row {record.position} is decided otherwise now: {refused}"
            ) from refused
        self._due[stream] = deque(map(_encode, events))

    def _decided(self, stream: str, command: Command | Unknown, record: Record) -> Sequence[e.Event]:
        name = stream.partition("-")[2]
        if isinstance(command, JobCommand):
            hold(stream == job_rules.stream(command.job_id), f"{stream} has a command of {command.job_id}")
            return job_rules.decide(self.jobs.get(name), command, record.at)
        assert isinstance(command, BatchCommand)
        hold(stream == batch_rules.stream(command.batch_id), f"{stream} has a command of {command.batch_id}")
        return batch_rules.decide(self.batches.get(name), command)

    def _follow(self, record: Record) -> None:
        due = self._due.get(record.stream)
        as_decided = due and due.popleft() == record.data
        hold(as_decided, f"{record.stream}: row {record.position} is decided otherwise now")
        event = EVENTS.decode(record)
        of_a_job = record.stream.startswith(job_rules.PREFIX)
        if isinstance(event, e.JobEvent) or (of_a_job and isinstance(event, e.DeliveryEvent)):
            self._follow_job(record, event)
        elif isinstance(event, e.BatchEvent | e.DeliveryEvent):
            self._follow_batch(record, event)
        else:
            hold(condition=False, what=f"{record.stream}: row {record.position} cannot be read")

    def _follow_job(self, record: Record, event: e.AnyJobEvent) -> None:
        stream, name = record.stream, record.stream.removeprefix(job_rules.PREFIX)
        before = self.jobs.get(name)
        ended = before is not None and before.state in FINAL
        hold(not ended or isinstance(event, AFTER_THE_END), f"{stream}: {record.type} after the end")
        after = self.jobs[name] = job_rules.evolve(before, event, record.at)
        hold(after.job_id == name, f"{stream} is the stream of job {after.job_id}")
        if before is not None:
            _check_step(stream, before, after)
        if after.batch_id is not None and (before is None or before.state is not after.state):
            self._children.take(record, event, before, after)

    def _follow_batch(self, record: Record, event: e.AnyBatchEvent) -> None:
        stream, name = record.stream, record.stream.removeprefix(batch_rules.PREFIX)
        before = self.batches.get(name)
        ended = before is not None and before.state in batch_rules.FINAL
        hold(not ended or isinstance(event, AFTER_THE_END), f"{stream}: {record.type} after the end")
        after = self.batches[name] = batch_rules.evolve(before, event, record.at)
        hold(after.batch_id == name, f"{stream} is the stream of batch {after.batch_id}")
        if before is not None:
            allowed = after.state is before.state or after.state in BATCH_ALLOWED[before.state]
            hold(allowed, f"{stream}: from {before.state} to {after.state}")
        if isinstance(event, e.BatchQueued):
            self._children.begin(after, record.correlation)
        if isinstance(event, e.BatchListed):
            self._children.list(after, event)
        if isinstance(event, e.BatchCompleted | e.BatchFailed | e.BatchCancelled):
            self._children.check_end(after, event.tally)


class Children:
    """The jobs of the batches: which there may be, how many at once, and what they come to in the end."""

    def __init__(self, batches: Mapping[str, Batch], jobs: Mapping[str, Job]) -> None:
        self._batches = batches
        self._jobs = jobs
        self._items: dict[str, str] = {}
        self._correlations: dict[str, str] = {}
        self._places: dict[str, set[str]] = {}
        self._by_hand: dict[str, State] = {}
        """Jobs that a client has sent back to the queue by themselves, and how they had ended before."""

    def begin(self, batch: Batch, correlation: str) -> None:
        """A batch has begun; what its actor does bears its correlation."""
        self._correlations[batch.batch_id] = correlation

    def list(self, batch: Batch, event: e.BatchListed) -> None:
        """Items have come: each once, and with a job of its own, or with one that has its files already."""
        identities = [batch_rules.identity(one.item) for one in batch.items]
        hold(len(set(identities)) == len(identities), f"batch {batch.batch_id} has an item twice")
        for one in event.items:
            if one.skipped:
                earlier = self._jobs.get(one.job_id)
                has_it = earlier is not None and earlier.owner == batch.owner
                hold(has_it, f"batch {batch.batch_id} skips what its owner has not got: {one.job_id}")
                continue
            own = batch_rules.child_id(batch.batch_id, one.item)
            hold(one.job_id == own, f"batch {batch.batch_id} has {one.job_id} for an item, not {own}")
            self._items[one.job_id] = batch.batch_id

    def take(self, record: Record, event: e.AnyJobEvent, before: Job | None, after: Job) -> None:
        """A job of a batch has come to another state."""
        batch_id, job_id = after.batch_id, after.job_id
        assert batch_id is not None
        batch = self._batches.get(batch_id)
        hold(batch is not None and self._items.get(job_id) == batch_id, f"{job_id} is no item of {batch_id}")
        assert batch is not None
        if before is None:
            hold(after.owner == batch.owner, f"{job_id} is not of the owner of batch {batch_id}")
            hold(batch.state not in batch_rules.FINAL, f"{job_id} comes after the end of batch {batch_id}")
        places = self._places.setdefault(batch_id, set())
        if after.state not in COUNTED:
            places.discard(job_id)
        elif before is None or before.state not in COUNTED:
            self._enter(record, event, before, batch, places)
        if after.state in FINAL:
            self._by_hand.pop(job_id, None)

    def _enter(
        self, record: Record, event: e.AnyJobEvent, before: Job | None, batch: Batch, places: set[str]
    ) -> None:
        """A job takes a place. Those that a client sends back alone are not the batch's to count."""
        job_id = record.stream.removeprefix(job_rules.PREFIX)
        if isinstance(event, e.JobResumed):
            return
        if before is not None and record.correlation != self._correlations[batch.batch_id]:
            self._by_hand[job_id] = before.state
            return
        places.add(job_id)
        limit = batch.order.request.concurrent_limit
        hold(len(places) <= limit, f"batch {batch.batch_id} has {len(places)} jobs under way, not {limit}")

    def check_end(self, batch: Batch, tally: e.Tally) -> None:
        """Every job has ended, and is counted; only a client's own retry may overtake the end."""
        states: Counter[State] = Counter()
        for one in batch.items:
            job = None if one.skipped else self._jobs.get(one.job_id)
            if job is None:
                continue
            overtaken = job.state not in FINAL and one.job_id in self._by_hand
            hold(job.state in FINAL or overtaken, f"batch {batch.batch_id} ends before {one.job_id}")
            states[self._by_hand[one.job_id] if overtaken else job.state] += 1
        completed, failed = states[State.COMPLETED], states[State.FAILED]
        skipped = sum(one.skipped for one in batch.items)
        counted = e.Tally(completed, failed, len(batch.items) - skipped - completed - failed, skipped)
        hold(tally == counted, f"batch {batch.batch_id} ends with {tally}, and has {counted}")


def _check_step(stream: str, before: Job, after: Job) -> None:
    allowed = after.state is before.state or after.state in ALLOWED[before.state]
    hold(allowed, f"{stream}: from {before.state} to {after.state}")
    steps = 1 if after.state is State.RUNNING and before.state is State.QUEUED else 0
    hold(after.attempt == before.attempt + steps, f"{stream}: attempt {before.attempt} to {after.attempt}")


def history(records: Iterable[Record]) -> History:
    """All that the rows tell, if nothing in it must not be."""
    told = History()
    for record in records:
        told.take(record)
    told.end()
    return told
