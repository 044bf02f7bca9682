"""A copy of the log while the service goes on, and a log made whole again from one."""

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from umd.errors import LogCorrupt, LogError
from umd.log import Record, lock, mark
from umd.log.database import PRAGMAS, migrations
from umd.log.ledger import Ledger
from umd.log.reader import Filter, LogReader, marked, opened
from umd.log.sqlite import INSERT, ROW
from umd.log.verify import Report, verify

INSERT_HEAD: Final = "INSERT INTO snapshot (position, hash, code, parts, digest) VALUES (?, ?, ?, ?, ?)"
INSERT_PART: Final = "INSERT INTO snapshot_part (position, part, section, data) VALUES (?, ?, ?, ?)"
BATCH_ROWS: Final = 1_000


class Repair(msgspec.Struct, frozen=True):
    """What a repair came to: where the log was damaged, and which rows that it had are lost."""

    position: int
    first_bad_position: int
    missing_from: int | None
    missing_to: int | None
    damaged: str


def back_up(place: Path, target: Path) -> Report:
    """Copy the log as it is at this moment into a new file, which is verified before it gets its name.

    A running service goes on, and hardly feels it. Raises `LogError` where the target exists or cannot be
    written, and `LogCorrupt` where the copy is not whole.
    """
    if target.exists():
        raise LogError(f"{target} exists already.")
    with _unfinished(target) as draft:
        had, _ = marked(place) or (0, b"")
        with opened(place) as source:
            _copy(source, draft)
        with opened(draft) as copy:
            report = verify(copy)
        if report.position < had:
            raise LogCorrupt(f"The log ends at row {report.position}, but it had {had}.", report.position + 1)
    return report


def repair(directory: Path, backup: Path) -> Repair:
    """Make the log in `directory` whole again: its own good rows, and the backup's where those are not.

    No server may be running there. The damaged files are kept beside it, in `damaged`. Raises `LogLocked`,
    `LogCorrupt` where the backup itself is damaged, and `LogError` where it is of another log.
    """
    with ExitStack() as held:
        held.enter_context(lock.locked(directory / "log.lock"))
        reader = held.enter_context(opened(backup))
        verify(reader)
        own = _good(directory)
        _hold_same(own, reader)
        with _unfinished(directory / "log.repaired") as draft:
            taken = _rebuild(draft, own, reader)
        damaged = _put_aside(directory)
        (directory / "log.repaired").rename(directory / "log.sqlite3")
        _sync(directory)
        with mark.opened(directory / "log.mark") as high_water:
            high_water.set(taken.head, taken.hash)
    had = own.known_rows
    lost = had > taken.head
    return Repair(
        taken.head,
        own.ledger.head + 1,
        taken.head + 1 if lost else None,
        had if lost else None,
        str(damaged),
    )


class _Own(msgspec.Struct):
    """The damaged log: its first good rows, and how many it is known to have had."""

    directory: Path
    ledger: Ledger
    known_rows: int


def _good(directory: Path) -> _Own:
    ledger = Ledger()
    known, _ = marked(directory) or (0, b"")
    with suppress(LogError), opened(directory) as reader:  # what was admitted before the damage is good
        with suppress(LogError):
            known = max(known, reader.head)
        reader.begin(ledger)
        for page in reader.pages():
            ledger.admit(page)
    return _Own(directory, ledger, known)


def _hold_same(own: _Own, backup: LogReader) -> None:
    """Raise `LogError` where the two are of different logs, if they have a row in common."""
    position = min(own.ledger.head, backup.head)
    if position == 0 or position < backup.floor:
        return
    with opened(own.directory) as reader:
        if position < reader.floor:
            return
        mine, other = reader.hash_at(position), backup.hash_at(position)
    if mine is None or mine != other:
        raise LogError(f"The backup is of another log: row {position} is another one there.")


