"""Group commit: whatever waits to be appended is stored as one batch, one batch after the other.

There is no delay to gather: a batch is what arrived while the one before was being stored, so a lone
append waits for nothing and a thousand share one fsync.
"""

import asyncio
import gc
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, TypeAlias

import msgspec
import structlog

from umd.clock import Micros
from umd.domain.commands import Command
from umd.domain.events import Event
from umd.errors import (
    Conflict,
    LogCorrupt,
    LogError,
    LogFailed,
    LogReadOnly,
    Overloaded,
    ShuttingDown,
    StorageFull,
)
from umd.log import Appended, Fact, Follower, Record
from umd.log.codec import entries, facts
from umd.log.ledger import BATCH_ROWS_MAX, POSITION_MAX, Draft, Ledger
from umd.telemetry.records import Committed, Listener, ignore

REPLAY_PAGE_ROWS: Final = 2_000

_logger = structlog.get_logger(__name__)

OnFailure: TypeAlias = Callable[[LogFailed], None]
Refusal: TypeAlias = StorageFull | Overloaded | LogFailed


class Waiting(msgspec.Struct, frozen=True, gc=False, eq=False):
    """An append and the one who waits for it, unless that one was cancelled."""

    draft: Draft
    future: asyncio.Future[Appended]
    since: float

    def answer(self, outcome: Appended | Conflict) -> None:
        if self.future.done():
            return
        if isinstance(outcome, Appended):
            self.future.set_result(outcome)
        else:
            self.future.set_exception(outcome)

    def refuse(self, refusal: Refusal) -> None:
        """Each who waits gets an error of his own: raising one adds to its traceback."""
        if not self.future.done():
            error = type(refusal)(str(refusal))
            error.__cause__ = refusal.__cause__
            self.future.set_exception(error)


