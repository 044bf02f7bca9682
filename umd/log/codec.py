"""Commands and events as the JSON of a row, and back.

The stored `type` is the message's tag and `schema_version` counts the shapes that this type has had. A
row of an older shape is lifted step by step by `UPCASTS`; a row of a newer release is `Unknown`, kept and
shown as it is. No row stops a start: one that cannot be read, although its type is known, is `Unknown`
too, with an error in the service's own log.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Generic, TypeAlias, TypeVar, get_args

import msgspec
import structlog

from umd.domain.commands import Command
from umd.domain.events import Event, JobLog, JobPhase
from umd.errors import LogError
from umd.log import Fact, Record, RowKind, Unknown

Upcast: TypeAlias = Callable[[dict[str, Any]], dict[str, Any]]
Upcasts: TypeAlias = Mapping[tuple[str, int], Upcast]

UPCASTS: Final[Upcasts] = {}
"""`(type, n)` names the function that makes version n + 1 out of version n. A type's own version follows
from it: one more than it has entries here."""

M = TypeVar("M", bound=msgspec.Struct)

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(dict[str, Any])
_logger = structlog.get_logger(__name__)


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A message made ready to be stored; `event` is None for a command."""

    kind: RowKind
    type: str
    schema_version: int
    data: bytes
    event: Event | None


class Codec(Generic[M]):
    """One vocabulary, the commands or the events, with the versions of its types."""

    def __init__(self, vocabulary: object, upcasts: Upcasts = UPCASTS) -> None:
        types: dict[str, type[M]] = {_tag(member): member for member in _members(vocabulary)}
        self.versions: Final = {tag: 1 + sum(tag == name for name, _ in upcasts) for tag in types}
        self._upcasts = upcasts
        self._readers = {
            (tag, self.versions[tag]): msgspec.json.Decoder(member).decode for tag, member in types.items()
        }

    def encode(self, message: M) -> tuple[str, int, bytes]:
        """The type, the schema version and the JSON of a message.

        It is read back before it is stored: a value outside its type's bounds is found here, where it was
        made, and not at the next start, when the row would be lost to the fold.
        """
        tag = _tag(message)
        version = self.versions[tag]
        data = _encoder.encode(message)
        try:
            self._readers[tag, version](data)
        except msgspec.DecodeError as error:
            raise LogError(f"A {tag} that could not be read again was not stored: {error}") from error
        return tag, version, data

    def decode(self, record: Record) -> M | Unknown:
        """What a row says."""
        try:
            reader = self._readers.get((record.type, record.schema_version))
            return reader(record.data) if reader else self._lift(record)
        except Exception as error:  # whatever an old row holds or an upcast does to it, the start goes on
            _logger.exception(
                "log.row_unreadable", position=record.position, type=record.type, error=str(error)
            )
            return Unknown(record.type, record.data, damaged=True)

    def decode_all(self, records: Sequence[Record]) -> list[M | Unknown]:
        """What some rows say: the quick way, where all can be read and are of the present shape."""
        try:
            return [self._readers[record.type, record.schema_version](record.data) for record in records]
        except Exception:  # noqa: BLE001  # `decode` looks at each, and says what is wrong with it
            return [self.decode(record) for record in records]

    def _lift(self, record: Record) -> M | Unknown:
        current = self.versions.get(record.type, 0)
        if record.schema_version > current:
            return Unknown(record.type, record.data)
        body = _decoder.decode(record.data)
        for version in range(record.schema_version, current):
            body = self._upcasts[record.type, version](body)
        return self._readers[record.type, current](_encoder.encode(body))


def _members(vocabulary: object) -> Sequence[Any]:
    return get_args(vocabulary) or (vocabulary,)


def _tag(message: msgspec.Struct | type[msgspec.Struct]) -> str:
    return str(message.__struct_config__.tag)


LOG: Final = _tag(JobLog)
PHASE: Final = _tag(JobPhase)
EVENTS: Final[Codec[Event]] = Codec(Event)
COMMANDS: Final[Codec[Command]] = Codec(Command)


def entries(command: Command, events: Iterable[Event]) -> tuple[Entry, ...]:
    """The rows of one append: the command's first, then its events'."""
    return (
        Entry("command", *COMMANDS.encode(command), None),
        *(Entry("event", *EVENTS.encode(event), event) for event in events),
    )


def facts(records: Iterable[Record]) -> list[Fact]:
    """Rows together with what they say, as the followers want them."""
    decode = EVENTS.decode
    return [Fact(record, decode(record) if record.kind == "event" else None) for record in records]


def facts_at_last(records: Sequence[Record]) -> list[Fact]:
    """The same of events' rows, for who asks only what they all came to: an event that is overtaken is None.

    In a job's stream the next phase overtakes a phase, and any event the lines of a log: nearly half of all.
    What cannot be read is told, for it freezes its stream.
    """
    said = EVENTS.decode_all(records)
    passed = {record.position for record in _overtaken(records)}
    return [
        Fact(record, None if record.position in passed and type(event) is not Unknown else event)
        for record, event in zip(records, said, strict=True)
    ]


def _overtaken(records: Sequence[Record]) -> Iterator[Record]:
    following: dict[str, str] = {}
    for record in reversed(records):
        next_type = following.get(record.stream)
        if next_type is not None and (record.type == LOG or record.type == next_type == PHASE):
            yield record
        following[record.stream] = record.type


def decode_command(record: Record) -> Command | Unknown:
    """The command of a command's row, to decide it again."""
    return COMMANDS.decode(record)
