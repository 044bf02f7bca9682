"""The only source of time and of random names.

Rules and actors take the time from here, so that a test can hold it still or let it run ahead, and a
replay sees the very instants that were recorded. Waiting is left to asyncio, whose loop a test may
replace by one with virtual time.
"""

import base64
import os
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol, TypeAlias

Micros: TypeAlias = int
"""Microseconds since 1970-01-01T00:00:00Z."""

SECOND: Micros = 1_000_000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

_CROCKFORD = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", b"0123456789abcdefghjkmnpqrstvwxyz")


class Clock(Protocol):
    """Time and ids, as the service or as a test wants them."""

    def now(self) -> Micros: ...

    def new_id(self) -> str: ...


class SystemClock:
    """The machine's wall clock."""

    def now(self) -> Micros:
        return time.time_ns() // 1_000

    def new_id(self) -> str:
        """26 characters of [0-9a-z], sortable by creation time, with 80 random bits (the shape of a ULID)."""
        return encode_id((self.now() // 1_000).to_bytes(6, "big") + os.urandom(10))


def encode_id(value: bytes) -> str:
    """16 bytes as 26 characters of Crockford's base 32, in lower case."""
    return base64.b32encode(value)[:26].translate(_CROCKFORD).decode()


def rfc3339(at: Micros) -> str:
    """An instant as the wire shows it: RFC 3339, UTC, milliseconds, `Z`."""
    return instant(at).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def instant(at: Micros) -> datetime:
    """The same instant as a `datetime` in UTC, which encodes as RFC 3339."""
    return _EPOCH + timedelta(microseconds=at)


def micros(at: datetime) -> Micros:
    """The same instant in microseconds."""
    return (at - _EPOCH) // _MICROSECOND
