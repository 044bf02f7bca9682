"""The event log: the one durable truth of the service.

Rows have positions 1, 2, 3, … in commit order, without gaps; each belongs to a stream (`job-…`) and has
a version there. A command's row and the rows of the events that it led to are one append: all of it is
stored, or nothing. Two implementations keep this contract and pass one suite of tests:
`umd.log.sqlite` on disk and `umd.log.memory` for tests.
"""

from collections.abc import Callable, Sequence
from typing import Literal, Protocol

import msgspec

from umd.clock import Micros
from umd.domain.commands import Command
from umd.domain.events import Event
from umd.errors import LogCorrupt

RowKind = Literal["command", "event"]


class Record(msgspec.Struct, frozen=True, gc=False):
    """A stored row. `data` is the JSON of the command or event, `causation` the position that led to it."""

    position: int
    stream: str
    version: int
    kind: RowKind
    type: str
    schema_version: int
    at: Micros
    correlation: str
    causation: int | None
    data: bytes
    hash: bytes


class Unknown(msgspec.Struct, frozen=True, gc=False):
    """An event of a newer release: kept and shown as it is, never interpreted.

    `damaged` says that it is none of a newer release: this one knows its type and cannot read it.
    """

    type: str
    data: bytes
    damaged: bool = False


class Fact(msgspec.Struct, frozen=True, gc=False):
    """A row together with what it says; `event` is None for a command's row."""

    record: Record
    event: Event | Unknown | None


class Appended(msgspec.Struct, frozen=True, gc=False):
    """Where an append came to lie: positions `first` to `last`, without gaps."""

    first: int
    last: int


Follower = Callable[[Sequence[Fact]], None]


class EventLog(Protocol):
    """What the dispatcher, the projections and the streams need of the log.

    `append` stores the command's row, then its events' rows, if `expected` is the position of the
    stream's last row (0 where there is none). It returns when the rows are durable and every follower has
    been told. It raises `Conflict` when the stream has moved on (only after the rows that moved it are
    durable and told, so that loading again sees them), `StorageFull` when nothing could be stored for want
    of space, `LogReadOnly` when the log is damaged, and `LogFailed` when the outcome is unknown: then every
    later append fails too, while `read` goes on. It raises `Overloaded` when too many appends wait already,
    `ShuttingDown` after `stop`, and a plain `LogError` for what could never be stored (more than 2,500 rows
    or 16 MiB, a value outside the bounds of its type). In all these cases but `LogFailed` nothing was
    stored. A caller that is cancelled while it waits may or may not have appended.

    Followers are called in position order, on the event loop, with each committed batch. They must not
    raise and must not wait.
    """

    @property
    def head(self) -> int:
        """The last durable position, 0 for an empty log."""

    @property
    def floor(self) -> int:
        """The highest position that was pruned, 0 where none was: rows after it can be read."""

    @property
    def corruption(self) -> LogCorrupt | None:
        """The first position that is not as it was written; None as long as none is known.

        A damaged log is read up to there, and takes nothing more: `append` raises `LogReadOnly`.
        """

    async def start(self, *followers: Follower) -> None:
        """Open the log, tell the followers every event that is stored, then go on telling them every row.

        Where the log is damaged they are told what stands before the damage, and `corruption` says where it
        is. Raises `LogCorrupt` where nothing stands before it.
        """

    def follow(self, follower: Follower) -> None:
        """Tell one more follower every batch from now on. Only after `start`."""

    async def append(  # noqa: PLR0913  # a row's columns, each of which the caller knows
        self,
        stream: str,
        expected: int,
        command: Command,
        events: Sequence[Event],
        *,
        at: Micros,
        correlation: str,
        causation: int | None = None,
    ) -> Appended: ...

    async def read(self, after: int = 0, limit: int = 500, *, stream: str | None = None) -> list[Record]:
        """At most `limit` rows behind position `after`, of one stream or of all, in order, up to `head`.

        Raises `LogError` before `start`, after `stop`, and when the log cannot be read.
        """

    async def stop(self) -> None:
        """Finish what was appended, then close. May be called twice, and before `start`."""
