"""What an SQLite log keeps beside its rows, and how it gives space back, each step one short transaction.

Steps are bounded by what they touch (rows, bytes, pages), so that an append waits for some milliseconds at
most. What another server has taken over is not written: every write names its epoch.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import aiosqlite
import msgspec

from umd.errors import LogCorrupt, StorageFull
from umd.log import Record, gil
from umd.log.ballast import Ballast
from umd.log.database import Reading
from umd.log.failures import read_from, refusal
from umd.log.kept import KeptLog
from umd.log.snapshot import Part, Snapshot

SELECT: Final = """
SELECT position, stream, version, kind, type, schema_version, at, correlation, causation, data, hash
FROM log WHERE position > :after AND position <= :until ORDER BY position LIMIT :limit
"""
SELECT_STREAM: Final = """
SELECT position, stream, version, kind, type, schema_version, at, correlation, causation, data, hash
FROM log WHERE stream = :stream AND position > :after AND position <= :until ORDER BY version LIMIT :limit
"""

SNAPSHOTS_SCHEMA: Final = 3
"""The schema that brought snapshots and the floor."""

FLOOR: Final = "SELECT position FROM floor"
HEADS: Final = "SELECT position, hash, code, parts, digest FROM snapshot ORDER BY position DESC"
PARTS: Final = """
SELECT part, section, data FROM snapshot_part
WHERE position = :position AND part > :after AND part <= :until ORDER BY part
"""
PUT_PART: Final = """
INSERT INTO snapshot_part (position, part, section, data)
SELECT :position, (SELECT count(*) FROM snapshot_part WHERE position = :position), :section, :data
WHERE :epoch = (SELECT epoch FROM writer)
"""
PUT_HEAD: Final = """
INSERT INTO snapshot (position, hash, code, parts, digest)
SELECT ?, ?, ?, ?, ? WHERE ? = (SELECT epoch FROM writer)
"""
DROP_HEAD: Final = """
DELETE FROM snapshot WHERE position = :position AND :epoch = (SELECT epoch FROM writer)
"""
DROP_PARTS: Final = """
DELETE FROM snapshot_part WHERE rowid IN (
  SELECT rowid FROM snapshot_part WHERE position = :position LIMIT 4
) AND :epoch = (SELECT epoch FROM writer) RETURNING 1
"""
PUT_FLOOR: Final = "UPDATE floor SET position = ? WHERE ? = (SELECT epoch FROM writer)"

SWEEPS: Final = (
    """
DELETE FROM snapshot
WHERE position <> (SELECT position FROM floor) AND position <> (SELECT max(position) FROM snapshot)
AND :epoch = (SELECT epoch FROM writer) RETURNING 1
""",
    """
DELETE FROM log WHERE position IN (
  SELECT position FROM log WHERE position <= (SELECT position FROM floor) ORDER BY position LIMIT :rows
) AND :epoch = (SELECT epoch FROM writer) RETURNING 1
""",
    """
