"""T31: whoever edits the database, and not only damages it, is found out by the verification."""

import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from random import Random  # noqa: TID251  # seeded

import msgspec
import pytest
from msgspec.structs import astuple

from tests.log.worlds import SqliteWorld, append, chained
from umd.domain.events import JobStarted
from umd.errors import LogCorrupt
from umd.log import Record
from umd.log.reader import opened
from umd.log.sqlite import INSERT, ROW
from umd.log.verify import verify

JOBS = 20
COLUMNS = Record.__struct_fields__

Edit = Callable[[list[Record], Random], list[Record]]


def changed(rows: list[Record], rng: Random) -> list[Record]:
    """One value is another one."""
    at, column = rng.randrange(len(rows)), rng.choice(COLUMNS)
    value = other(getattr(rows[at], column), column, rng)
    return [*rows[:at], msgspec.structs.replace(rows[at], **{column: value}), *rows[at + 1 :]]


def other(value: object, column: str, rng: Random) -> object:
    match value:
        case str() if column == "kind":
            return "event" if value == "command" else "command"
        case int():
            return value + rng.choice((-1, 1)) * rng.randint(1, 2**40)
        case bytes():
            at = rng.randrange(len(value))
            return value[:at] + bytes([value[at] ^ 1 << rng.randrange(8)]) + value[at + 1 :]
        case None:
            return rng.randint(1, 40)
        case _:
            return f"{value}{rng.choice('0123456789')}"


def removed(rows: list[Record], rng: Random) -> list[Record]:
    """Some rows in a row are gone, wherever they were."""
    at = rng.randrange(len(rows))
    return rows[:at] + rows[at + rng.randint(1, 5) :]


def closed_up(rows: list[Record], rng: Random) -> list[Record]:
    """A row is gone, and the others have moved up."""
    at = rng.randrange(len(rows) - 1)
    later = [msgspec.structs.replace(row, position=row.position - 1) for row in rows[at + 1 :]]
    return rows[:at] + later


def exchanged(rows: list[Record], rng: Random) -> list[Record]:
    """Two rows stand in each other's place."""
    one, two = rng.sample(range(len(rows)), 2)
    given = {one: rows[two], two: rows[one]}
    return [msgspec.structs.replace(given.get(at, row), position=row.position) for at, row in enumerate(rows)]


def repeated(rows: list[Record], rng: Random) -> list[Record]:
    """What happened once happens again at the end."""
    return [*rows, msgspec.structs.replace(rng.choice(rows), position=len(rows) + 1, version=99)]


def forged(rows: list[Record], rng: Random) -> list[Record]:
    """A value is another one, and the chain of hashes was made anew from there on."""
    at = rng.randrange(len(rows))
    return chained(*rows[:at], msgspec.structs.replace(rows[at], at=rng.randint(1, 2**50)), *rows[at + 1 :])


EDITS: tuple[Edit, ...] = (changed, changed, changed, removed, closed_up, exchanged, repeated, forged)


@pytest.mark.parametrize("edits", [300, pytest.param(10_000, marks=pytest.mark.soak)])
async def test_t31_no_edit_of_the_log_goes_unnoticed(disk: SqliteWorld, edits: int) -> None:
    log = await disk.open()
    for number in range(JOBS):
        await append(log, f"job-{number}", 0, [JobStarted(number, "2026.10.26")])
    rows = await log.read(limit=100)
    await disk.close()
    disk.execute("DROP TRIGGER log_is_append_only")
    assert found(disk) is None
    rng = Random(31)
    made = 0

    for number in range(edits):
        edit = EDITS[number % len(EDITS)]
        after = edit(rows, rng)
        assert after != rows
        with suppress(sqlite3.IntegrityError):  # two rows of one place: the database itself refuses that
            write(disk, after)
            assert found(disk), f"edit {number}, {edit.__name__}"
            made += 1

    assert made > 0.99 * edits
    write(disk, rows)
    assert found(disk) is None


def write(disk: SqliteWorld, rows: list[Record]) -> None:
    """Put these rows into the place of those that are there."""
    with closing(sqlite3.connect(disk.database)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("DELETE FROM log")
        connection.executemany(INSERT + ROW, map(astuple, rows))
        connection.commit()


def found(disk: SqliteWorld) -> int | None:
    """The first position that `umd log verify` names."""
    try:
        with opened(disk.directory) as reader:
            verify(reader)
    except LogCorrupt as error:
        return error.position
    return None
