"""The event log on disk: one SQLite database, one writer."""

import asyncio
import os
import sqlite3
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Final

from msgspec.structs import astuple

from umd.errors import Conflict, LogCorrupt, LogError, LogFailed, Overloaded, StorageFull
from umd.log import Record, chain, database, gil, lock, mark
from umd.log.codec import facts
from umd.log.ledger import POSITION_MAX
from umd.log.writer import REPLAY_PAGE_ROWS, GroupCommitLog, OnFailure

INSERT: Final = """
INSERT INTO log
(position, stream, version, kind, type, schema_version, at, correlation, causation, data, hash)
VALUES """
ROW: Final = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
LAST: Final = "SELECT coalesce(max(position), 0) FROM log"
SELECT: Final = """
SELECT position, stream, version, kind, type, schema_version, at, correlation, causation, data, hash
FROM log WHERE position > :after AND position <= :until ORDER BY position LIMIT :limit
"""
SELECT_STREAM: Final = """
SELECT position, stream, version, kind, type, schema_version, at, correlation, causation, data, hash
FROM log WHERE stream = :stream AND position > :after AND position <= :until ORDER BY version LIMIT :limit
"""

SELECT_EVENTS: Final = """
SELECT position, stream, version, kind, type, schema_version, at, correlation, causation, data, hash
FROM log WHERE position > :after AND position <= :until AND kind = 'event' ORDER BY position LIMIT :limit
"""
VERIFIED_AT_START_ROWS: Final = 50_000
VERIFY_PAGE_ROWS: Final = 200
VERIFY_PAUSE_SEC: Final = 0.005

HINT: Final = " Whoever has put a backup in place removes log.mark."


