"""The event log on disk: one SQLite database, one writer."""

import asyncio
import os
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any, Final

from msgspec.structs import astuple

from umd.errors import LogCorrupt, LogError, LogLocked
from umd.log import Record, ballast, chain, database, lock, mark
from umd.log.ballast import Ballast
from umd.log.codec import facts_at_last
from umd.log.failures import read_from
from umd.log.ledger import POSITION_MAX
from umd.log.shelf import SNAPSHOTS_SCHEMA, ShelvedLog
from umd.log.snapshot import Snapshot
from umd.log.writer import REPLAY_PAGE_ROWS, OnFailure
from umd.telemetry.records import Listener, ignore

INSERT: Final = """
INSERT INTO log
(position, stream, version, kind, type, schema_version, at, correlation, causation, data, hash)
VALUES """
ROW: Final = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
GUARDED_ROW: Final = "(?, CASE WHEN (SELECT epoch FROM writer) = ? THEN ? END, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
"""The first row of a batch. In another server's epoch its stream is NULL, and the batch is refused whole."""
TAKE_OVER: Final = "UPDATE writer SET epoch = epoch + 1 RETURNING epoch"
LAST: Final = "SELECT coalesce(max(position), 0) FROM log"
SELECT_EVENTS: Final = """
SELECT position, stream, version, type, schema_version, at, correlation, data
FROM log WHERE position > :after AND position <= :until AND kind = 'event' ORDER BY position LIMIT :limit
"""
"""What a fold asks of events: neither their causes nor their hashes, which take a sixth of the time."""
SELECT_NOT_INDEXED: Final = """
SELECT row.position FROM log AS row NOT INDEXED
WHERE row.position > :after AND row.position <= :until AND row.position IS NOT (
  SELECT entry.position FROM log AS entry INDEXED BY sqlite_autoindex_log_1
  WHERE entry.stream = row.stream AND entry.version = row.version
) ORDER BY row.position LIMIT 1
"""
"""The first row that a read of its stream would not find."""

VERIFIED_AT_START_ROWS: Final = 20_000
"""More than the write-ahead log has of small appends: what a crash can tear is verified before it serves."""
VERIFY_PAGE_ROWS: Final = 200
VERIFY_PAUSE_SEC: Final = 0.005
LOCK_POLL_SEC: Final = 0.2
RESERVE_POLL_SEC: Final = 30

HINT: Final = " Whoever has put a backup in place removes log.mark."


