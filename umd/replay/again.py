"""Deciding every stored command again: today's rules must give the very events that are stored.

And what the service would serve, the fold of its projections, must be what these events come to.
"""

from collections import Counter, deque
from collections.abc import Iterable, Iterator

import msgspec

from umd.clock import Micros
from umd.domain import batch as batch_rules
from umd.domain import engine as engine_rules
from umd.domain import job as job_rules
from umd.domain import storage as storage_rules
from umd.domain.commands import Command, EngineCommand, JobCommand, RecordSwept
from umd.domain.events import BatchQueued, DeliveryEvent, EngineEvent, Event, FilesSwept, JobEvent, JobQueued
from umd.domain.job import State
from umd.errors import Refused
from umd.log import Fact, Record, Unknown
from umd.log.codec import EVENTS, decode_command
from umd.projections.models import Models
from umd.replay.past import Past


class Difference(msgspec.Struct, frozen=True):
    """A row that the rules would not write today."""

    position: int
    stream: str
    message: str


class Decided(msgspec.Struct):
    """What was gone through. Rows of a newer release, and what follows in their streams, are `unknown`."""

    commands: int = 0
    events: int = 0
    unknown: int = 0


class Again:
    """Goes through a log from its beginning, and yields every difference.

    Where the first rows are pruned, `base` is what they came to.
    """

    def __init__(self, base: Models | None = None) -> None:
        base = base or Models()
        jobs, batches = base.jobs.in_creation_order(), base.batches.in_creation_order()
        self.decided = Decided()
        self._jobs = {job_rules.stream(entry.job.job_id): entry.job for entry in jobs}
        self._batches = {batch_rules.stream(entry.batch.batch_id): entry.batch for entry in batches}
        self._release = base.releases.release
        self._due: dict[str, deque[Event]] = {}
        self._frozen: set[str] = set()
        self._served = Past(base)

    def differences(self, records: Iterable[Record]) -> Iterator[Difference]:
        for record in records:
            if record.stream in self._frozen or not record.stream.startswith(
                ("job-", "batch-", engine_rules.STREAM, storage_rules.STREAM)
            ):
                self.decided.unknown += 1
            elif record.kind == "command":
                yield from self._command(record)
            else:
                yield from self._event(record)
        for stream, due in self._due.items():
            if due:
                yield Difference(0, stream, f"The stream ends, and {_tag(due[0])} is missing.")
        yield from self._differently_served()

    def _command(self, record: Record) -> Iterator[Difference]:
        command = decode_command(record)
        if isinstance(command, Unknown):
            self._freeze(record)
            return
        self.decided.commands += 1
        if due := self._due.get(record.stream):
            yield Difference(record.position, record.stream, f"{_tag(due[0])} is missing before this row.")
        try:
            events = self._decided(record.stream, command, record.at)
        except Refused as refused:
            events = ()
            yield Difference(record.position, record.stream, f"It would be refused: {refused}")
        self._due[record.stream] = deque(events)

    def _event(self, record: Record) -> Iterator[Difference]:
        event = EVENTS.decode(record)
        known = record.stream in self._jobs or record.stream in self._batches
        begun = known or isinstance(event, JobQueued | BatchQueued | EngineEvent | FilesSwept)
        if isinstance(event, Unknown) or not begun:  # what begins in any other way cannot be read
            self._freeze(record)
            return
        self.decided.events += 1
        due = self._due.get(record.stream)
        if not due:
            yield Difference(record.position, record.stream, f"{record.type} would not be there.")
        elif not _same(record, event, wanted := due.popleft()):
            told = EVENTS.encode(wanted)[2].decode()
            yield Difference(record.position, record.stream, f"It would be {told}")
        self._evolve(record.stream, event, record.at)
        self._served.apply([Fact(record, event)])

    def _decided(self, stream: str, command: Command, at: Micros) -> tuple[Event, ...]:
        if isinstance(command, JobCommand):
            return job_rules.decide(self._jobs.get(stream), command, at)
        if isinstance(command, EngineCommand):
            return engine_rules.decide(self._release, command)
        if isinstance(command, RecordSwept):
            return storage_rules.decide(command)
        return batch_rules.decide(self._batches.get(stream), command)

    def _evolve(self, stream: str, event: Event, at: Micros) -> None:
        if isinstance(event, JobEvent) or (isinstance(event, DeliveryEvent) and stream in self._jobs):
            self._jobs[stream] = job_rules.evolve(self._jobs.get(stream), event, at)
        elif isinstance(event, EngineEvent):
            self._release = engine_rules.evolve(self._release, event)
        elif not isinstance(event, FilesSwept):
            self._batches[stream] = batch_rules.evolve(self._batches.get(stream), event, at)

    def _differently_served(self) -> Iterator[Difference]:
        """Each job and batch, and the counts of a batch's jobs, against what the projections have."""
        counts = {batch.batch_id: Counter[State]() for batch in self._batches.values()}
        for stream, job in self._jobs.items():
            entry = self._served.jobs.get(job.job_id)
            if entry is None or entry.job != job:
                yield Difference(0, stream, "The service would show another state.")
            if job.batch_id in counts:
                counts[job.batch_id][job.state] += 1
        for stream, batch in self._batches.items():
            whole = self._served.batches.get(batch.batch_id)
            if whole is None or whole.batch != batch:
                yield Difference(0, stream, "The service would show another state.")
            elif self._served.batches.counts(batch.batch_id) != counts[batch.batch_id]:
                yield Difference(0, stream, "The service would count its jobs otherwise.")

    def _freeze(self, record: Record) -> None:
        self.decided.unknown += 1
        self._frozen.add(record.stream)
        self._due.pop(record.stream, None)


def _same(record: Record, event: Event, wanted: Event) -> bool:
    """Byte for byte; a row of an older release, which lacks newer fields, as this release would write it."""
    _, _, data = EVENTS.encode(wanted)
    return data in (record.data, EVENTS.encode(event)[2])


def _tag(event: Event) -> str:
    return str(event.__struct_config__.tag)
