"""Deciding every stored command again: today's rules must give the very events that are stored."""

from collections import deque
from collections.abc import Iterable, Iterator

import msgspec

from umd.clock import Micros
from umd.domain import batch as batch_rules
from umd.domain import job as job_rules
from umd.domain.commands import Command, JobCommand
from umd.domain.events import BatchQueued, Event, JobEvent, JobQueued
from umd.errors import Refused
from umd.log import Record, Unknown
from umd.log.codec import EVENTS, decode_command
from umd.projections.models import Models


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
        self._due: dict[str, deque[Event]] = {}
        self._frozen: set[str] = set()

    def differences(self, records: Iterable[Record]) -> Iterator[Difference]:
        for record in records:
            if record.stream in self._frozen or not record.stream.startswith(("job-", "batch-")):
                self.decided.unknown += 1
            elif record.kind == "command":
                yield from self._command(record)
            else:
                yield from self._event(record)
        for stream, due in self._due.items():
            if due:
                yield Difference(0, stream, f"The stream ends, and {_tag(due[0])} is missing.")

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
        begun = known or isinstance(event, JobQueued | BatchQueued)
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

    def _decided(self, stream: str, command: Command, at: Micros) -> tuple[Event, ...]:
        if isinstance(command, JobCommand):
            return job_rules.decide(self._jobs.get(stream), command, at)
        return batch_rules.decide(self._batches.get(stream), command)

    def _evolve(self, stream: str, event: Event, at: Micros) -> None:
        if isinstance(event, JobEvent):
            self._jobs[stream] = job_rules.evolve(self._jobs.get(stream), event, at)
        else:
            self._batches[stream] = batch_rules.evolve(self._batches.get(stream), event, at)

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
