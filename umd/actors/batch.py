"""One batch under way: have its list read, keep a few of its jobs in the queue, tell how it ended."""

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import suppress

import structlog

from umd.actors.actor import Actor
from umd.actors.expansion import SPACE_WAIT_SEC, BatchOffice, Expansion
from umd.domain import batch as rules
from umd.domain import commands as c
from umd.domain.batch import Batch, BatchState
from umd.domain.events import BatchItem, Fault, Tally
from umd.domain.job import Job, State
from umd.errors import InvalidState, QueueFull, StorageFull

QUEUE_WAIT_SEC = 1.0
"""How long a full queue is left alone."""

_log = structlog.get_logger(__name__)


class BatchActor(Actor[None]):
    """Carries one batch from its first item to its end. All that it knows is the fold of the log.

    So it may be interrupted anywhere and begun again: items that are listed stay, and each has one job whose
    id follows from it. A change wakes it, so that its mailbox stays empty however much happens.
    """

    def __init__(self, batch_id: str, office: BatchOffice) -> None:
        super().__init__(f"batch-{batch_id}")
        self._id = batch_id
        self._office = office
        self._changed = asyncio.Event()
        self._seen = 0
        self._due: deque[BatchItem] = deque()
        self._expanding: asyncio.Task[None] | None = None

    def wake(self) -> None:
        """Something of the batch or of its jobs has changed."""
        self._changed.set()

    async def run(self) -> None:
        """The whole batch, to its end."""
        with structlog.contextvars.bound_contextvars(batch_id=self._id):
            self._seen, self._due = 0, deque()
            await self._office.execute(c.StartBatch(self._id))
            if self._batch.state is BatchState.EXPANDING:
                self._expanding = asyncio.create_task(
                    Expansion(self._id, self._office).run(), name=f"{self.name}/listing"
                )
                self._expanding.add_done_callback(lambda _: self.wake())
            try:
                await self._work()
            finally:
                await self._end_expansion()

    @property
    def _batch(self) -> Batch:
        return self._office.batches.require(self._id).batch

    # The jobs

    async def _work(self) -> None:
        """Do what the state asks for, wait for a change, again."""
        while (batch := self._batch).state not in rules.FINAL:
            self._changed.clear()
            self._raise_what_broke()
            if batch.state is BatchState.STOPPING:
                await self._stop_jobs()
            elif self._has_to_stop(batch):
                await self._office.execute(c.StopBatch(self._id))
            else:
                await self._submit_due(batch)
            if self._is_at_its_end(self._batch):
                await self._conclude(self._batch)
            else:
                await self._changed.wait()

    def _raise_what_broke(self) -> None:
        expanding = self._expanding
        if expanding is not None and expanding.done() and not expanding.cancelled():
            expanding.result()

    async def _submit_due(self, batch: Batch) -> None:
        """Have as many jobs under way as the batch may have. The others do not burden the queue."""
        self._take_news(batch)
        room = batch.order.request.concurrent_limit - self._under_way()
        some = [self._due.popleft() for _ in range(min(room, len(self._due)))]
        refused = [one for one in await asyncio.gather(*map(self._submit, some)) if one is not None]
        if refused:
            self._due.extendleft(reversed(refused))
            asyncio.get_running_loop().call_later(QUEUE_WAIT_SEC, self.wake)

    async def _submit(self, one: BatchItem) -> BatchItem | None:
        """Put an item's job into the queue; gives the item back where the queue has no room."""
        batch = self._batch
        try:
            with self._office.admission.intake():
                if self._office.jobs.get(one.job_id) is not None:
                    await self._execute_job(c.RetryDownload(one.job_id))
                else:
                    await self._execute_job(self._submission(batch, one))
        except (QueueFull, StorageFull):
            return one
        except InvalidState as overtaken:
            _log.info("batch.job_overtaken", job_id=one.job_id, reason=str(overtaken))
        return None

    def _submission(self, batch: Batch, one: BatchItem) -> c.SubmitDownload:
        return c.SubmitDownload(
            one.job_id,
            request=rules.child_request(batch, one.item),
            limits=batch.limits,
            owner=batch.owner,
            batch_id=self._id,
            member=rules.membership(batch, one.item),
        )

    async def _stop_jobs(self) -> None:
        """Cancel all that has not ended; the jobs' own actors end their processes."""
        await self._end_expansion()
        self._take_news(self._batch)
        await asyncio.gather(*map(self._cancel, self._office.batches.unended(self._id)))

    async def _cancel(self, job_id: str) -> None:
        with suppress(InvalidState):  # it came to its end in this very moment
            await self._execute_job(c.CancelDownload(job_id))

    def _take_news(self, batch: Batch) -> None:
        """Line up the items that came since the last time."""
        news = batch.items[self._seen :]
        self._seen += len(news)
        self._due.extend(one for one in news if not one.skipped and self._is_due(batch, one))

    def _is_due(self, batch: Batch, one: BatchItem) -> bool:
        """Whether an item has no job yet, or one that a retry of the whole asks for again."""
        job = self._job(one)
        if job is None:
            return True
        asked = batch.retried_at
        ended = job.ended_at if job.state in (State.FAILED, State.CANCELLED) else None
        return asked is not None and ended is not None and ended <= asked

    def _under_way(self) -> int:
        """Jobs that count against the limit; one that rests does not."""
        counts = self._office.batches.counts(self._id)
        return counts[State.QUEUED] + counts[State.RUNNING] + counts[State.STOPPING]

    # The end

    def _has_to_stop(self, batch: Batch) -> bool:
        if not rules.stops_on_error(batch) or not self._office.batches.counts(self._id)[State.FAILED]:
            return False
        return any(
            job.state is State.FAILED and not self._is_due(batch, one) for one, job in self._all(batch)
        )

    def _is_at_its_end(self, batch: Batch) -> bool:
        unended = self._office.batches.unended(self._id)
        if batch.state is BatchState.STOPPING:
            return not unended and (self._expanding is None or self._expanding.done())
        self._take_news(batch)
        return batch.state is BatchState.RUNNING and not unended and not self._due

    async def _conclude(self, batch: Batch) -> None:
        """End it. While the volume is full jobs may be retried: all is looked at anew before the next try."""
        command = c.EndBatch(self._id, self._tally(batch), self._first_error(batch))
        try:
            entry = await self._office.dispatcher.execute_batch(command)
        except StorageFull:
            await asyncio.sleep(SPACE_WAIT_SEC)
            return
        _log.info("batch.ended", state=entry.batch.state, items=len(batch.items))

    def _tally(self, batch: Batch) -> Tally:
        """Items that never had a job are cancelled with the rest."""
        counts = self._office.batches.counts(self._id)
        completed, failed = counts[State.COMPLETED], counts[State.FAILED]
        return Tally(completed, failed, len(batch.items) - batch.skipped - completed - failed, batch.skipped)

    def _first_error(self, batch: Batch) -> Fault | None:
        return next((job.error for _, job in self._all(batch) if job.state is State.FAILED), None)

    def _all(self, batch: Batch) -> Iterator[tuple[BatchItem, Job]]:
        """The batch's own jobs, in the order of its items."""
        for one in batch.items:
            job = None if one.skipped else self._job(one)
            if job is not None:
                yield one, job

    def _job(self, one: BatchItem) -> Job | None:
        entry = self._office.jobs.get(one.job_id)
        return entry.job if entry is not None else None

    async def _end_expansion(self) -> None:
        """Interrupt it; what had broken it before was said already, or is overtaken."""
        if self._expanding is not None and not self._expanding.done():
            self._expanding.cancel()
            await asyncio.wait([self._expanding])
        if self._expanding is not None and not self._expanding.cancelled():
            self._expanding.exception()

    async def _execute_job(self, command: c.AnyJobCommand) -> None:
        correlation = self._office.batches.require(self._id).correlation
        await self._office.dispatcher.execute(command, correlation=correlation)
