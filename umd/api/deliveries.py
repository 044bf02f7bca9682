"""The webhooks of a download or a batch: what came of each, and to deliver one again."""

import msgspec
from aiohttp import web

from umd.api import answers, batch
from umd.api.context import CONTEXT
from umd.api.decoding import NoQuery, read_query
from umd.api.download import find
from umd.api.request_id import REQUEST_ID
from umd.clock import Micros, rfc3339
from umd.domain import deliveries
from umd.domain.commands import RequeueBatchDelivery, RequeueDelivery
from umd.domain.deliveries import Deliveries, Delivery, DeliveryState
from umd.domain.options import WebhookEvent


class DeliveryResponse(msgspec.Struct, frozen=True):
    """A webhook. `delivery_id` is its `webhook-id`; what is said of the last attempt is null before one."""

    delivery_id: str
    event: WebhookEvent
    state: DeliveryState
    attempts: int
    created_at: str
    next_attempt_at: str | None
    delivered_at: str | None
    last_status: int | None
    last_error: str | None


class DeliveriesResponse(msgspec.Struct, frozen=True):
    """All webhooks of a download, in the order in which they came to be."""

    request_id: str
    deliveries: list[DeliveryResponse]


class BatchDeliveriesResponse(msgspec.Struct, frozen=True):
    """All webhooks of a batch as a whole, one for each time that it came to its end."""

    batch_id: str
    deliveries: list[DeliveryResponse]


async def history(request: web.Request) -> web.Response:
    """The webhooks of a download."""
    read_query(request, NoQuery)
    job = find(request).job
    return answers.answer(DeliveriesResponse(job.job_id, _all_shown(job.job_id, job.deliveries)))


async def redeliver(request: web.Request) -> web.Response:
    """Deliver a webhook again, with a new round of attempts if it fails."""
    context = request.app[CONTEXT]
    read_query(request, NoQuery)
    job = find(request).job
    number = deliveries.named(job.deliveries, job.job_id, request.match_info["delivery_id"]).number
    command = RequeueDelivery(job.job_id, number)
    entry = await context.dispatcher.execute(command, correlation=request[REQUEST_ID])
    return answers.answer(_shown(job.job_id, entry.job.deliveries[number - 1]), status=202)


async def batch_history(request: web.Request) -> web.Response:
    """The webhooks of a batch."""
    read_query(request, NoQuery)
    whole = batch.find(request).batch
    subject = deliveries.of_batch(whole.batch_id)
    return answers.answer(BatchDeliveriesResponse(whole.batch_id, _all_shown(subject, whole.deliveries)))


async def batch_redeliver(request: web.Request) -> web.Response:
    """Deliver a batch's webhook again, with a new round of attempts if it fails."""
    context = request.app[CONTEXT]
    read_query(request, NoQuery)
    whole = batch.find(request).batch
    subject = deliveries.of_batch(whole.batch_id)
    number = deliveries.named(whole.deliveries, subject, request.match_info["delivery_id"]).number
    command = RequeueBatchDelivery(whole.batch_id, number)
    entry = await context.dispatcher.execute_batch(command, correlation=request[REQUEST_ID])
    return answers.answer(_shown(subject, entry.batch.deliveries[number - 1]), status=202)


def _all_shown(subject: str, several: Deliveries) -> list[DeliveryResponse]:
    return [_shown(subject, one) for one in several]


def _shown(subject: str, one: Delivery) -> DeliveryResponse:
    return DeliveryResponse(
        deliveries.delivery_id(subject, one.number),
        one.event,
        one.state,
        one.attempts,
        rfc3339(one.at),
        _time(one.due_at if one.state is DeliveryState.PENDING else None),
        _time(one.delivered_at),
        one.last_status,
        one.last_error,
    )


def _time(at: Micros | None) -> str | None:
    return None if at is None else rfc3339(at)
