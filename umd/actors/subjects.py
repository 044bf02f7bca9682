"""What webhooks tell of: a download, or a whole batch. Each keeps its deliveries in its own stream."""

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from umd.dispatcher import Dispatcher
from umd.domain import batch as batch_rules
from umd.domain import commands as c
from umd.domain import deliveries, webhooks
from umd.domain import job as job_rules
from umd.domain.batch import Batch
from umd.domain.deliveries import Deliveries, Delivery
from umd.domain.events import Instant
from umd.domain.job import Job
from umd.domain.options import MediaOptions
from umd.errors import NotFound
from umd.projections.batches import Batches
from umd.projections.jobs import Jobs


class Outcome(msgspec.Struct, frozen=True):
    """What came of an attempt at a delivery; `reason` is why it failed, and empty where it did not."""

    delivery: int
    attempt: int
    status: int | None
    duration_ms: int
    reason: str = ""
    retry_at: Instant | None = None
    gone: bool = False


@dataclass(frozen=True)
class JobSubject:
    """A download, as it is now. `name` is what its `webhook-id`s are made of."""

    job: Job

    @property
    def stream(self) -> str:
        return job_rules.stream(self.job.job_id)

    @property
    def name(self) -> str:
        return self.job.job_id

    @property
    def owner(self) -> str:
        return self.job.owner

    @property
    def options(self) -> MediaOptions:
        return self.job.request

    @property
    def deliveries(self) -> Deliveries:
        return self.job.deliveries

    def body(self, delivery: Delivery, base_url: str) -> bytes:
        return webhooks.body(self.job, delivery, base_url)


@dataclass(frozen=True)
class BatchSubject:
    """A batch, in the same way."""

    batch: Batch

    @property
    def stream(self) -> str:
        return batch_rules.stream(self.batch.batch_id)

    @property
    def name(self) -> str:
        return deliveries.of_batch(self.batch.batch_id)

    @property
    def owner(self) -> str:
        return self.batch.owner

    @property
    def options(self) -> MediaOptions:
        return self.batch.order.request

    @property
    def deliveries(self) -> Deliveries:
        return self.batch.deliveries

    def body(self, delivery: Delivery, base_url: str) -> bytes:
        return webhooks.batch_body(self.batch, delivery, base_url)


Subject = JobSubject | BatchSubject


class Subjects:
    """All of them by the names of their streams."""

    def __init__(self, dispatcher: Dispatcher, jobs: Jobs, batches: Batches) -> None:
        self._dispatcher = dispatcher
        self._jobs = jobs
        self._batches = batches

    def get(self, stream: str) -> Subject | None:
        """What this stream is of, if webhooks tell of it."""
        if stream.startswith(batch_rules.PREFIX):
            whole = self._batches.get(stream.removeprefix(batch_rules.PREFIX))
            return None if whole is None else BatchSubject(whole.batch)
        entry = self._jobs.get(stream.removeprefix(job_rules.PREFIX))
        return None if entry is None else JobSubject(entry.job)

    def require(self, stream: str) -> Subject:
        """What this stream is of. Raises `NotFound`."""
        subject = self.get(stream)
        if subject is None:
            raise NotFound("stream", stream)
        return subject

    def all(self) -> Iterator[Subject]:
        """The downloads, then the batches, oldest first."""
        yield from (JobSubject(entry.job) for entry in self._jobs.in_creation_order())
        yield from (BatchSubject(entry.batch) for entry in self._batches.in_creation_order())

    async def record(self, subject: Subject, outcome: Outcome) -> None:
        """Store what came of an attempt. Raises what the dispatcher raises."""
        match subject:
            case JobSubject(job):
                await self._dispatcher.execute(_of_job(job.job_id, outcome))
            case BatchSubject(batch):
                await self._dispatcher.execute_batch(_of_batch(batch.batch_id, outcome))


def _of_job(job_id: str, told: Outcome) -> c.AnyJobCommand:
    if told.status is not None and not told.reason:
        return c.RecordDelivered(job_id, told.delivery, told.attempt, told.status, told.duration_ms)
    return c.RecordDeliveryFailed(job_id, *_failure(told))


def _of_batch(batch_id: str, told: Outcome) -> c.AnyBatchCommand:
    if told.status is not None and not told.reason:
        return c.RecordBatchDelivered(batch_id, told.delivery, told.attempt, told.status, told.duration_ms)
    return c.RecordBatchDeliveryFailed(batch_id, *_failure(told))


def _failure(told: Outcome) -> tuple[int, int, str, int, int | None, Instant | None, bool]:
    """What both commands say of it, in their order."""
    return (
        told.delivery,
        told.attempt,
        told.reason,
        told.duration_ms,
        told.status,
        told.retry_at,
        told.gone,
    )
