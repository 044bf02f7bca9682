"""Keeping a log small and its start short: snapshots, and a floor below which rows are pruned.

The floor is a position. A *base*, a snapshot of exactly that position, stands for the rows up to it, so what
is folded from the base and the rows behind it is what would be folded from all rows: states, totals, keys of
idempotency and of the archive. What is lost with the rows are the rows: log lines, `/log`, the past below the
floor. Streams are not looked at one by one: cutting the log at one place keeps one hash chain (the base has
the hash that the next row is keyed by) and one number that says what can be read.

The floor rises in one small write, when its base is stored whole. From then on nobody reads the rows up to
it; to delete them, and the parts of older snapshots, is sweeping, in small steps that may stop anywhere.
"""

import asyncio
from abc import abstractmethod
from collections.abc import AsyncIterator, Sequence
from typing import Final

import structlog

from umd.clock import Micros
from umd.errors import LogCorrupt, LogError
from umd.log import Fact, Follower, Unknown
from umd.log.codec import facts
from umd.log.ledger import POSITION_MAX, Ledger
from umd.log.snapshot import Captured, Models, Packing, Part, Snapshot, SnapshotUnusable, Unpacking, capture
from umd.log.writer import GroupCommitLog

SLICE_ROWS: Final = 200
"""So many rows, or one append, are read and folded between two turns of the event loop."""

SLICE_ITEMS: Final = 500
"""So many of a snapshot's, likewise."""

RISE_ROWS_MAX: Final = 100_000
"""The floor rises by so many rows at once: what a kill cuts short is begun anew."""

_logger = structlog.get_logger(__name__)


