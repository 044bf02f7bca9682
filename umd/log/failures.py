"""What an error of SQLite's means for the log."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from umd.errors import Conflict, LogCorrupt, LogError, LogFailed, Overloaded, StorageFull

UNREADABLE: Final = (OSError, sqlite3.Error, UnicodeError)
"""What reading a damaged database may end with; SQLite's own messages may be no text either."""


def refusal(error: sqlite3.Error) -> LogError | Overloaded:
    """Why a batch was not stored. After the first four it is certain that nothing was.

    SQLite says SQLITE_FULL for a volume without space (ENOSPC) only while it writes rows or frames of the
    WAL, before the frame that commits. Where it cannot extend the WAL's index, which comes after that
    frame, the code is another one, and the outcome unknown.
    """
    extended = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    code = extended & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return StorageFull("The volume of the event log is full.")
    if code == sqlite3.SQLITE_BUSY:
        return Overloaded("Another process keeps the event log locked.")
    if extended == sqlite3.SQLITE_CONSTRAINT_NOTNULL:  # no column is None but for the guard of the epoch
        return LogFailed("Another server has taken the event log over; this one may not write any more.")
    if code == sqlite3.SQLITE_CONSTRAINT:
        return Conflict("The stream has rows that this server did not write.")
    return LogFailed(f"The event log could not be written: {error}")


@contextmanager
def read_from(position: int) -> Iterator[None]:
    """Raise as `LogError` what comes of reading the log from this position on, where it cannot be read."""
    try:
        yield
    except UNREADABLE as error:
        raise _unreadable(error, position) from error


def _unreadable(error: Exception, position: int) -> LogError:
    """Why the log cannot be read. An error without a code, or of Unicode, is text that is no UTF-8."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
    if isinstance(error, (sqlite3.Error, UnicodeError)) and code in (
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
    ):
        return LogCorrupt(f"Row {position} of the log cannot be read: {error}", position)
    return LogError(f"The event log cannot be read: {error}")
