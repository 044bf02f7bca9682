"""The hash chain: a row's hash covers all its columns and, as its key, the hash of the row before.

A changed, lost, doubled or swapped row breaks the chain at its position. What the chain cannot show is a
tail that is missing as a whole; `umd.log.mark` does.
"""

from hashlib import blake2b
from typing import Any, TypeAlias

import msgspec
from msgspec.structs import astuple

from umd.errors import LogCorrupt
from umd.log import Record

HASH_BYTES = 16
GENESIS = b"umd event log v1"
"""Stands for the hash of the row before the first."""

Columns: TypeAlias = tuple[Any, ...]

_encode = msgspec.msgpack.Encoder().encode


def link(previous: bytes, columns: Columns) -> bytes:
    """The hash of a row, given the hash of the row before and the row's columns without their own hash.

    The columns are hashed as one MessagePack array, in the order of `Record`'s fields. That carries the
    type and the length of each of them, so no two rows have the same bytes; and it is one call into C
    (0.2 µs, beside 0.7 µs for the hash).
    """
    return blake2b(_encode(columns), digest_size=HASH_BYTES, key=previous).digest()


def check(previous: bytes, record: Record) -> None:
    """Raise `LogCorrupt` if the row is not the one that was written behind `previous`."""
    if link(previous, astuple(record)[:-1]) != record.hash:
        raise LogCorrupt(f"Row {record.position} of the log is not as it was written.", record.position)
