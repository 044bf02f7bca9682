"""Snapshots: what was folded from the log up to one row, put by in parts that a start can take up.

There are two, of one form. The *newest* saves time: it is good for the very code that made it, and where it
is damaged, foreign or of other code, the log is folded instead. The *base* stands for the rows that were
pruned: it lies at the floor, and the log begins behind it, for a start, a verify and a replay alike. So it is
read by every later release, as an event is: the structs in it only get new fields, with defaults, and such a
field begins at its default for what was pruned before.
"""

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from itertools import islice
from typing import Any, Final, Protocol

import msgspec

from umd.errors import LogError
from umd.log import Fact
from umd.log.chain import HASH_BYTES
from umd.log.ledger import Ledger, Standing

PART_BYTES: Final = 256 * 2**10
"""Of JSON, about: to encode and deflate so much takes 2 ms, to store it one short transaction."""
PORTION_ITEMS: Final = 64
STREAMS: Final = "streams"
"""The section that is the log's own: where each stream stands."""

_encode_lines = msgspec.json.Encoder().encode_lines
_streams = msgspec.json.Decoder(Standing)

Sections = Mapping[str, Iterable[Any]]


class SnapshotUnusable(LogError):
    """A snapshot cannot be taken up; the message says why."""


class Snapshot(msgspec.Struct, frozen=True, array_like=True):
    """The head of a snapshot: the row that it stands at, the code that folded it, and what its parts are."""

    position: int
    hash: bytes
    code: str
    parts: int
    digest: bytes


class Part(msgspec.Struct, frozen=True, gc=False):
    """Some items of one section."""

    section: str
    data: bytes


class Models(Protocol):
    """The read models together, as the log needs them: told every event, put by and filled again.

    `code` names the rules that they fold by; other rules may fold the same rows into something else.
    `capture` is done at once and copies no more than it must (of dictionaries, whole: a list of their items
    takes five times as long): what it gives does not change any more, and is encoded in another thread.
    `read` decodes lines of a section, `fill` takes its items in; a section that it does not know it passes
    over. `fresh` gives models that know nothing yet; when nobody asks them any more, `forget` lets go of
    a little of what they know, and says whether there is more.
    """

    @property
    def code(self) -> str: ...

    @property
    def is_whole(self) -> bool:
        """Whether every event could be read: only then may what was folded stand for the rows."""

    def apply(self, facts: Sequence[Fact]) -> None: ...

    def capture(self) -> Sections: ...

    def read(self, section: str, lines: bytes) -> Sequence[Any]: ...

    def fill(self, section: str, items: Sequence[Any]) -> None: ...

    def fresh(self) -> "Models": ...

    def forget(self) -> bool: ...


class Captured(msgspec.Struct, frozen=True):
    """All that a snapshot is made of, as it was at one position."""

    position: int
    hash: bytes
    code: str
    sections: Sections


def capture(ledger: Ledger, models: Models) -> Captured:
    """What is known now, of a ledger and models that stand at the same row."""
    sections = {STREAMS: ledger.standings(), **models.capture()}
    return Captured(ledger.head, ledger.hash, models.code, sections)


class Packing:
    """Makes the parts of a snapshot, one `next` at a time; afterwards `head` is its head."""

    def __init__(self, captured: Captured) -> None:
        self._captured = captured
        self._parts = self._pack()
        self._count = 0
        self._digest = captured.hash

    def next(self) -> Part | None:
        """The next part; None when there are no more."""
        part = next(self._parts, None)
        if part is not None:
            self._count += 1
            self._digest = link(self._digest, part)
        return part

    @property
    def head(self) -> Snapshot:
        of = self._captured
        return Snapshot(of.position, of.hash, of.code, self._count, self._digest)

    def _pack(self) -> Iterator[Part]:
        for section, items in self._captured.sections.items():
            for lines in _portions(iter(items)):
                yield Part(section, zlib.compress(lines, 1))


def _portions(items: Iterator[Any]) -> Iterator[bytes]:
    lines = bytearray()
    while some := list(islice(items, PORTION_ITEMS)):
        lines += _encode_lines(some)
        if len(lines) >= PART_BYTES:
            yield bytes(lines)
            lines.clear()
    if lines:
        yield bytes(lines)


def link(digest: bytes, part: Part) -> bytes:
    """The digest over a part and those before it."""
    name = part.section.encode()
    return blake2b(b"%d %b %b" % (len(name), name, part.data), digest_size=HASH_BYTES, key=digest).digest()


class Unpacking:
    """Reads the parts of a snapshot. Raises `SnapshotUnusable` for what is not as it was written."""

    def __init__(self, head: Snapshot, models: Models | None) -> None:
        self._head = head
        self._models = models
        self._digest = head.hash
        self._count = 0
        self.standings: list[Standing] = []

    def read(self, part: Part) -> Sequence[Any]:
        """The items of the next part; those of the streams are kept in `standings`."""
        self._digest = link(self._digest, part)
        self._count += 1
        try:
            lines = zlib.decompress(part.data)
            if part.section == STREAMS:
                self.standings += _streams.decode_lines(lines)
                return ()
            return self._models.read(part.section, lines) if self._models else ()
        except (zlib.error, msgspec.MsgspecError, UnicodeError) as error:
            raise SnapshotUnusable(f"a part of it cannot be read: {error}") from error

    def end(self) -> None:
        """Hold what was read against the head."""
        if (self._count, self._digest) != (self._head.parts, self._head.digest):
            raise SnapshotUnusable("it is not as it was written")
