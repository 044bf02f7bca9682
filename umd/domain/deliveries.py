"""The webhooks of one job or batch: which are due, what came of each attempt, and when the next one is.

A delivery is not stored by itself: it follows from the event that it tells of, so that no crash comes
between the two. What is stored is what came of each attempt.
"""

import hashlib
from enum import StrEnum

import msgspec
from msgspec.structs import replace

from umd.clock import SECOND, Micros, micros
from umd.domain import commands as c
from umd.domain import events as e
from umd.domain.options import MediaOptions, WebhookEvent
from umd.errors import NotFound

JITTER = 0.1
_ID_PREFIX = "msg_"


class DeliveryState(StrEnum):
    """Where a delivery is."""

    PENDING = "pending"
    DELIVERED = "delivered"
    EXHAUSTED = "exhausted"
    """Every attempt of the schedule has failed."""
    DISABLED = "disabled"
    """The receiver said 410: it wants no more of this job or batch."""


class Delivery(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One webhook. `number` counts in its job or batch, `tries` since it was last put into the queue.

    What the body tells is kept as it was, so that a late attempt tells the same as the first; `tally` is a
    batch's, `attempt`, `files` and `reason` are a job's.
    """

    number: int
    event: WebhookEvent
    at: Micros
    status: str
    attempt: int = 0
    files: tuple[e.File, ...] = ()
    error: e.Fault | None = None
    reason: e.DeletionReason | None = None
    tally: e.Tally | None = None
    state: DeliveryState = DeliveryState.PENDING
    attempts: int = 0
    tries: int = 0
    due_at: Micros
    delivered_at: Micros | None = None
    last_status: int | None = None
    last_error: str | None = None


Deliveries = tuple[Delivery, ...]


def delivery_id(subject: str, number: int) -> str:
    """The `webhook-id`: the same for every attempt, so that a receiver knows what it has already.

    The subject is a job's id, or `of_batch`.
    """
    return f"{_ID_PREFIX}{subject}_{number}"


def of_batch(batch_id: str) -> str:
    """The subject of a batch's webhooks: one `Idempotency-Key` gives a job and a batch the same id."""
    return f"batch_{batch_id}"


def named(deliveries: Deliveries, subject: str, name: str) -> Delivery:
    """The delivery with this id. Raises `NotFound`."""
    for one in deliveries:
        if delivery_id(subject, one.number) == name:
            return one
    raise NotFound("delivery", name[:64])


def wants(options: MediaOptions, event: WebhookEvent) -> bool:
    """Whether a request asks for this webhook."""
    asked = options.webhook_url is not None
    return asked and (options.webhook_events is None or event in options.webhook_events)


def due(deliveries: Deliveries) -> Deliveries:
    """Those that are still to be delivered."""
    return tuple(one for one in deliveries if one.state is DeliveryState.PENDING)


def all_sent(deliveries: Deliveries) -> bool:
    """Whether everything that there was to tell has arrived."""
    return bool(deliveries) and all(one.state is DeliveryState.DELIVERED for one in deliveries)


def wait(delivery_id: str, tries: int, schedule_sec: tuple[int, ...]) -> Micros | None:
    """The wait before the attempt that follows `tries` failed ones, give or take a tenth.

    None where the schedule is at its end. The jitter is drawn from the id, so that it can be told before.
    """
    if tries >= len(schedule_sec):
        return None
    draw = hashlib.blake2b(f"{delivery_id}/{tries}".encode(), digest_size=4).digest()
    spread = (int.from_bytes(draw, "big") / 2**32 * 2 - 1) * JITTER
    return round(schedule_sec[tries] * (1 + spread) * SECOND)


def decide(deliveries: Deliveries, subject: str, command: c.DeliveryCommand) -> tuple[e.WebhookEvents, ...]:
    """What comes of a command. No events means that it is done already. Raises `NotFound`."""
    delivery = find(deliveries, subject, command.delivery)
    match command:
        case c.RequeueDelivery() | c.RequeueBatchDelivery():
            is_pending = delivery.state is DeliveryState.PENDING
            return () if is_pending else (e.WebhookRequeued(command.delivery),)
        case c.RecordDelivered() | c.RecordBatchDelivered() if _is_next(delivery, command.attempt):
            return (
                e.WebhookDelivered(command.delivery, command.attempt, command.status, command.duration_ms),
            )
        case c.RecordDeliveryFailed() | c.RecordBatchDeliveryFailed() if _is_next(delivery, command.attempt):
            return (
                e.WebhookFailed(
                    command.delivery,
                    command.attempt,
                    command.reason,
                    command.duration_ms,
                    command.status,
                    None if command.gone else command.retry_at,
                    command.gone,
                ),
            )
        case _:
            return ()


def evolve(deliveries: Deliveries, event: e.WebhookEvents, at: Micros) -> Deliveries:
    """The deliveries after an event of theirs."""
    gone = isinstance(event, e.WebhookFailed) and event.gone
    return tuple(
        _evolve(one, event, at)
        if one.number == event.delivery
        else replace(one, state=DeliveryState.DISABLED)
        if gone and one.state is DeliveryState.PENDING
        else one
        for one in deliveries
    )


def find(deliveries: Deliveries, subject: str, number: int) -> Delivery:
    """The delivery with this number. Raises `NotFound`."""
    if not 1 <= number <= len(deliveries):
        raise NotFound("delivery", delivery_id(subject, number))
    return deliveries[number - 1]


def _is_next(delivery: Delivery, attempt: int) -> bool:
    return delivery.state is DeliveryState.PENDING and attempt == delivery.attempts + 1


def _evolve(one: Delivery, event: e.WebhookEvents, at: Micros) -> Delivery:
    match event:
        case e.WebhookRequeued():
            return replace(one, state=DeliveryState.PENDING, tries=0, due_at=at)
        case e.WebhookDelivered():
            return replace(
                _tried(one, event),
                state=DeliveryState.DELIVERED,
                delivered_at=at,
                last_error=None,
            )
        case e.WebhookFailed(retry_at=None):
            state = DeliveryState.DISABLED if event.gone else DeliveryState.EXHAUSTED
            return replace(_tried(one, event), state=state, last_error=event.reason)
        case e.WebhookFailed():
            due_at = one.due_at if event.retry_at is None else micros(event.retry_at)
            return replace(_tried(one, event), due_at=due_at, last_error=event.reason)


def _tried(one: Delivery, event: e.WebhookDelivered | e.WebhookFailed) -> Delivery:
    return replace(one, attempts=event.attempt, tries=one.tries + 1, last_status=event.status)
