"""How the log's SQLite database is opened: pragmas, migrations, and who may write.

Releases of SQLite from 3.7.0 to 3.51.2 can lose committed pages when two connections checkpoint the same
write-ahead log (fixed in 3.51.3; Debian 12 has 3.40.1). umd runs on them, because here one connection
writes and checkpoints, and no other: the reader is opened `mode=ro`, and `flock` keeps a second server out.
A sidecar that checkpoints, Litestream for one, needs 3.51.3.
"""

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import quote

import aiosqlite

from umd.errors import LogError

PRAGMAS: Final = """
PRAGMA auto_vacuum = INCREMENTAL;      -- counts only before the first table
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;             -- an append is durable when it is answered
PRAGMA journal_size_limit = 67108864;  -- a reader that pins the WAL makes it grow; cut it afterwards
PRAGMA busy_timeout = 5000;
"""
JOURNAL_MODE: Final = "PRAGMA journal_mode"
SCHEMA_VERSION: Final = "PRAGMA user_version"
READ_ONLY: Final = "PRAGMA query_only = ON; PRAGMA busy_timeout = 5000;"
MIGRATE: Final = "BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {number};\nCOMMIT;"


class Reading(Protocol):
    """A connection that reads, in whichever thread."""

    def execute_fetchall(
        self, sql: str, parameters: Mapping[str, object] | None = None, /
    ) -> Awaitable[Iterable[Any]]:
        """All rows of a query."""


class ReadingHere:
    """A connection that reads in the event loop's own thread, which waits for it: for a start.

    What another thread has read comes to this one's processor by the memory: to fold a million rows took an
    eighth longer.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    async def execute_fetchall(
        self, sql: str, parameters: Mapping[str, object] | None = None, /
    ) -> Iterable[Any]:
        """All rows of a query; before it others have their turn."""
        await asyncio.sleep(0)
        return self._connection.execute(sql, parameters or {}).fetchall()


def migrations() -> list[str]:
    """The scripts `0001_….sql`, `0002_….sql`, …: number n leads from schema n - 1 to n."""
    scripts = sorted(files("umd.log").joinpath("migrations").iterdir(), key=lambda script: script.name)
    return [script.read_text("utf-8") for script in scripts if script.name.endswith(".sql")]


@asynccontextmanager
async def writing(path: Path) -> AsyncIterator[aiosqlite.Connection]:
    """The one connection that writes, on a database of this release's schema, which is made if need be.

    Raises `LogError` where the database is of a newer release, or cannot have a write-ahead log.
    """
    _make(path)
    async with aiosqlite.connect(path, isolation_level=None, cached_statements=4) as connection:
        await connection.executescript(PRAGMAS)
        if await _value(connection, JOURNAL_MODE) != "wal":
            raise LogError(f"The volume of {path} does not allow a write-ahead log.")
        await _migrate(connection, path)
        yield connection


def _make(path: Path) -> None:
    """Make the file, for its owner alone: SQLite gives the WAL the same mode. One that exists is not opened.

    To close any descriptor of a file ends all of the process's POSIX locks on it, those of open connections
    too. Without them another process that looks at the log and leaves is the last to leave, as far as SQLite
    can tell, and takes the WAL away from under this one (https://www.sqlite.org/howtocorrupt.html, 2.2).
    """
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


@asynccontextmanager
async def reading(path: Path) -> AsyncIterator[Reading]:
    """A connection that can neither write nor checkpoint."""
    async with aiosqlite.connect(_read_only(path), uri=True) as connection:
        await connection.executescript(READ_ONLY)
        yield connection


@contextmanager
def reading_here(path: Path) -> Iterator[Reading]:
    """The same, for a while in which nobody else is to be served."""
    with closing(sqlite3.connect(_read_only(path), uri=True)) as connection:
        connection.executescript(READ_ONLY)
        yield ReadingHere(connection)


def _read_only(path: Path) -> str:
    return f"file:{quote(os.fspath(path))}?mode=ro"


async def check_schema(connection: Reading, path: Path) -> int:
    """The schema that a database has. Raises `LogError` where it is a newer release's."""
    version = await _value(connection, SCHEMA_VERSION)
    known = len(migrations())
    if not isinstance(version, int) or version > known:
        raise LogError(f"{path} has schema {version}, of a newer release; this one knows {known}.")
    return version


async def _migrate(connection: aiosqlite.Connection, path: Path) -> None:
    scripts = migrations()
    version = await check_schema(connection, path)
    for number, script in enumerate(scripts[version:], version + 1):
        await connection.executescript(MIGRATE.format(script=script, number=number))


async def _value(connection: Reading, query: str) -> object:
    [row] = await connection.execute_fetchall(query)
    value: object = row[0]
    return value
