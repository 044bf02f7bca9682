"""The book-keeping of the log, without any I/O: where each stream stands, and what is written next."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec

from umd.clock import Micros
from umd.errors import Conflict, LogCorrupt, LogError
from umd.log import Appended, Fact, Record, chain
from umd.log.codec import Entry

BATCH_ROWS_MAX: Final = 2_500
"""Of a batch, and so of an append: SQLite binds at most 32,766 values to a statement, a row has 11."""
APPEND_BYTES_MAX: Final = 16 * 2**20
POSITION_MAX: Final = 2**63 - 1


class Draft(msgspec.Struct, frozen=True, gc=False):
    """An append that has no place in the log yet."""

    stream: str
    expected: int
    at: Micros
    correlation: str
    causation: int | None
    entries: tuple[Entry, ...]

    def __post_init__(self) -> None:
        """Turn down here, at the caller, what could not be stored, so that it cannot harm a batch."""
        try:
            f"{self.stream}{self.correlation}".encode()
        except UnicodeEncodeError as error:
            raise LogError("A stream and a correlation are Unicode text.") from error
        if not (0 <= self.at <= POSITION_MAX and 0 <= (self.causation or 0) <= POSITION_MAX):
            raise LogError("A time and a position are 64-bit integers.")
        if len(self.entries) > BATCH_ROWS_MAX:
            raise LogError(f"An append has at most {BATCH_ROWS_MAX} rows.")
        if sum(len(entry.data) for entry in self.entries) > APPEND_BYTES_MAX:
            raise LogError(f"An append has at most {APPEND_BYTES_MAX} bytes.")


class Tip(msgspec.Struct, frozen=True, gc=False):
    """The last row of a stream."""

    position: int
    version: int


NOWHERE: Final = Tip(0, 0)


class Standing(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """Where one stream stands, as a snapshot has it."""

    stream: str
    position: int
    version: int


class Plan(msgspec.Struct):
    """What a batch comes to, if it is stored: an outcome for each draft, the rows, and the book after it."""

    head: int
    hash: bytes
    tips: dict[str, Tip] = {}
    facts: list[Fact] = []
    outcomes: list[Appended | Conflict] = []

    def add(self, draft: Draft, entry: Entry, version: int, causation: int | None) -> None:
        """Put a row behind the last one."""
        self.head += 1
        columns = (
            self.head,
            draft.stream,
            version,
            entry.kind,
            entry.type,
            entry.schema_version,
            draft.at,
            draft.correlation,
            causation,
            entry.data,
        )
        self.hash = chain.link(self.hash, columns)
        self.facts.append(Fact(Record(*columns, self.hash), entry.event))


class Ledger:
    """The last position and hash of the log, and of each stream the last position and version.

    `plan` changes nothing: the caller stores what was planned and then calls `commit`, or forgets it.
    """

    def __init__(self) -> None:
        self.head = 0
        self.hash = chain.GENESIS
        self._tips: dict[str, Tip] = {}

    @property
    def streams(self) -> int:
        """How many streams there are."""
        return len(self._tips)

    def plan(self, drafts: Iterable[Draft]) -> Plan:
        """Give each draft its place, one behind the other; one that expected another place is a conflict."""
        plan = Plan(self.head, self.hash)
        for draft in drafts:
            plan.outcomes.append(self._place(plan, draft))
        return plan

    def commit(self, plan: Plan) -> None:
        """What was planned is stored."""
        self.head = plan.head
        self.hash = plan.hash
        self._tips.update(plan.tips)

    def admit(self, records: Sequence[Record], *, verify: bool = True) -> None:
        """Take rows that are stored already, in order; `LogCorrupt` names the first that does not fit.

        Those before it are taken. `verify` has the hashes computed again, which takes 1.2 of 1.4 µs a row.
        """
        head, digest, tips = self.head, self.hash, self._tips
        try:
            for record in records:
                position = head + 1
                if record.position != position:
                    raise LogCorrupt(f"Row {position} of the log is missing.", position)
                if verify:
                    chain.check(digest, record)
                if record.version != tips.get(record.stream, NOWHERE).version + 1:
                    raise LogCorrupt(
                        f"Row {position} of the log is not the next one of {record.stream}.", position
                    )
                tips[record.stream] = Tip(position, record.version)
                head, digest = position, record.hash
        finally:
            self.head, self.hash = head, digest

    def standings(self) -> Iterator[Standing]:
        """Where each stream stands now, whatever is committed later."""
        tips = self._tips.copy()
        return (Standing(stream, tip.position, tip.version) for stream, tip in tips.items())

    def begin_at(self, position: int, digest: bytes, standings: Iterable[Standing]) -> None:
        """Go on where a snapshot stands."""
        self.head, self.hash = position, digest
        self._tips = {one.stream: Tip(one.position, one.version) for one in standings}

    def trust(self, records: Sequence[Record]) -> None:
        """Take some rows that are stored already, the last of each stream among them, without a check."""
        last = {record.stream: record for record in records}
        self._tips.update({name: Tip(record.position, record.version) for name, record in last.items()})

    def stand_at(self, record: Record) -> None:
        """Go on behind this row, which may be a command's: then it is the last of its stream so far."""
        self.head, self.hash = record.position, record.hash
        self.trust([record])

    def _place(self, plan: Plan, draft: Draft) -> Appended | Conflict:
        tip = plan.tips.get(draft.stream) or self._tips.get(draft.stream, NOWHERE)
        if tip.position != draft.expected:
            return Conflict(f"{draft.stream} stands at {tip.position}, not at {draft.expected}.")
        first = plan.head + 1
        causation = draft.causation
        for version, entry in enumerate(draft.entries, tip.version + 1):
            plan.add(draft, entry, version, causation)
            causation = first
        plan.tips[draft.stream] = Tip(plan.head, tip.version + len(draft.entries))
        return Appended(first, plan.head)
