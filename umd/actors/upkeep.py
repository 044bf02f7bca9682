"""Keeps the event log small and its next start short: snapshots, pruning, space and the write-ahead log."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import structlog

from umd.actors.actor import Actor
from umd.clock import SECOND, Clock, Micros
from umd.errors import LogCorrupt, LogReadOnly, Overloaded, ShuttingDown, StorageFull, UmdError

LOOK_SEC: Final = 5.0
REST_SEC: Final = 0.02
"""Between two steps of pruning: whoever appends has the disk for most of the time."""

SNAPSHOT_ROWS: Final = 50_000
"""So many rows more than the newest snapshot has are folded in a tenth of a second at the next start."""
LAST_SNAPSHOT_ROWS: Final = 5_000
"""For fewer no snapshot is worth the while of a stop."""
LAST_SNAPSHOT_SEC: Final = 3.0

SLACK: Final = 0.1
"""Rows are pruned when the oldest is older than it may be by this part of its time: not a few each time."""

HELD_SEC: Final = 3_600
"""Where nothing could be pruned, it is tried again after so long."""

DAY: Final[Micros] = 86_400 * SECOND

_log = structlog.get_logger(__name__)


class KeptLog(Protocol):
    """The log, as its upkeep sees it: `umd.log.kept`. Each step is short; True says that there was one."""

    @property
    def head(self) -> int: ...

    @property
    def snapshot_at(self) -> int: ...

    @property
    def streams(self) -> int: ...

    async def oldest(self) -> Micros | None: ...

    async def put_by(self) -> bool: ...

    async def raise_floor(self, before: Micros) -> int: ...

    async def sweep(self) -> bool: ...

    async def give_back(self) -> bool: ...

    async def cut_wal(self) -> bool: ...


class Upkeep(Actor[None]):
    """Looks at the log now and then. What it needs to know is in the log: after a restart it goes on.

    What a full volume refuses is tried again at the next look; nothing of it is needed to serve.
    """

    def __init__(
        self, log: KeptLog, clock: Clock, retention_days: int, *, snapshot_rows: int = SNAPSHOT_ROWS
    ) -> None:
        super().__init__("upkeep")
        self._kept = log
        self._clock = clock
        self._retention = retention_days * DAY
        self._snapshot_rows = snapshot_rows
        self._prune_at: Micros = 0

    async def run(self) -> None:
        """Put by, prune, sweep, give back, cut; wait; again."""
        while True:
            try:
                await self._tend()
            except (StorageFull, Overloaded) as refused:
                _log.warning("upkeep.refused", reason=str(refused))
            except (LogCorrupt, LogReadOnly, ShuttingDown):  # the log has said so itself
                return
            await asyncio.sleep(LOOK_SEC)

    async def put_by_last(self) -> None:
        """A snapshot for the next start, when nobody appends any more; without it that takes longer."""
        if self._new_rows < LAST_SNAPSHOT_ROWS:
            return
        try:
            async with asyncio.timeout(LAST_SNAPSHOT_SEC):
                await self._put_by()
        except (TimeoutError, UmdError) as refused:
            _log.warning("upkeep.refused", reason=str(refused) or "it took too long")

    @property
    def _new_rows(self) -> int:
        return self._kept.head - self._kept.snapshot_at

    async def _tend(self) -> None:
        # What a snapshot costs grows with the streams: so what is folded before the next one does, too.
        if self._new_rows >= max(self._snapshot_rows, self._kept.streams):
            await self._put_by()
        await self._prune()
        await _repeat(self._kept.sweep)
        await _repeat(self._kept.give_back)
        await self._kept.cut_wal()

    async def _put_by(self) -> None:
        began = asyncio.get_running_loop().time()
        if await self._kept.put_by():
            took = asyncio.get_running_loop().time() - began
            _log.info("upkeep.snapshot", position=self._kept.snapshot_at, seconds=round(took, 3))

    async def _prune(self) -> None:
        now = self._clock.now()
        if not self._retention or now < self._prune_at:
            return
        before = now - self._retention
        oldest = await self._kept.oldest()
        if oldest is None or oldest > before - self._retention * SLACK:
            return
        await self._put_by()
        if not await self._kept.raise_floor(before):  # the newest append stays, however old it is
            self._prune_at = now + HELD_SEC * SECOND


async def _repeat(step: Callable[[], Awaitable[bool]]) -> None:
    while await step():  # noqa: ASYNC110  # a rest between two steps, and no wait for something
        await asyncio.sleep(REST_SEC)
