"""The event log in memory, for tests: the same contract and the same suite, no I/O.

It needs nothing but an event loop, one with virtual time included.
"""

import asyncio
from bisect import bisect_right
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from operator import attrgetter

import msgspec

from umd.log import Record
from umd.log.kept import KeptLog
from umd.log.ledger import POSITION_MAX
from umd.log.snapshot import Part, Snapshot
from umd.log.writer import REPLAY_PAGE_ROWS, OnFailure
from umd.telemetry.records import Listener, ignore

_position = attrgetter("position")


class Shelf(msgspec.Struct):
    """What a log in memory has beside its rows, to hand it to the next one."""

    floor: int = 0
    heads: dict[int, Snapshot] = {}
    parts: dict[int, list[Part]] = {}


class MemoryLog(KeptLog):
    """An `EventLog` that begins with another one's `records` and `shelf` perhaps, as after a restart."""

    def __init__(
        self,
        records: Iterable[Record] = (),
        *,
        shelf: Shelf | None = None,
        on_failure: OnFailure | None = None,
        on_commit: Listener = ignore,
        waiting_max: int = 10_000,
    ) -> None:
        super().__init__(on_failure=on_failure, on_commit=on_commit, waiting_max=waiting_max)
        self.shelf = shelf or Shelf()
        self._rows: defaultdict[str | None, list[Record]] = defaultdict(list)
        self._keep(records)

    @property
    def records(self) -> list[Record]:
        """Every row that there is."""
        return list(self._rows[None])

    async def sweep(self) -> bool:
        shelf = self.shelf
        useful = (shelf.floor, max(shelf.heads, default=0))
        shelf.heads = {at: head for at, head in shelf.heads.items() if at in useful}
        shelf.parts = {at: parts for at, parts in shelf.parts.items() if at in shelf.heads}
        kept = [row for row in self._rows[None] if row.position > shelf.floor]
        swept = len(kept) < len(self._rows[None])
        if swept:
            self._rows.clear()
            self._keep(kept)
        return swept

    async def give_back(self) -> bool:
        return False

    async def cut_wal(self) -> bool:
        return False

    async def _open(self) -> None:
        self._floor = self.shelf.floor

    async def _close(self) -> None:
        pass

    async def _replay(self, page_rows: int = REPLAY_PAGE_ROWS, until: int = POSITION_MAX) -> None:
        await self._take_up()
        await super()._replay(page_rows, until)

    async def _read(self, after: int, until: int, limit: int, stream: str | None) -> list[Record]:
        rows = self._rows.get(stream, [])
        first = bisect_right(rows, after, key=_position)
        last = bisect_right(rows, until, key=_position)
        return rows[first : min(last, first + limit)]

    async def _store(self, records: Sequence[Record]) -> None:
        await asyncio.sleep(0)  # Others get their turn while a batch is on its way, as they do with a disk.
        self._keep(records)

    def _keep(self, records: Iterable[Record]) -> None:
        for record in records:
            self._rows[None].append(record)
            self._rows[record.stream].append(record)

    async def _heads(self) -> list[Snapshot]:
        return sorted(self.shelf.heads.values(), key=_position, reverse=True)

    async def _parts(self, position: int) -> AsyncIterator[Part]:
        for part in self.shelf.parts.get(position, ()):
            yield part

    async def _put_part(self, position: int, part: Part) -> None:
        await asyncio.sleep(0)
        self.shelf.parts.setdefault(position, []).append(part)

    async def _put_head(self, head: Snapshot) -> None:
        self.shelf.heads[head.position] = head

    async def _drop(self, position: int) -> bool:
        self.shelf.heads.pop(position, None)
        return self.shelf.parts.pop(position, None) is not None

    async def _put_floor(self, position: int) -> None:
        await asyncio.sleep(0)
        self.shelf.floor = position