def _rebuild(draft: Path, own: _Own, backup: LogReader) -> Ledger:
    """Write every row that can be proved into a new database, through the same checks as a start.

    Where the backup reaches beyond the damage, the log's own rows behind it fit the chain again.
    """
    ledger = Ledger()
    with _made(draft) as connection, ExitStack() as held:
        mine = None
        with suppress(LogError):
            mine = held.enter_context(opened(own.directory))
        if mine and own.ledger.head >= max(backup.floor, 1):
            _begin(connection, ledger, mine)
            _take(connection, ledger, mine.pages(Filter(until=own.ledger.head), BATCH_ROWS))
        else:
            _begin(connection, ledger, backup)
        _take(connection, ledger, backup.pages(Filter(after=ledger.head), BATCH_ROWS))
        if mine:
            with suppress(LogCorrupt):
                _take(connection, ledger, mine.pages(Filter(after=ledger.head), BATCH_ROWS))
    return ledger


def _begin(connection: sqlite3.Connection, ledger: Ledger, source: LogReader) -> None:
    """Let the new log begin where this one does, with what stands for its pruned rows."""
    base = source.base()
    if base is None:
        return
    head, parts = base
    source.begin(ledger)
    rows = [(head.position, number, part.section, part.data) for number, part in enumerate(parts)]
    connection.execute("BEGIN")
    connection.executemany(INSERT_PART, rows)
    connection.execute(INSERT_HEAD, msgspec.structs.astuple(head))
    connection.execute("UPDATE floor SET position = ?", (head.position,))
    connection.execute("COMMIT")


def _take(connection: sqlite3.Connection, ledger: Ledger, pages: Iterable[list[Record]]) -> None:
    for rows in pages:
        try:
            ledger.admit(rows)
        finally:
            good = [msgspec.structs.astuple(row) for row in rows if row.position <= ledger.head]
            connection.execute("BEGIN")
            connection.executemany(INSERT + ROW, good)
            connection.execute("COMMIT")


def _put_aside(directory: Path) -> Path:
    """Move the damaged files into a folder of their own: they may hold what can still be saved."""
    aside = next(
        path for number in range(1, 10_000) if not (path := directory / f"damaged-{number}").exists()
    )
    aside.mkdir(mode=0o700)
    for name in ("log.sqlite3", "log.sqlite3-wal", "log.sqlite3-shm", "log.mark"):
        if (directory / name).exists():
            (directory / name).rename(aside / name)
    return aside


def _copy(source: LogReader, draft: Path) -> None:
    """Copy row by row, through the same checks as a start, in short reads and short writes.

    One long read would hold back the writer's checkpoints, and then it had to make up for them all at once;
    one long write, of which the volume takes in all at its end, would let its next commit wait.
    """
    head = source.head
    while True:
        try:
            with _made(draft) as connection:
                ledger = Ledger()
                _begin(connection, ledger, source)
                _take(connection, ledger, source.pages(Filter(after=ledger.head, until=head), BATCH_ROWS))
                connection.execute("PRAGMA journal_mode = DELETE")  # a backup is one file
        except LogCorrupt:
            if not source.look_for_floor():  # a service has pruned meanwhile
                raise
            draft.unlink()
        else:
            return


@contextmanager
def _made(draft: Path) -> Iterator[sqlite3.Connection]:
    """A new and empty log."""
    with closing(sqlite3.connect(draft, isolation_level=None)) as connection:
        connection.executescript(PRAGMAS)
        for script in migrations():
            connection.executescript(script)
        connection.execute(f"PRAGMA user_version = {len(migrations())}")
        yield connection


@contextmanager
def _unfinished(target: Path) -> Iterator[Path]:
    """A file that gets its name when it is whole and on the disk, and is gone where it does not."""
    draft = target.with_name(f".{target.name}.part")
    draft.unlink(missing_ok=True)
    try:
        yield draft
        draft.chmod(0o600)
        _sync(draft)
        draft.rename(target)
        _sync(target.parent)
    except OSError as error:
        raise LogError(f"{target} could not be written: {error}") from error
    finally:
        for suffix in ("", "-wal", "-shm"):
            draft.with_name(draft.name + suffix).unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