class GroupCommitLog(ABC):
    """What every log shares: the queue, the ledger, the followers and the lifecycle of `EventLog`.

    A log adds `_open`, `_read`, `_store` and `_close`. `_store` raises `StorageFull` or `Overloaded` where
    it is certain that nothing was stored, and `Conflict` where rows collide with stored ones; whatever else
    it raises means that the outcome is unknown. Then, and when a follower raises, the log has failed: it
    takes no more appends, and `on_failure` is called once, because the process has to end and replay.
    """

    def __init__(
        self,
        *,
        on_failure: OnFailure | None = None,
        on_commit: Listener = ignore,
        waiting_max: int = 10_000,
    ) -> None:
        self._on_failure = on_failure
        self._on_commit = on_commit
        self._waiting_max = waiting_max
        self._ledger = Ledger()
        self._floor = 0
        self._verified_from = 0
        self._corruption: LogCorrupt | None = None
        self._followers: tuple[Follower, ...] = ()
        self._waiting: deque[Waiting] = deque()
        self._wake = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._failure: LogFailed | None = None

    @property
    def head(self) -> int:
        return self._ledger.head

    @property
    def floor(self) -> int:
        return self._floor

    @property
    def corruption(self) -> LogCorrupt | None:
        return self._corruption

    async def start(self, *followers: Follower) -> None:
        if self._writer or self._closing:
            raise LogError("An event log is started once.")
        self._followers = followers
        try:
            await self._open()
            with _no_garbage_collection():
                await self._fold_what_is_good()
        except BaseException:
            await self._close()
            raise
        self._writer = asyncio.create_task(self._write(), name="log-writer")

    def follow(self, follower: Follower) -> None:
        self._followers = (*self._followers, follower)

    async def append(  # noqa: PLR0913  # the contract's
        self,
        stream: str,
        expected: int,
        command: Command,
        events: Sequence[Event],
        *,
        at: Micros,
        correlation: str,
        causation: int | None = None,
    ) -> Appended:
        self._check_open()
        draft = Draft(stream, expected, at, correlation, causation, entries(command, events))
        loop = asyncio.get_running_loop()
        waiting = Waiting(draft, loop.create_future(), loop.time())
        self._waiting.append(waiting)
        self._wake.set()
        return await waiting.future

    async def read(self, after: int = 0, limit: int = 500, *, stream: str | None = None) -> list[Record]:
        if self._writer is None or self._closing:
            raise LogError("The event log is not open.")
        return await self._read(max(after, self._floor), self.head, max(limit, 0), stream)

    async def stop(self) -> None:
        if self._closing is None:
            self._closing = asyncio.create_task(self._drain(), name="log-stop")
        await asyncio.shield(self._closing)

    @abstractmethod
    async def _open(self) -> None:
        """Get ready to read and to store."""

    @abstractmethod
    async def _read(self, after: int, until: int, limit: int, stream: str | None) -> list[Record]:
        """At most `limit` rows behind `after`, up to `until`."""

    @abstractmethod
    async def _store(self, records: Sequence[Record]) -> None:
        """Make the rows durable, all of them or none."""

    @abstractmethod
    async def _close(self) -> None:
        """Give back what `_open` took, as far as it got."""

    def _check_open(self) -> None:
        if self._corruption:
            raise LogReadOnly(f"{self._corruption} The service answers, and changes nothing.")
        if self._failure:
            raise LogFailed(str(self._failure)) from self._failure.__cause__
        if self._closing:
            raise ShuttingDown("The event log is closed.")
        if self._writer is None:
            raise LogError("The event log is not open.")
        if len(self._waiting) >= self._waiting_max:
            raise Overloaded("Too many appends wait for the event log.")

    async def _fold_what_is_good(self) -> None:
        try:
            await self._replay()
        except LogCorrupt as corrupt:
            if self.head == 0:
                raise
            self._corruption = corrupt
            _logger.critical("log.corrupt", position=corrupt.position, reason=str(corrupt))

    async def _replay(self, page_rows: int = REPLAY_PAGE_ROWS, until: int = POSITION_MAX) -> None:
        """Fold what is stored: check it, decode it, tell it, up to what is not as it was written."""
        while records := await self._read(self.head, until, page_rows, None):
            try:
                self._ledger.admit(records, verify=records[-1].position > self._verified_from)
            finally:
                self._tell(facts([record for record in records if record.position <= self.head]))

    async def _write(self) -> None:
        """The writer's life: batch after batch, until the log is to stop and nothing waits."""
        batch: list[Waiting] = []
        try:
            while await self._something_waits():
                batch = self._take()
                await self._commit(batch)
        except BaseException as error:  # the writer's edge: whatever it was, nobody may wait for ever
            self._fail(error, batch)
            if not isinstance(error, Exception):
                raise

    async def _something_waits(self) -> bool:
        while not (self._waiting or self._closing):
            self._wake.clear()
            await self._wake.wait()
        return bool(self._waiting)

    def _take(self) -> list[Waiting]:
        batch: list[Waiting] = []
        rows = 0
        while self._waiting and (rows := rows + len(self._waiting[0].draft.entries)) <= BATCH_ROWS_MAX:
            batch.append(self._waiting.popleft())
        return batch

    async def _commit(self, batch: Sequence[Waiting]) -> None:
        """Plan, store, tell, answer: conflicts too, so that what they collided with is known by then."""
        plan = self._ledger.plan(waiting.draft for waiting in batch)
        try:
            if plan.facts:
                await self._store([fact.record for fact in plan.facts])
        except (StorageFull, Overloaded) as refusal:
            for waiting in batch:
                waiting.refuse(refusal)
        except Conflict as conflict:
            await self._commit_one_by_one(batch, conflict)
        else:
            self._ledger.commit(plan)
            self._tell(plan.facts)
            for waiting, outcome in zip(batch, plan.outcomes, strict=True):
                waiting.answer(outcome)
            now = asyncio.get_running_loop().time()
            self._on_commit(Committed(len(plan.facts), tuple(now - waiting.since for waiting in batch)))

    async def _commit_one_by_one(self, batch: Sequence[Waiting], conflict: Conflict) -> None:
        """Find the append that collides with rows of which the ledger knows nothing."""
        if len(batch) == 1:
            batch[0].answer(conflict)
            return
        for waiting in batch:
            await self._commit([waiting])

    def _tell(self, told: Sequence[Fact]) -> None:
        if told:
            for follower in self._followers:
                follower(told)

    def _fail(self, error: BaseException, batch: Sequence[Waiting] = ()) -> None:
        """Take no more appends; those that wait are told that their outcome is unknown."""
        if isinstance(error, LogCorrupt):
            self._corruption = self._corruption or error
        failure = LogFailed(f"The event log has failed ({type(error).__name__}: {error}).")
        failure.__cause__ = error
        for waiting in (*batch, *self._waiting):
            waiting.refuse(failure)
        self._waiting.clear()
        if self._failure is None:
            self._failure = failure
            if self._on_failure:
                self._on_failure(failure)

    async def _drain(self) -> None:
        self._wake.set()
        if self._writer:
            await asyncio.wait([self._writer])
        await self._close()


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """A replay makes millions of objects and no cycles; the collector would look through them in vain."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