DELETE FROM snapshot_part WHERE rowid IN (
  SELECT rowid FROM snapshot_part WHERE position NOT IN (SELECT position FROM snapshot) LIMIT 1 + :rows / 32
) AND :epoch = (SELECT epoch FROM writer) RETURNING 1
""",
)
"""Heads but for the newest and the base; rows up to the floor; parts without a head. A little of each."""

STEP_SEC: Final = 0.008
STEP_MIN: Final = 8
STEP_MAX: Final = 500

PAGES_FREE: Final = "PRAGMA freelist_count"
PAGES_FREE_MAX: Final = 1_024
"""So many free pages (4 MiB) are left to be used again."""
GIVE_BACK: Final = "PRAGMA incremental_vacuum({pages})"

WAL_BYTES_MAX: Final = 16 * 2**20
CUT_WAL: Final = """
PRAGMA busy_timeout = 20;
PRAGMA wal_checkpoint(TRUNCATE);
PRAGMA busy_timeout = 5000;
"""
PARTS_AT_ONCE: Final = 16


class ShelvedLog(KeptLog):
    """A `KeptLog` on SQLite: the two connections, and all that goes over them but the rows of appends."""

    _database: Path
    _reading: Reading
    _writing: aiosqlite.Connection
    _ballast: Ballast
    _epoch: int
    _swept_rows = 100
    _returned_pages = 32

    async def sweep(self) -> bool:
        values: dict[str, object] = {"epoch": self._epoch, "rows": self._swept_rows}
        for statement in SWEEPS:
            began = self._time()
            if list(await self._write_rows(statement, values, reserve=False)):
                self._swept_rows = stride(self._swept_rows, self._time() - began)
                return True
        return False

    async def give_back(self) -> bool:
        """Give some free pages back to the volume; False when few are left."""
        [[free]] = await self._write_rows(PAGES_FREE)
        if free <= PAGES_FREE_MAX:
            return False
        began = self._time()
        pages = min(self._returned_pages, free - PAGES_FREE_MAX)
        await self._run(GIVE_BACK.format(pages=pages))  # `execute` would step it once, and give one page back
        self._returned_pages = stride(self._returned_pages, self._time() - began)
        return True

    def _time(self) -> float:
        return asyncio.get_running_loop().time()

    async def cut_wal(self) -> bool:
        """Cut a write-ahead log that readers have let grow; whether it was too large.

        SQLite begins it anew by itself where no reader needs it at that moment. Where there is always one,
        this waits for 20 ms until none of them is left that began before; the next time it may be lucky.
        """
        if self.wal_bytes <= WAL_BYTES_MAX:
            return False
        await self._run(CUT_WAL)
        return True

    @property
    def database_bytes(self) -> int:
        """How large the database is, without the write-ahead log."""
        return _size(self._database)

    @property
    def wal_bytes(self) -> int:
        """How large the write-ahead log is."""
        return _size(self._database.with_name(f"{self._database.name}-wal"))

    async def _read_floor(self) -> int:
        return floor(await self._rows(FLOOR))

    async def _heads(self) -> list[Snapshot]:
        return heads(await self._rows(HEADS))

    async def _parts(self, position: int) -> AsyncIterator[Part]:
        after = -1
        while rows := list(await self._rows(PARTS, after, after + PARTS_AT_ONCE, position=position)):
            for _, section, data in rows:
                yield Part(section, data)
            after = rows[-1][0]

    async def _put_part(self, position: int, part: Part) -> None:
        values = {"position": position, "section": part.section, "data": part.data, "epoch": self._epoch}
        await self._write_rows(PUT_PART, values, reserve=False)

    async def _put_head(self, head: Snapshot) -> None:
        values = (head.position, head.hash, head.code, head.parts, head.digest, self._epoch)
        await self._write_rows(PUT_HEAD, values, reserve=False)

    async def _drop(self, position: int) -> bool:
        values: dict[str, object] = {"position": position, "epoch": self._epoch}
        await self._write_rows(DROP_HEAD, values, reserve=False)
        return bool(list(await self._write_rows(DROP_PARTS, values, reserve=False)))

    async def _put_floor(self, position: int) -> None:
        await self._write_rows(PUT_FLOOR, (position, self._epoch), reserve=False)

    # -------------------------------------------------------------------------------------- connections

    async def _read(self, after: int, until: int, limit: int, stream: str | None) -> list[Record]:
        query = SELECT if stream is None else SELECT_STREAM
        rows = await self._rows(query, after, until, limit=limit, stream=stream)
        return [Record(*row) for row in rows]

    async def _rows(self, query: str, after: int = 0, until: int = 0, **values: object) -> Iterable[Any]:
        with read_from(after + 1), gil.shared():
            return await self._reading.execute_fetchall(query, {"after": after, "until": until, **values})

    async def _write_rows(
        self, statement: str, values: Sequence[object] | dict[str, object] = (), *, reserve: bool = True
    ) -> Iterable[Any]:
        """Execute a statement that writes; on a full volume again, as long as there is reserve to give up."""
        while True:
            try:
                with gil.shared():
                    return await self._writing.execute_fetchall(statement, values)
            except sqlite3.Error as error:
                refused = refusal(error)
                if not (reserve and isinstance(refused, StorageFull) and self._ballast.release()):
                    raise refused from error

    async def _run(self, script: str) -> None:
        try:
            with gil.shared():
                await self._writing.executescript(script)
        except sqlite3.Error as error:
            raise refusal(error) from error


def stride(size: int, took_sec: float) -> int:
    """How much the next step takes: less where the volume is slow, more where it is quick."""
    wanted = round(size * STEP_SEC / max(took_sec, STEP_SEC / 2))
    return min(max(wanted, STEP_MIN), STEP_MAX)


def floor(rows: Iterable[Any]) -> int:
    """Where the log begins. Raises `LogCorrupt` where it does not say so."""
    try:
        [(position,)] = msgspec.convert(list(rows), list[tuple[int]])
    except ValueError as error:
        raise LogCorrupt("The log does not say where it begins.", 1) from error
    return position


def heads(rows: Iterable[Any]) -> list[Snapshot]:
    """The heads that can be read; a snapshot whose head cannot is as if it were not there."""
    found = []
    for row in rows:
        with suppress(msgspec.ValidationError):
            found.append(msgspec.convert(row, Snapshot))
    return found


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
