"""The rules of one batch: from a request to its items, and from their ends to its own.

    SubmitBatch ─▶ expanding ── EndListing ─▶ running ── EndBatch ─▶ completed, failed
                     ▲   │                     ▲  │                    │
                     │   └── Cancel, StopBatch ┼──┴─▶ stopping ──▶ cancelled, failed
                     └──────── RetryBatch ─────┴───────────────────────┘

A batch of addresses knows its items from the beginning. The downloads themselves are jobs with streams of
their own; what they come to is told to `EndBatch`.
"""

from enum import StrEnum
from hashlib import blake2b

import msgspec
from msgspec.structs import replace

from umd.clock import Micros, encode_id
from umd.domain import commands as c
from umd.domain import deliveries
from umd.domain import events as e
from umd.domain.deliveries import Deliveries, Delivery, DeliveryState
from umd.domain.options import BatchDownloadRequest, BatchOrder, DownloadRequest, MediaOptions
from umd.errors import IdempotencyKeyReused, InvalidState, NotFound


class BatchState(StrEnum):
    """Where a batch is. Until it has started the wire shows the first two as `queued`, then as `running`."""

    EXPANDING = "expanding"
    RUNNING = "running"
    STOPPING = "stopping"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


_ENDS = (e.BatchCompleted, e.BatchFailed, e.BatchCancelled)
FINAL = frozenset({BatchState.COMPLETED, BatchState.FAILED, BatchState.CANCELLED})