class SqliteLog(ShelvedLog):
    """An `EventLog` in `directory`: `log.sqlite3` with its WAL, `log.lock`, `log.mark` and `log.reserve`.

    `start` raises `LogLocked` when another log is open there, and `LogError` when the database is of a
    newer release or cannot be opened. A log that had rows is read before anything is written to it: where
    it is damaged nothing is, so that all that is left can be saved. `append` raises `Overloaded` also when
    another process kept the database locked for 5 s.

    To verify a million rows takes a start beyond three seconds, so only the newest
    `verified_at_start_rows` are verified before `start` returns: a log of up to that size as a whole. Of
    the rows before them only the events are read. They are verified while the service runs, at a tenth of
    one core; if one of them is not as it was written, `corruption` says so from then on, nothing is appended
    any more, and `on_failure` hears of it.

    A start that takes a snapshot up folds only the rows behind it; the newest are verified all the same.

    `reserve_bytes` are kept free for the log on a volume that others fill.
    """

    def __init__(  # what the volume and the machine are like
        self,
        directory: Path,
        *,
        on_failure: OnFailure | None = None,
        on_commit: Listener = ignore,
        waiting_max: int = 10_000,
        verified_at_start_rows: int = VERIFIED_AT_START_ROWS,
        reserve_bytes: int = 0,
    ) -> None:
        super().__init__(on_failure=on_failure, on_commit=on_commit, waiting_max=waiting_max)
        self._directory = directory
        self._database = directory / "log.sqlite3"
        self._verified_at_start_rows = verified_at_start_rows
        self._ballast = Ballast(directory / ballast.NAME, reserve_bytes)
        self._held = AsyncExitStack()
        self._reader = AsyncExitStack()
        self._locked = False
        self._folded = 0
        self._schema = 0

    async def stand_by(self) -> None:
        """Wait until no other server holds the log, then hold it. Before `start`, which then goes on."""
        _make(self._directory)
        while True:
            try:
                self._take_lock()
            except LogLocked:
                await asyncio.sleep(LOCK_POLL_SEC)
            else:
                return

    async def _open(self) -> None:
        with read_from(1):
            _make(self._directory)
            if not self._locked:
                self._take_lock()
            self._ballast.release_where_full()
            self._mark = self._held.enter_context(mark.opened(self._directory / "log.mark"))
            self._marked, self._marked_hash = self._mark.get() or (0, b"")
            await self._make_database()
            self._reading = self._reader.enter_context(database.reading_here(self._database))
            self._schema = await database.check_schema(self._reading, self._database)
            [[last]] = await self._reading.execute_fetchall(LAST)
        if self._schema >= SNAPSHOTS_SCHEMA:
            self._floor = await self._read_floor()
        self._verified_from = max(self._floor, last - self._verified_at_start_rows)

    async def _close(self) -> None:
        """Close the writing connection after the reading one, to take the WAL in, and let others in last."""
        await self._reader.aclose()
        await self._held.aclose()

    def _take_lock(self) -> None:
        self._held.enter_context(lock.locked(self._directory / "log.lock"))
        self._locked = True

    async def _make_database(self) -> None:
        """Make the database of a new log; where there were rows, look before anything is written."""
        if self._marked == 0:
            async with database.writing(self._database):
                return
        if not self._database.exists():
            raise LogCorrupt(f"The log had {self._marked} rows, and its database is missing.{HINT}", 1)

    # ------------------------------------------------------------------------------------------- start

    async def _fold_what_is_good(self) -> None:
        await super()._fold_what_is_good()
        if self._corruption:
            await self._read_beside()

    async def _replay(self, page_rows: int = REPLAY_PAGE_ROWS, until: int = POSITION_MAX) -> None:
        until = await self._good_by_mark(until)
        if self._schema >= SNAPSHOTS_SCHEMA:
            await self._take_up(until)
        self._folded = self.head
        await self._fold(page_rows, until)
        if until < POSITION_MAX:
            raise LogCorrupt(
                f"Row {self._marked} of the log is not the one that was written.{HINT}", self._marked
            )
        if self.head < self._marked:
            raise LogCorrupt(
                f"The log ends at row {self.head}, but it had {self._marked}.{HINT}", self.head + 1
            )
        await self._check_index(self._verified_from, self.head)
        await self._begin_writing()

    async def _good_by_mark(self, until: int) -> int:
        """Where the row at the mark is another one, the log is good up to the row before it."""
        if self._marked:
            with suppress(LogCorrupt):  # the fold finds it, and its position
                rows = await self._read(self._marked - 1, self._marked, 1, None)
                if rows and rows[0].hash != self._marked_hash:
                    return self._marked - 1
        return until

    async def _hold_rows(self, head: Snapshot) -> None:
        """The newest rows are verified before the start returns, those before a snapshot as well."""
        await super()._hold_rows(head)
        position = self._verified_from
        if position >= head.position:
            return
        digest = await self._hash_at(position)
        while position < head.position:
            position, digest = await self._check_chain(position, digest, head.position, REPLAY_PAGE_ROWS)

    async def _hash_at(self, position: int) -> bytes:
        """The hash of a row, which is in the base where the row is the last that was pruned."""
        if position == 0:
            return chain.GENESIS
        if position == self._floor:
            return self._base.hash if self._base else b""
        rows = await self._read(position - 1, position, 1, None)
        return rows[0].hash if rows else b""

    async def _check_chain(self, after: int, digest: bytes, until: int, limit: int) -> tuple[int, bytes]:
        """Verify some rows; returns where that came to. Rows that are pruned meanwhile need no more."""
        records = await self._read(after, until, limit, None)
        if after < self._floor:
            return self._floor, await self._hash_at(self._floor)
        if not records or records[0].position != after + 1:
            raise LogCorrupt(f"Row {after + 1} of the log is missing.", after + 1)
        for record in records:
            chain.check(digest, record)
            digest = record.hash
        return records[-1].position, digest

    async def _fold(self, page_rows: int, until: int) -> None:
        try:
            await self._fold_older(page_rows, min(self._verified_from, until))
            await super()._replay(page_rows, until)
        except LogCorrupt as corrupt:
            if corrupt.__cause__ is not None and page_rows > 1:
                await self._fold(1, until)  # a page that cannot be read holds rows that can
            raise

    async def _fold_older(self, page_rows: int, until: int) -> None:
        """Fold the rows that are verified later: their events only, for a command's row changes nothing."""
        try:
            while records := await self._read_events(self._folded, until, page_rows):
                self._ledger.trust(records)
                self._tell(facts_at_last(records))
                self._folded = records[-1].position
        finally:
            await self._stand_at(until)

    async def _read_events(self, after: int, until: int, limit: int) -> list[Record]:
        """As `_read`, but neither causes nor hashes."""
        rows = await self._rows(SELECT_EVENTS, after, until, limit=limit)
        return [
            Record(position, stream, version, "event", tag, schema, at, correlation, None, data, b"")
            for position, stream, version, tag, schema, at, correlation, data in rows
        ]

    async def _stand_at(self, until: int) -> None:
        """Go on behind the last row that was read without being verified."""
        if until <= self.head:
            return
        with suppress(LogCorrupt):
            last = await self._read(until - 1, until, 1, None)
            if not last and self._folded:
                last = await self._read(self._folded - 1, self._folded, 1, None)
            if last:
                self._ledger.stand_at(last[0])

    async def _check_index(self, after: int, until: int) -> None:
        """Hold the index against the rows: no hash covers it, and the reads of a stream go by it."""
        for [position] in await self._rows(SELECT_NOT_INDEXED, after, until):
            raise LogCorrupt(f"Row {position} of the log is not where its stream looks for it.", position)

    async def _begin_writing(self) -> None:
        """The log is whole: migrate it, take it over, and keep it from now on."""
        with read_from(1):
            self._writing = await self._held.enter_async_context(database.writing(self._database))
        await self._read_beside()
        epochs = list(await self._write_rows(TAKE_OVER))
        if len(epochs) != 1:
            raise LogError("The event log does not say who may write it.")
        [(self._epoch,)] = epochs
        self._mark.set(self.head, self._ledger.hash)
        self._keep(self._verify_older(), "log-verifier")
        if self._ballast.size_bytes:
            self._keep(self._keep_reserve(), "log-reserve")

    async def _read_beside(self) -> None:
        """From now on others are to be served meanwhile: read in another thread."""
        await self._reader.aclose()
        with read_from(1):
            self._reading = await self._reader.enter_async_context(database.reading(self._database))

    def _keep(self, work: Coroutine[Any, Any, None], name: str) -> None:
        self._reader.push_async_callback(_cancel, asyncio.create_task(work, name=name))

    # ------------------------------------------------------------------------------------------ at work

    async def _verify_older(self) -> None:
        """Verify, page by page and with pauses, the rows that `start` has only read."""
        try:
            position, digest = self._floor, await self._hash_at(self._floor)
            while position < self._verified_from:
                begin = position
                position, digest = await self._check_chain(
                    begin, digest, self._verified_from, VERIFY_PAGE_ROWS
                )
                await self._check_index(begin, position)
                await asyncio.sleep(VERIFY_PAUSE_SEC)
        except LogError as error:
            self._fail(error)

    async def _keep_reserve(self) -> None:
        while True:
            await asyncio.to_thread(self._ballast.refill)
            await asyncio.sleep(RESERVE_POLL_SEC)

    async def _store(self, records: Sequence[Record]) -> None:
        """One statement, which is its own transaction: it is stored whole or, after an error, not at all."""
        insert = INSERT + ", ".join([GUARDED_ROW, *[ROW] * (len(records) - 1)])
        values = [value for record in records for value in astuple(record)]
        values.insert(1, self._epoch)
        await self._write_rows(insert, values)
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
