"""Verifying a whole log: the chain, the versions, the index, SQLite's own structures, the high-water mark."""

import msgspec

from umd.errors import LogCorrupt
from umd.log.ledger import Ledger
from umd.log.reader import PAGE_ROWS, LogReader
from umd.log.sqlite import HINT


class Report(msgspec.Struct, frozen=True):
    """A log that is whole. The last row's hash tells it from every other."""

    position: int
    streams: int
    hash: str
    marked: int | None
    floor: int = 0


def verify(reader: LogReader) -> Report:
    """Read every row. Raises `LogCorrupt` with the first position that is not as it was written.

    Where rows are pruned it begins with what stands for them. It reads a page at a time, so that a running
    service can cut its write-ahead log meanwhile; only SQLite's own look at its pages is one read, of half a
    second for a million rows. Where the floor overtakes it, it begins anew behind it.
    """
    while True:
        try:
            return _verify(reader)
        except LogCorrupt:
            if not reader.look_for_floor():
                raise


def _verify(reader: LogReader) -> Report:
    ledger = Ledger()
    reader.begin(ledger)
    marked, digest = reader.marked or (0, b"")
    for page in reader.pages(page_rows=PAGE_ROWS):
        ledger.admit(page)
        place = marked - page[0].position
        if 0 <= place < len(page) and page[place].hash != digest:
            raise LogCorrupt(f"Row {marked} of the log is not the one that was written.{HINT}", marked)
    if ledger.head < marked:
        raise LogCorrupt(f"The log ends at row {ledger.head}, but it had {marked}.{HINT}", ledger.head + 1)
    reader.check_index(ledger.head, PAGE_ROWS)
    reader.check_pages(ledger.head)
    if reader.look_for_floor():  # it has risen over rows that were found good
        reader.base()
    return Report(ledger.head, ledger.streams, ledger.hash.hex(), marked or None, reader.floor)