class Batch(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """All that is known of a batch: the fold of its events."""

    batch_id: str
    state: BatchState
    order: BatchOrder
    limits: e.Limits
    owner: str
    created_at: Micros
    body_hash: str | None = None
    title: str | None = None
    items: tuple[e.BatchItem, ...] = ()
    skipped: int = 0
    expanded: bool = False
    listing_error: e.Fault | None = None
    left_out: int = 0
    started_at: Micros | None = None
    ended_at: Micros | None = None
    retried_at: Micros | None = None
    stop_reason: e.BatchStopReason | None = None
    tally: e.Tally | None = None
    error: e.Fault | None = None
    deliveries: Deliveries = ()
    receiver_gone: bool = False


PREFIX = "batch-"
"""The beginning of the name of every batch's stream."""


def stream(batch_id: str) -> str:
    """The name of a batch's stream in the log."""
    return f"{PREFIX}{batch_id}"


def child_id(batch_id: str, item: e.ListedItem) -> str:
    """The id of an item's job: the same each time, so that a crash in the middle doubles nothing."""
    return encode_id(blake2b(f"{batch_id}\0{identity(item)}".encode(), digest_size=16).digest())


def identity(item: e.ListedItem) -> str:
    """What makes two entries of a list the same item."""
    return f"{item.extractor}\0{item.id}" if item.extractor and item.id else item.url


def child_request(batch: Batch, item: e.ListedItem) -> DownloadRequest:
    """The request of an item's job: the batch's options, and the item's address."""
    request = batch.order.request
    return DownloadRequest(
        url=item.url, **{name: getattr(request, name) for name in MediaOptions.__struct_fields__}
    )


def membership(batch: Batch, item: e.ListedItem) -> e.Membership | None:
    """What an item's job is to know of the list; a batch of addresses is no list."""
    if batch.order.kind == "batch":
        return None
    return e.Membership(batch.title, item.index, item.uploader)


def decide(batch: Batch | None, command: c.AnyBatchCommand) -> tuple[e.AnyBatchEvent, ...]:
    """What comes of a command. No events means that it is done already.

    Raises a `Refused` error when the state does not allow it.
    """
    if isinstance(command, c.SubmitBatch):
        return _submit(batch, command)
    if batch is None:
        raise NotFound("batch", command.batch_id)
    match command:
        case c.StartBatch():
            return () if batch.started_at is not None else (e.BatchStarted(),)
        case c.RecordItems():
            return _record(batch, command)
        case c.EndListing():
            return _end_listing(batch, command)
        case c.CancelBatch():
            return _cancel(batch)
        case c.StopBatch():
            return _stop(batch)
        case c.EndBatch():
            return _end(batch, command)
        case c.RetryBatch():
            return _retry(batch)
        case c.RecordBatchDelivered() | c.RecordBatchDeliveryFailed() | c.RequeueBatchDelivery():
            return deliveries.decide(batch.deliveries, deliveries.of_batch(batch.batch_id), command)


def _submit(batch: Batch | None, command: c.SubmitBatch) -> tuple[e.AnyBatchEvent, ...]:
    if batch is None:
        queued = e.BatchQueued(
            command.batch_id, command.order, command.limits, command.owner, command.body_hash
        )
        return (queued, *_addresses(command))
    if batch.body_hash is None or batch.body_hash != command.body_hash:
        raise IdempotencyKeyReused("This Idempotency-Key was used with another request.")
    return ()


def _addresses(command: c.SubmitBatch) -> tuple[e.AnyBatchEvent, ...]:
    """A batch of addresses is its own list."""
    if command.order.batch is None:
        return ()
    listed = (e.ListedItem(url, index) for index, url in enumerate(command.order.batch.urls, 1))
    items = tuple(e.BatchItem(child_id(command.batch_id, item), item) for item in listed)
    return (e.BatchListed(items), e.BatchExpanded())


def _record(batch: Batch, command: c.RecordItems) -> tuple[e.AnyBatchEvent, ...]:
    if batch.state is not BatchState.EXPANDING:
        raise _refused(batch, "have more items")
    known = {identity(one.item) for one in batch.items}
    fresh = []
    for one in command.items:
        name = identity(one.item)
        if name not in known:
            known.add(name)
            fresh.append(one)
    is_news = fresh or (command.title is not None and command.title != batch.title)
    return (e.BatchListed(tuple(fresh), command.title),) if is_news else ()


def _end_listing(batch: Batch, command: c.EndListing) -> tuple[e.AnyBatchEvent, ...]:
    if batch.state is not BatchState.EXPANDING:
        raise _refused(batch, "end its listing")
    return (e.BatchExpanded(command.error, command.left_out),)


def _cancel(batch: Batch) -> tuple[e.AnyBatchEvent, ...]:
    match batch.state:
        case BatchState.EXPANDING | BatchState.RUNNING:
            return (e.BatchStopping("cancel"),)
        case BatchState.STOPPING:
            return () if batch.stop_reason == "cancel" else (e.BatchStopping("cancel"),)
        case BatchState.CANCELLED:
            return ()
        case BatchState.COMPLETED | BatchState.FAILED:
            raise _refused(batch, "be cancelled")


def _stop(batch: Batch) -> tuple[e.AnyBatchEvent, ...]:
    match batch.state:
        case BatchState.EXPANDING | BatchState.RUNNING:
            return (e.BatchStopping("error"),)
        case BatchState.STOPPING:
            return ()
        case BatchState.COMPLETED | BatchState.FAILED | BatchState.CANCELLED:
            raise _refused(batch, "stop")


def _end(batch: Batch, command: c.EndBatch) -> tuple[e.AnyBatchEvent, ...]:
    if batch.state not in (BatchState.RUNNING, BatchState.STOPPING):
        raise _refused(batch, "end")
    if batch.stop_reason == "cancel":
        return (e.BatchCancelled(command.tally),)
    error = _error(batch, command)
    return (e.BatchCompleted(command.tally),) if error is None else (e.BatchFailed(error, command.tally),)


def _error(batch: Batch, command: c.EndBatch) -> e.Fault | None:
    """What makes the whole fail: its list, the item that stopped it, or failures that are not to be ignored.

    Failed items are ignored as long as there is one that did not fail.
    """
    tally, first = command.tally, command.first_error
    if batch.listing_error is not None:
        return batch.listing_error
    if first is None:
        return None
    is_all = tally.completed + tally.skipped == 0
    if batch.order.request.ignore_errors and batch.stop_reason is None and not is_all:
        return None
    total = tally.completed + tally.failed + tally.cancelled + tally.skipped
    message = f"{tally.failed} of {total} items failed. The first: {first.message}"
    return e.Fault(first.code, message, first.retryable)


def _retry(batch: Batch) -> tuple[e.AnyBatchEvent, ...]:
    if batch.state not in FINAL:
        return ()
    tally = batch.tally or e.Tally()
    if batch.listing_error is None and batch.expanded and not tally.failed and not tally.cancelled:
        raise InvalidState(f"Batch {batch.batch_id} has nothing that failed or was cancelled.")
    return (e.BatchRetrying(),)


def _refused(batch: Batch, what: str) -> InvalidState:
    return InvalidState(f"Batch {batch.batch_id} is {batch.state} and cannot {what}.")


def evolve(batch: Batch | None, event: e.AnyBatchEvent, at: Micros) -> Batch:
    """The batch after an event. Total over all events that `decide` can give."""
    if isinstance(event, e.BatchQueued):
        return _queued(event, at)
    assert batch is not None, "a stream begins with batch.queued"  # noqa: S101  # an invariant of the log

    after = _evolve(batch, event, at)
    return _announce(after, at) if isinstance(event, _ENDS) else after


def _evolve(batch: Batch, event: e.AnyBatchEvent, at: Micros) -> Batch:
    match event:
        case e.BatchQueued():
            return batch
        case e.BatchStarted():
            return replace(batch, started_at=at)
        case e.BatchListed():
            return _listed(batch, event)
        case e.BatchExpanded():
            return replace(
                batch,
                state=BatchState.RUNNING,
                expanded=event.error is None,
                listing_error=event.error,
                left_out=event.left_out,
            )
        case e.BatchStopping():
            return replace(batch, state=BatchState.STOPPING, stop_reason=event.reason)
        case e.BatchCompleted():
            return replace(batch, state=BatchState.COMPLETED, tally=event.tally, ended_at=at)
        case e.BatchFailed():
            return replace(batch, state=BatchState.FAILED, tally=event.tally, error=event.error, ended_at=at)
        case e.BatchCancelled():
            return replace(batch, state=BatchState.CANCELLED, tally=event.tally, ended_at=at)
        case e.BatchRetrying():
            return _retried(batch, at)
        case e.WebhookDelivered() | e.WebhookFailed() | e.WebhookRequeued():
            gone = batch.receiver_gone or (isinstance(event, e.WebhookFailed) and event.gone)
            noted = deliveries.evolve(batch.deliveries, event, at)
            return replace(batch, deliveries=noted, receiver_gone=gone)


def _announce(batch: Batch, at: Micros) -> Batch:
    """The batch, which has come to its end, with the webhook that tells of it, if its request wants one."""
    if not deliveries.wants(batch.order.request, "batch.completed"):
        return batch
    delivery = Delivery(
        number=len(batch.deliveries) + 1,
        event="batch.completed",
        at=at,
        status=batch.state,
        error=batch.error,
        tally=batch.tally,
        state=DeliveryState.DISABLED if batch.receiver_gone else DeliveryState.PENDING,
        due_at=at,
    )
    return replace(batch, deliveries=(*batch.deliveries, delivery))


def _queued(event: e.BatchQueued, at: Micros) -> Batch:
    return Batch(
        batch_id=event.batch_id,
        state=BatchState.EXPANDING,
        order=event.order,
        limits=event.limits,
        owner=event.owner,
        created_at=at,
        body_hash=event.body_hash,
    )


def _listed(batch: Batch, event: e.BatchListed) -> Batch:
    return replace(
        batch,
        items=batch.items + event.items,
        skipped=batch.skipped + sum(one.skipped for one in event.items),
        title=event.title or batch.title,
    )


def _retried(batch: Batch, at: Micros) -> Batch:
    """Under way again; a list that was not read to its end is read again."""
    return replace(
        batch,
        state=BatchState.RUNNING if batch.expanded else BatchState.EXPANDING,
        listing_error=None,
        retried_at=at,
        ended_at=None,
        stop_reason=None,
        tally=None,
        error=None,
    )


def stops_on_error(batch: Batch) -> bool:
    """Whether the first item that fails is to end the whole."""
    request = batch.order.request
    return isinstance(request, BatchDownloadRequest) and request.stop_on_error
