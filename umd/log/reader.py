"""Reading a log from outside: one that a server writes, a copy, or a backup, and changing nothing."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import reduce
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import msgspec

from umd.clock import Micros
from umd.errors import LogCorrupt, LogError
from umd.log import Record, RowKind, mark
from umd.log.database import SCHEMA_VERSION, migrations
from umd.log.failures import read_from
from umd.log.kept import base_lost
from umd.log.ledger import POSITION_MAX, Ledger
from umd.log.shelf import FLOOR, HEADS, PARTS, PARTS_AT_ONCE, SNAPSHOTS_SCHEMA, floor, heads
from umd.log.snapshot import Models, Part, Snapshot, SnapshotUnusable, Unpacking, link
from umd.log.sqlite import LAST, SELECT_NOT_INDEXED

PAGE_ROWS: Final = 2_000
"""A page is a read of its own: a long export keeps no writer from cutting its write-ahead log."""

SELECT_MATCHING: Final = """
SELECT position, stream, version, kind, type, schema_version, at, correlation, causation, data, hash
FROM log
WHERE position > :after AND position <= :until
  AND (:streams IS NULL OR stream IN (SELECT value FROM json_each(:streams)))
  AND (:types IS NULL OR EXISTS (SELECT 1 FROM json_each(:types) WHERE log.type GLOB value))
  AND (:kind IS NULL OR kind = :kind)
  AND (:correlation IS NULL OR correlation = :correlation)
  AND (:since IS NULL OR at >= :since)
  AND (:before IS NULL OR at < :before)
