"""Where a log lives while a test opens it, stops it and opens it again: one world for each implementation."""

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Protocol

import msgspec
from msgspec.structs import astuple

from umd.domain import commands as c
from umd.domain import events as e
from umd.log import Appended, Fact, Follower, Record, chain
from umd.log.database import PRAGMAS, migrations
from umd.log.kept import KeptLog
from umd.log.memory import MemoryLog
from umd.log.snapshot import Part
from umd.log.sqlite import INSERT, ROW, SqliteLog
from umd.log.writer import GroupCommitLog, OnFailure
from umd.projections.models import Models

AT = 1_700_000_000_000_000
START = c.StartAttempt("1", "2026.10.26")
STARTED = e.JobStarted(1, "2026.10.26")
STOPPING = e.JobStopping("cancel")


class World(Protocol):
    """Opens the log, and again after a stop, with what was stored in it."""

    async def open(
        self,
        *followers: Follower,
        models: Models | None = None,
        on_failure: OnFailure | None = None,
        waiting_max: int = 10_000,
    ) -> KeptLog: ...

    async def close(self) -> None: ...

    def seed(self, records: Iterable[Record]) -> None:
        """Put rows there before the log is opened for the first time."""

    def insert(self, records: Iterable[Record]) -> None:
        """Put rows behind those that are there, while the log is closed."""

    def spoil(self, position: int) -> None:
        """Flip a bit in a part of the snapshot at this position, while the log is closed."""

    def rows(self) -> int:
        """How many rows are stored, those below the floor included."""


class MemoryWorld:
    """Hands the rows of one log to the next."""

    def __init__(self) -> None:
        self._log = MemoryLog()

    async def open(
        self,
        *followers: Follower,
        models: Models | None = None,
        on_failure: OnFailure | None = None,
        waiting_max: int = 10_000,
    ) -> MemoryLog:
        await self.close()
        before = self._log
        self._log = MemoryLog(
            before.records, shelf=before.shelf, on_failure=on_failure, waiting_max=waiting_max
        )
        await self._log.start(*followers, models=models)
        return self._log

    async def close(self) -> None:
        await self._log.stop()

    def seed(self, records: Iterable[Record]) -> None:
        self._log = MemoryLog(records)

    def insert(self, records: Iterable[Record]) -> None:
        self._log = MemoryLog([*self._log.records, *records], shelf=self._log.shelf)

    def spoil(self, position: int) -> None:
        parts = self._log.shelf.parts[position]
        parts[-1] = Part(parts[-1].section, bytes([parts[-1].data[0] ^ 1]) + parts[-1].data[1:])

    def rows(self) -> int:
        return len(self._log.records)


class SqliteWorld:
    """A directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._log: SqliteLog | None = None

    @property
    def log(self) -> SqliteLog:
        assert self._log
        return self._log

    @property
    def database(self) -> Path:
        return self.directory / "log.sqlite3"

    async def open(
        self,
        *followers: Follower,
        models: Models | None = None,
        on_failure: OnFailure | None = None,
        waiting_max: int = 10_000,
        verified_at_start_rows: int = 1_000,
    ) -> SqliteLog:
        await self.close()
        self._log = SqliteLog(
            self.directory,
            on_failure=on_failure,
            waiting_max=waiting_max,
            verified_at_start_rows=verified_at_start_rows,
        )
        await self._log.start(*followers, models=models)
        return self._log

    async def close(self) -> None:
        if self._log:
            await self._log.stop()

    def seed(self, records: Iterable[Record]) -> None:
        self.directory.mkdir()
        self.execute(PRAGMAS, *migrations(), f"PRAGMA user_version = {len(migrations())}")
        self.insert(records)

    def insert(self, records: Iterable[Record]) -> None:
        """Put rows there behind the log's back."""
        with closing(sqlite3.connect(self.database)) as connection:
            connection.executemany(INSERT + ROW, map(astuple, records))
            connection.commit()

    def spoil(self, position: int) -> None:
        with closing(sqlite3.connect(self.database)) as connection:
            part, data = connection.execute(
                "SELECT max(part), data FROM snapshot_part WHERE position = ?", (position,)
            ).fetchone()
            spoilt = bytes([data[0] ^ 1]) + data[1:]
            connection.execute(
                "UPDATE snapshot_part SET data = ? WHERE position = ? AND part = ?", (spoilt, position, part)
            )
            connection.commit()

    def rows(self) -> int:
        rows = self.value("SELECT count(*) FROM log")
        assert isinstance(rows, int)
        return rows

    def execute(self, *scripts: str) -> None:
        """Do something to the database behind the log's back."""
        with closing(sqlite3.connect(self.database)) as connection:
            for script in scripts:
                connection.executescript(script)

    def value(self, query: str) -> object:
        with closing(sqlite3.connect(self.database)) as connection:
            (value,) = connection.execute(query).fetchone()
        return value


class Witness:
    """A follower that keeps what it was told."""

    def __init__(self) -> None:
        self.facts: list[Fact] = []

    def __call__(self, facts: Sequence[Fact]) -> None:
        self.facts += facts

    @property
    def records(self) -> list[Record]:
        return [fact.record for fact in self.facts]

    @property
    def positions(self) -> list[int]:
        return [record.position for record in self.records]


async def append(
    log: GroupCommitLog, stream: str = "job-1", expected: int = 0, events: Sequence[e.Event] = (STARTED,)
) -> Appended:
    """An append about which only the stream, the position and the events matter."""
    return await log.append(stream, expected, START, events, at=AT, correlation="request-1")


def chained(*rows: Record) -> list[Record]:
    """The rows with the hashes that a log would have given to them."""
    records: list[Record] = []
    for row in rows:
        previous = records[-1].hash if records else chain.GENESIS
        records.append(msgspec.structs.replace(row, hash=chain.link(previous, astuple(row)[:-1])))
    return records


def row(position: int, stream: str = "job-1", version: int | None = None, **columns: object) -> Record:
    """A row of `job.started`, or what `columns` make of it, without its hash."""
    record = Record(
        position,
        stream,
        version or position,
        "event",
        "job.started",
        1,
        AT,
        "request-1",
        None,
        b'{"type":"job.started","attempt":1,"ytdlp_version":"2026.10.26"}',
        b"",
    )
    return msgspec.structs.replace(record, **columns)
