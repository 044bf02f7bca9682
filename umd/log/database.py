"""How the log's SQLite database is opened: pragmas, migrations, and who may write.

Releases of SQLite from 3.7.0 to 3.51.2 can lose committed pages when two connections checkpoint the same
write-ahead log (fixed in 3.51.3; Debian 12 has 3.40.1). umd runs on them, because here one connection
writes and checkpoints, and no other: the reader is opened `mode=ro`, and `flock` keeps a second server out.
A sidecar that checkpoints, Litestream for one, needs 3.51.3.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path
from typing import Final
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
MIGRATE: Final = "BEGIN IMMEDIATE;\n{script}\nPRAGMA user_version = {number};\nCOMMIT;"


def migrations() -> list[str]:
    """The scripts `0001_….sql`, `0002_….sql`, …: number n leads from schema n - 1 to n."""
    scripts = sorted(files("umd.log").joinpath("migrations").iterdir(), key=lambda script: script.name)
    return [script.read_text("utf-8") for script in scripts if script.name.endswith(".sql")]


@asynccontextmanager
async def writing(path: Path) -> AsyncIterator[aiosqlite.Connection]:
    """The one connection that writes, on a database of this release's schema, which is made if need be.

    Raises `LogError` where the database is of a newer release, or cannot have a write-ahead log.
    """
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))  # SQLite gives the WAL the same mode
    async with aiosqlite.connect(path, isolation_level=None, cached_statements=4) as connection:
        await connection.executescript(PRAGMAS)
        if await _value(connection, JOURNAL_MODE) != "wal":
            raise LogError(f"The volume of {path} does not allow a write-ahead log.")
        await _migrate(connection, path)
        yield connection


@asynccontextmanager
async def reading(path: Path) -> AsyncIterator[aiosqlite.Connection]:
    """A connection that can neither write nor checkpoint."""
    async with aiosqlite.connect(f"file:{quote(os.fspath(path))}?mode=ro", uri=True) as connection:
        await connection.executescript("PRAGMA query_only = ON; PRAGMA busy_timeout = 5000;")
        yield connection


async def check_schema(connection: aiosqlite.Connection, path: Path) -> int:
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


async def _value(connection: aiosqlite.Connection, query: str) -> object:
    [row] = await connection.execute_fetchall(query)
    value: object = row[0]
    return value