class KeptLog(GroupCommitLog):
    """A log with snapshots and a floor.

    A log adds where these are stored: `_heads`, `_parts`, `_put_part`, `_put_head`, `_drop`,
    `_put_floor`, `sweep`.
    Each of them is one short transaction. They raise what `append` raises, but never use up the reserve.
    """

    _models: Models | None = None
    _base: Snapshot | None = None
    _snapshot_at = 0

    @property
    def snapshot_at(self) -> int:
        """The position of the newest snapshot, the base included; 0 where there is none."""
        return self._snapshot_at

    @property
    def streams(self) -> int:
        """How many streams there have been."""
        return self._ledger.streams

    async def oldest(self) -> Micros | None:
        """The time of the first row that is not pruned; None where there is none."""
        rows = await self._read(self._floor, self.head, 1, None)
        return rows[0].at if rows else None

    async def start(self, *followers: Follower, models: Models | None = None) -> None:
        """As `EventLog.start`. `models` take a snapshot up, where there is one, and are told first."""
        self._models = models
        await super().start(*((models.apply,) if models else ()), *followers)

    # ---------------------------------------------------------------------------------------- snapshots

    async def put_by(self) -> bool:
        """Store a snapshot of what the models know now; whether there was anything new to store."""
        models = self._models
        if models is None or not models.is_whole or self.head <= self._snapshot_at:
            return False
        if self._failure or self._corruption:
            return False
        try:
            await self._put(capture(self._ledger, models))
        except SnapshotUnusable as unusable:
            _logger.warning("log.snapshot_impossible", position=self.head, reason=str(unusable))
            return False
        return True

    async def _put(self, captured: Captured) -> Snapshot:
        while await self._drop(captured.position):  # one of other code, or what a crash has cut short
            pass
        packing = Packing(captured)
        while part := await asyncio.to_thread(packing.next):
            await self._put_part(captured.position, part)
        await self._put_head(packing.head)
        self._snapshot_at = max(self._snapshot_at, captured.position)
        return packing.head

    async def _take_up(self, until: int = POSITION_MAX) -> None:
        """Begin at the newest snapshot that is good, else at the base, else at the first row."""
        heads = await self._heads()
        self._base = next((head for head in heads if head.position == self._floor), None)
        if self._models:
            for head in heads:
                if self._floor < head.position <= until and await self._took_up(head, self._models):
                    return
        if self._floor:
            await self._take_up_base()

    async def _took_up(self, head: Snapshot, models: Models) -> bool:
        try:
            if head.code != models.code:
                raise SnapshotUnusable("it was folded by the code of another release")
            await self._hold_rows(head)
            await self._restore(head, models)
        except LogError as unusable:
            _logger.warning("log.snapshot_ignored", position=head.position, reason=str(unusable))
            return False
        _logger.info("log.snapshot_taken_up", position=head.position)
        return True

    async def _take_up_base(self) -> None:
        if self._base is None:
            raise base_lost(self._floor, "it is missing")
        try:
            await self._restore(self._base, self._models)
        except SnapshotUnusable as unusable:
            raise base_lost(self._floor, str(unusable)) from unusable

    async def _restore(self, head: Snapshot, models: Models | None) -> None:
        """Nothing is filled before all was read and found good."""
        unpacking = Unpacking(head, models)
        read = [(part.section, unpacking.read(part)) async for part in self._parts(head.position)]
        unpacking.end()
        self._ledger.begin_at(head.position, head.hash, unpacking.standings)
        self._snapshot_at = head.position
        if models:
            for section, items in read:
                models.fill(section, items)

    async def _hold_rows(self, head: Snapshot) -> None:
        """Raise `LogError` where the snapshot is not of this log, or where rows that it has seen are bad."""
        rows = await self._read(head.position - 1, head.position, 1, None)
        if not rows or rows[0].hash != head.hash:
            raise SnapshotUnusable("it is of another log")

    # -------------------------------------------------------------------------------------------- floor

    async def raise_floor(self, before: Micros) -> int:
        """Let the log begin behind its first rows that are older than `before`; returns how many those are.

        Whole appends, never beyond the newest snapshot but one row, and never beyond a row that this
        release cannot read (`log.pruning_held`): another one may. A row that is not as it was written fails
        the log. The base and the rows are folded anew, into models of their own, in slices between which
        others have their turn: that takes the memory of the read models a second time.
        """
        if self._models is None or self._snapshot_at - 1 <= self._floor:
            return 0
        models = self._models.fresh()
        base = await self._put_base(before, models)
        pruned = 0
        if base is not None:
            await self._put_floor(base.position)
            pruned = base.position - self._floor
            self._base, self._floor = base, base.position
            _logger.info("log.pruned", floor=self._floor, rows=pruned)
        while models.forget():  # noqa: ASYNC110  # others have their turn, and nothing is waited for
            await asyncio.sleep(0)
        return pruned

    async def _put_base(self, before: Micros, models: Models) -> Snapshot | None:
        """Store what stands for the rows that are to go; None where none are."""
        ledger = Ledger()
        limit = min(self._snapshot_at - 1, self._floor + RISE_ROWS_MAX)
        try:
            async for old in self._old_slices(before, limit):
                if ledger.head <= self._floor:
                    await self._begin_fold(ledger, models)
                ledger.admit([fact.record for fact in old])
                models.apply(old)
                await asyncio.sleep(0)
        except LogCorrupt as corrupt:
            self._fail(corrupt)
            raise
        return await self._put(capture(ledger, models)) if ledger.head > self._floor else None

    async def _begin_fold(self, ledger: Ledger, models: Models) -> None:
        """Fill from the base, part by part."""
        if self._base is None:
            return
        unpacking = Unpacking(self._base, models)
        try:
            async for part in self._parts(self._base.position):
                items = unpacking.read(part)
                for begin in range(0, len(items), SLICE_ITEMS):
                    await asyncio.sleep(0)
                    models.fill(part.section, items[begin : begin + SLICE_ITEMS])
            unpacking.end()
        except SnapshotUnusable as unusable:
            raise base_lost(self._floor, str(unusable)) from unusable
        ledger.begin_at(self._base.position, self._base.hash, unpacking.standings)

    async def _old_slices(self, before: Micros, limit: int) -> AsyncIterator[Sequence[Fact]]:
        """Whole appends from the floor on, as long as their rows are old and can be read, up to `limit`."""
        after, rows = self._floor, SLICE_ROWS
        while True:
            page = facts(await self._read(after, limit + 1, rows + 1, None))
            stop = next((n for n, fact in enumerate(page) if _stays(fact, before, limit)), None)
            end = len(page) - 1 if stop is None else stop
            while end > 0 and page[end].record.kind != "command":  # an append begins with its command
                end -= 1
            if end > 0:
                yield page[:end]
                after = page[end - 1].record.position
            if stop is not None and isinstance(page[stop].event, Unknown):
                _logger.warning("log.pruning_held", position=page[stop].record.position)
            if stop is not None or (end <= 0 and len(page) <= rows):
                return
            rows = SLICE_ROWS if end > 0 else 2 * rows  # for an append that is larger than a slice

    # -------------------------------------------------------------------------------------------- where

    @abstractmethod
    async def sweep(self) -> bool:
        """Delete some rows up to the floor, or of the snapshots that are neither the newest nor the base.

        False when nothing was left to delete.
        """

    @abstractmethod
    async def _heads(self) -> list[Snapshot]:
        """All whole snapshots, the newest first."""

    @abstractmethod
    def _parts(self, position: int) -> AsyncIterator[Part]:
        """The parts of one, in order."""

    @abstractmethod
    async def _put_part(self, position: int, part: Part) -> None:
        """Store a part behind those of this position."""

    @abstractmethod
    async def _put_head(self, head: Snapshot) -> None:
        """Say that a snapshot is whole."""

    @abstractmethod
    async def _drop(self, position: int) -> bool:
        """Forget the snapshot at this position, and some of its parts; False when there were none."""

    @abstractmethod
    async def _put_floor(self, position: int) -> None:
        """Let the log begin behind this position, at which there is a snapshot."""


def _stays(fact: Fact, before: Micros, limit: int) -> bool:
    record = fact.record
    return record.position > limit or record.at >= before or isinstance(fact.event, Unknown)


def base_lost(floor: int, reason: str) -> LogCorrupt:
    """The log cannot be folded: neither its first rows are there, nor what stands for them."""
    return LogCorrupt(
        f"The rows of the log up to {floor} are pruned, and what stands for them cannot be used: {reason}.",
        floor,
    )