class SqliteLog(GroupCommitLog):
    """An `EventLog` in `directory`: `log.sqlite3` with its WAL, `log.lock`, and `log.mark`.

    `start` raises `LogLocked` when another log is open there, `LogCorrupt` with the first position that is
    not as it was written or is missing, and `LogError` when the database is of a newer release or cannot be
    opened. `append` raises `Overloaded` also when another process kept the database locked for 5 s.

    To verify a million rows takes a start beyond three seconds, so only the newest
    `verified_at_start_rows` are verified before `start` returns: a log of up to that size as a whole. Of
    the rows before them only the events are read. They are verified while the service runs, at a tenth of
    one core; if one of them is not as it was written the log fails: nothing is appended any more, and
    `on_failure` hears of it.
    """

    def __init__(
        self,
        directory: Path,
        *,
        on_failure: OnFailure | None = None,
        waiting_max: int = 10_000,
        verified_at_start_rows: int = VERIFIED_AT_START_ROWS,
    ) -> None:
        super().__init__(on_failure=on_failure, waiting_max=waiting_max)
        self._directory = directory
        self._verified_at_start_rows = verified_at_start_rows
        self._held = AsyncExitStack()

    async def _open(self) -> None:
        path = self._directory / "log.sqlite3"
        try:
            _make(self._directory)
            self._held.enter_context(lock.locked(self._directory / "log.lock"))
            self._mark = self._held.enter_context(mark.opened(self._directory / "log.mark"))
            self._writing = await self._held.enter_async_context(database.writing(path))
            self._reading = await self._held.enter_async_context(database.reading(path))
            [[last]] = await self._reading.execute_fetchall(LAST)
        except (OSError, sqlite3.Error) as error:
            raise _unreadable(error, 1) from error
        self._verified_from = max(0, last - self._verified_at_start_rows)

    async def _close(self) -> None:
        """Close in the reverse order: the writing connection after the reading one, to take the WAL in."""
        await self._held.aclose()

    async def _replay(self, page_rows: int = REPLAY_PAGE_ROWS) -> None:
        try:
            await self._fold_older(page_rows)
            await super()._replay(page_rows)
        except LogCorrupt as corrupt:
            if isinstance(corrupt.__cause__, sqlite3.Error) and page_rows > 1:
                await self._locate(corrupt)
            raise
        await self._compare_with_mark()
        verifier = asyncio.create_task(self._verify_older(), name="log-verifier")
        self._held.push_async_callback(_cancel, verifier)

    async def _fold_older(self, page_rows: int) -> None:
        """Fold the rows that are verified later: their events only, for a command's row changes nothing."""
        position, until = 0, self._verified_from
        while records := await self._select(SELECT_EVENTS, position, until, page_rows):
            self._ledger.trust(records)
            self._tell(facts(records))
            position = records[-1].position
        if until:
            last = await self._read(until - 1, until, 1, None)
            if not last:
                raise LogCorrupt(f"Row {until} of the log is missing.", until)
            self._ledger.stand_at(last[0])

    async def _locate(self, corrupt: LogCorrupt) -> None:
        """Find the row of a page that SQLite could not read, by reading them one by one."""
        position = corrupt.position - 1
        while await self._read(position, POSITION_MAX, 1, None):
            position += 1

    async def _compare_with_mark(self) -> None:
        """Find a tail that is missing."""
        if marked := self._mark.get():
            position, digest = marked
            rows = await self._read(position - 1, position, 1, None)
            if position and not rows:
                raise LogCorrupt(
                    f"The log ends at row {self.head}, but it had {position}.{HINT}", self.head + 1
                )
            if rows and rows[0].hash != digest:
                raise LogCorrupt(
                    f"Row {position} of the log is not the one that was written.{HINT}", position
                )
        self._mark.set(self.head, self._ledger.hash)

    async def _verify_older(self) -> None:
        """Verify, page by page and with pauses, the rows that `start` has only read."""
        position, digest = 0, chain.GENESIS
        try:
            while position < self._verified_from:
                records = await self._read(position, self._verified_from, VERIFY_PAGE_ROWS, None)
                if not records:
                    raise LogCorrupt(f"Row {position + 1} of the log is missing.", position + 1)
                for record in records:
                    chain.check(digest, record)
                    digest = record.hash
                position = records[-1].position
                await asyncio.sleep(VERIFY_PAUSE_SEC)
        except LogError as error:
            self._fail(error)

    async def _read(self, after: int, until: int, limit: int, stream: str | None) -> list[Record]:
        query = SELECT if stream is None else SELECT_STREAM
        return await self._select(query, after, until, limit, stream)

    async def _select(
        self, query: str, after: int, until: int, limit: int, stream: str | None = None
    ) -> list[Record]:
        try:
            with gil.shared():
                rows = await self._reading.execute_fetchall(
                    query, {"after": after, "until": until, "limit": limit, "stream": stream}
                )
        except sqlite3.Error as error:
            raise _unreadable(error, after + 1) from error
        return [Record(*row) for row in rows]

    async def _store(self, records: Sequence[Record]) -> None:
        """One statement, which is its own transaction: it is stored whole or, after an error, not at all."""
        insert = INSERT + ", ".join([ROW] * len(records))
        values = [value for record in records for value in astuple(record)]
        try:
            with gil.shared():
                await self._writing.execute_fetchall(insert, values)
        except sqlite3.Error as error:
            raise _refusal(error) from error
        self._mark.set(records[-1].position, records[-1].hash)


def _make(directory: Path) -> None:
    """Make the directory, and make sure that a power cut does not take it away again."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(directory.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def _refusal(error: sqlite3.Error) -> LogError | Overloaded:
    """Why a batch was not stored. After the first three it is certain that nothing was.

    SQLite says SQLITE_FULL for a volume without space (ENOSPC) only while it writes rows or frames of the
    WAL, before the frame that commits. Where it cannot extend the WAL's index, which comes after that
    frame, the code is another one, and the outcome unknown.
    """
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return StorageFull("The volume of the event log is full.")
    if code == sqlite3.SQLITE_BUSY:
        return Overloaded("Another process keeps the event log locked.")
    if code == sqlite3.SQLITE_CONSTRAINT:
        return Conflict("The stream has rows that this server did not write.")
    return LogFailed(f"The event log could not be written: {error}")


def _unreadable(error: OSError | sqlite3.Error, position: int) -> LogError:
    """Why the log cannot be read. An error of SQLite's without a code is text that is no UTF-8."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
    if isinstance(error, sqlite3.Error) and code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return LogCorrupt(f"Row {position} of the log cannot be read: {error}", position)
    return LogError(f"The event log cannot be read: {error}")