ORDER BY position {direction} LIMIT :limit
"""
FORWARD: Final = SELECT_MATCHING.format(direction="ASC")
BACKWARD: Final = SELECT_MATCHING.format(direction="DESC")
AT_TIME: Final = "SELECT coalesce(max(position), 0) FROM log WHERE at <= :at"
CHECK: Final = "PRAGMA quick_check(1)"
"""An `integrity_check` takes three times as long, for the index; that is looked at in pieces."""
COUNTS: Final = "SELECT (SELECT count(*) FROM log NOT INDEXED), (SELECT count(*) FROM log)"
"""The second is counted in the index."""


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """Which rows: all conditions hold. A type may be a pattern, as in `job.*`."""

    after: int = 0
    until: int = POSITION_MAX
    streams: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    kind: RowKind | None = None
    correlation: str | None = None
    since: Micros | None = None
    before: Micros | None = None

    def values(self, limit: int) -> dict[str, object]:
        values = msgspec.structs.asdict(self)
        for name in ("streams", "types"):
            values[name] = msgspec.json.encode(values[name]).decode() if values[name] else None
        return {**values, "limit": limit}


ALL: Final = Filter()


class LogReader:
    """The rows of a log, and the high-water mark where one lies beside it."""

    def __init__(self, connection: sqlite3.Connection, marked: tuple[int, bytes] | None) -> None:
        self._connection = connection
        self._has_floor = self._fetch(SCHEMA_VERSION, {})[0][0] >= SNAPSHOTS_SCHEMA
        self.marked = marked
        self.floor = 0
        self.look_for_floor()

    def look_for_floor(self) -> bool:
        """See where the log begins now; whether it has risen since the last look."""
        before = self.floor
        if self._has_floor:
            self.floor = floor(self._fetch(FLOOR, {}))
        return self.floor > before

    def base(self) -> tuple[Snapshot, list[Part]] | None:
        """What stands for the rows that are pruned; None where none are.

        Raises `LogCorrupt` where it is not as it was written.
        """
        if not self.floor:
            return None
        head = next((head for head in heads(self._fetch(HEADS, {})) if head.position == self.floor), None)
        if head is None:
            raise base_lost(self.floor, "it is missing")
        parts = list(self._parts(head))
        if reduce(link, parts, head.hash) != head.digest:
            raise base_lost(self.floor, "it is not as it was written")
        return head, parts

    def begin(self, ledger: Ledger, models: Models | None = None) -> None:
        """Fill what is to be told the rows from the base, where the first rows are pruned."""
        base = self.base()
        if base is None:
            return
        head, parts = base
        unpacking = Unpacking(head, models)
        try:
            for part in parts:
                items = unpacking.read(part)
                if models:
                    models.fill(part.section, items)
        except SnapshotUnusable as unusable:
            raise base_lost(self.floor, str(unusable)) from unusable
        ledger.begin_at(head.position, head.hash, unpacking.standings)

    def hash_at(self, position: int) -> bytes | None:
        """The hash of the row at this position, the last one that is pruned included."""
        if position == self.floor:
            base = self.base()
            return base[0].hash if base else None
        row = self.row(position)
        return row.hash if row else None

    def _parts(self, head: Snapshot) -> Iterator[Part]:
        for after in range(-1, head.parts, PARTS_AT_ONCE):
            until = after + PARTS_AT_ONCE
            rows = self._fetch(PARTS, {"position": head.position, "after": after, "until": until})
            yield from (Part(section, data) for _, section, data in rows)

    @property
    def head(self) -> int:
        """The last position."""
        [[position]] = self._fetch(LAST, {})
        return int(position)

    def position_at(self, at: Micros) -> int:
        """The last position of that time or earlier."""
        [[position]] = self._fetch(AT_TIME, {"at": at})
        return int(position)

    def rows(self, wanted: Filter = ALL, page_rows: int = PAGE_ROWS) -> Iterator[Record]:
        """The rows, in order. Raises `LogCorrupt` at the first one that cannot be read."""
        for page in self.pages(wanted, page_rows):
            yield from page

    def pages(self, wanted: Filter = ALL, page_rows: int = PAGE_ROWS) -> Iterator[list[Record]]:
        """The same, some at a time."""
        while True:
            try:
                page = self._page(FORWARD, wanted, page_rows)
            except LogCorrupt:
                if page_rows == 1:
                    raise
                page_rows = 1  # a page that cannot be read holds rows that can
                continue
            if not page:
                return
            yield page
            wanted = msgspec.structs.replace(wanted, after=page[-1].position)

    def last(self, wanted: Filter, count: int) -> list[Record]:
        """The last `count` of the rows, in order."""
        return self._page(BACKWARD, wanted, count)[::-1]

    def row(self, position: int) -> Record | None:
        """The row at this position."""
        rows = self._page(FORWARD, Filter(after=position - 1, until=position), 1)
        return rows[0] if rows else None

    def check_index(self, until: int, page_rows: int = PAGE_ROWS) -> None:
        """Raise `LogCorrupt` for the first row that a read of its stream would not find."""
        for after in range(self.floor, until, page_rows):
            page: dict[str, object] = {"after": after, "until": min(after + page_rows, until)}
            for [position] in self._fetch(SELECT_NOT_INDEXED, page):
                raise LogCorrupt(f"Row {position} of the log is not where its stream looks for it.", position)

    def check_pages(self, good: int) -> None:
        """Raise `LogCorrupt` where SQLite finds its own pages damaged, although `good` rows are good."""
        [[verdict]] = self._fetch(CHECK, {})
        if verdict != "ok":
            raise LogCorrupt(f"The database is damaged behind row {good}: {verdict}", good + 1)
        [[rows, entries]] = self._fetch(COUNTS, {})
        if rows != entries:
            raise LogCorrupt(f"The index of the log has {entries} entries for {rows} rows.", good + 1)

    def _page(self, query: str, wanted: Filter, limit: int) -> list[Record]:
        after = max(wanted.after, self.floor)
        return [Record(*row) for row in self._fetch(query, {**wanted.values(limit), "after": after}, after)]

    def _fetch(self, query: str, values: dict[str, object], after: int = 0) -> list[tuple[Any, ...]]:
        with read_from(after + 1):
            return self._connection.execute(query, values).fetchall()


@contextmanager
def opened(place: Path) -> Iterator[LogReader]:
    """The log in this folder, or in this file. Raises `LogError` where there is none that can be read.

    The mark is read before any row, so that a log that is being written is not behind it.
    """
    database = place / "log.sqlite3" if place.is_dir() else place
    if not database.exists():
        raise LogError(f"There is no event log at {database}.")
    high_water = marked(place)
    with read_from(1):
        connection = _connected(database)
    with closing(connection):
        yield LogReader(connection, high_water)


def marked(place: Path) -> tuple[int, bytes] | None:
    """The high-water mark of the log in this folder; a file has none."""
    path = place / "log.mark"
    if not path.exists():
        return None
    with mark.opened(path, read_only=True) as found:
        return found.get()


def _connected(database: Path) -> sqlite3.Connection:
    """Read-only; and, where the folder cannot be written, as a file that nobody changes."""
    try:
        return _connect(database, "mode=ro")
    except sqlite3.OperationalError:
        if database.with_name(f"{database.name}-wal").exists():
            raise
        return _connect(database, "mode=ro&immutable=1")


def _connect(database: Path, options: str) -> sqlite3.Connection:
    connection = sqlite3.connect(f"file:{quote(str(database.absolute()))}?{options}", uri=True)
    try:
        connection.executescript("PRAGMA query_only = ON; PRAGMA busy_timeout = 5000;")
        _check_schema(connection, database)
    except BaseException:
        connection.close()
        raise
    return connection


def _check_schema(connection: sqlite3.Connection, database: Path) -> None:
    [version] = connection.execute(SCHEMA_VERSION).fetchone()
    if version > len(migrations()):
        raise LogError(f"{database} has schema {version}, of a newer release.")
