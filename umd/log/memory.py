"""The event log in memory, for tests: the same contract and the same suite, no I/O.

It needs nothing but an event loop, one with virtual time included.
"""

import asyncio
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from operator import attrgetter

from umd.log import Record
from umd.log.writer import GroupCommitLog, OnFailure
from umd.telemetry.records import Listener, ignore

_position = attrgetter("position")


class MemoryLog(GroupCommitLog):
    """An `EventLog` that begins with `records`, another one's `records` perhaps, as after a restart."""

    def __init__(
        self,
        records: Iterable[Record] = (),
        *,
        on_failure: OnFailure | None = None,
        on_commit: Listener = ignore,
        waiting_max: int = 10_000,
    ) -> None:
        super().__init__(on_failure=on_failure, on_commit=on_commit, waiting_max=waiting_max)
        self._rows: defaultdict[str | None, list[Record]] = defaultdict(list)
        self._keep(records)

    @property
    def records(self) -> list[Record]:
        """Every row so far."""
        return list(self._rows[None])

    async def _open(self) -> None:
        pass

    async def _close(self) -> None:
        pass

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
