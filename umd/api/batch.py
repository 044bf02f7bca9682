"""The batches: accept one of each kind, show, list, cancel, retry."""

import asyncio
import re
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Annotated, TypeVar

import msgspec
from aiohttp import web

from umd.api import answers, batch_views, cursors, idempotency, links, secrets, views
from umd.api.authentication import caller
from umd.api.context import CONTEXT, Context
from umd.api.decoding import NoQuery, read_body, read_query
from umd.api.download import STOP_WAIT_SEC
from umd.api.owned import load_owned_batch, visible_owner
from umd.api.past import PastQuery, require_beginning, time_at
from umd.api.request_id import REQUEST_ID
from umd.clock import rfc3339
from umd.domain import batch_validation, destinations, limits
from umd.domain.batch import FINAL
from umd.domain.commands import AnyBatchCommand, CancelBatch, RetryBatch, SubmitBatch
from umd.domain.options import (
    AnyBatchRequest,
    BatchDownloadRequest,
    BatchOrder,
    ChannelDownloadRequest,
    PlaylistDownloadRequest,
)
from umd.errors import NotFound
from umd.live import Live
from umd.projections.batches import BatchEntry
from umd.replay.past import batch_at

R = TypeVar("R", BatchDownloadRequest, PlaylistDownloadRequest, ChannelDownloadRequest)

_BATCH_ID = re.compile(r"[0-9a-z]{26}")


class BatchesQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which batches to list."""

    status: tuple[batch_views.BatchStatus, ...] = ()
    limit: Annotated[int, msgspec.Meta(ge=1, le=200)] = 50
    cursor: Annotated[str, msgspec.Meta(max_length=32)] | None = None


async def submit_batch(request: web.Request) -> web.Response:
    """Accept a batch of addresses."""
    return await _submit(request, BatchDownloadRequest)


async def submit_playlist(request: web.Request) -> web.Response:
    """Accept a playlist; its site is asked later."""
    return await _submit(request, PlaylistDownloadRequest)


async def submit_channel(request: web.Request) -> web.Response:
    """Accept a channel; its site is asked later."""
    return await _submit(request, ChannelDownloadRequest)


async def show(request: web.Request) -> web.Response:
    """A batch with each of its jobs, as it is now, or as it was when the log ended at `at`."""
    at = read_query(request, PastQuery).at
    entry = find(request)
    if at is None:
        return _answer(request, entry)
    time = await time_at(request, at)
    require_beginning(request, f"batch {entry.batch.batch_id}", entry.created_position)
    past = await batch_at(request.app[CONTEXT].log, entry.batch.batch_id, at)
    known = replace(_known(request), batches=past.batches, jobs=past.jobs, at=time, live=Live())
    return answers.answer(batch_views.show(past.batches.require(entry.batch.batch_id), known))


async def history(request: web.Request) -> web.Response:
    """The batches, newest first."""
    context = request.app[CONTEXT]
    query = read_query(request, BatchesQuery)
    page = context.batches.page(
        limit=query.limit,
        before=cursors.decode(query.cursor),
        owner=visible_owner(caller(request)),
        wanted=lambda batch: not query.status or batch_views.status(batch) in query.status,
    )
    known = _known(request)
    items = [batch_views.summarize(entry, known) for entry in page.entries]
    return answers.answer(batch_views.BatchList(items, cursors.encode(page.next)))


async def cancel(request: web.Request) -> web.Response:
    """Cancel a batch; answers when no process of its jobs is left."""
    context = request.app[CONTEXT]
    entry = await _execute(request, CancelBatch)
    try:
        async with asyncio.timeout(STOP_WAIT_SEC):
            entry = await context.batches.when(entry.batch.batch_id, lambda batch: batch.state in FINAL)
    except TimeoutError:
        pass
    gone = entry.batch.state in FINAL
    summary = batch_views.summarize(entry, _known(request))
    return answers.answer(
        views.CancelResponse(
            entry.batch.batch_id,
            summary.status,
            summary.cancelled_jobs,
            "The batch is cancelled." if gone else "The batch is being cancelled; some processes still run.",
            rfc3339(context.clock.now()),
        ),
        status=200 if gone else 202,
    )


async def retry(request: web.Request) -> web.Response:
    """Try again what failed or was cancelled."""
    context = request.app[CONTEXT]
    with context.batch_crew.intake():
        entry = await _execute(request, RetryBatch)
    return _answer(request, entry, status=202)


def batch_id(request: web.Request) -> str:
    """The id in the path. Raises `NotFound` for what cannot be one."""
    named = request.match_info["id"]
    if not _BATCH_ID.fullmatch(named):
        raise NotFound("batch", named[:64])
    return named


def find(request: web.Request) -> BatchEntry:
    """The batch that the path names, if it is the caller's. Raises `NotFound`."""
    return load_owned_batch(request, batch_id(request))


async def _submit(request: web.Request, into: type[R]) -> web.Response:
    """Store the request, and nothing else: its list is read, and its jobs are made, by its actor."""
    context = request.app[CONTEXT]
    read_query(request, NoQuery)
    body = await read_body(request, into)
    batch_validation.check(body, context.permits)
    _check_destinations(context, body)
    command = _command(request, context, body)
    known = context.batches.get(command.batch_id) is not None
    if not known:
        secrets.check(request, body, command.owner)
    with nullcontext() if known else context.batch_crew.intake():
        entry = await context.dispatcher.execute_batch(command, correlation=request[REQUEST_ID])
    location = links.batch(links.base_url(request, context.settings), entry.batch.batch_id)
    return answers.answer(batch_views.show_accepted(entry.batch), status=202, headers={"Location": location})


def _check_destinations(context: Context, body: AnyBatchRequest) -> None:
    """The refusal at the door, for every address that the request names."""
    destinations.check_site(
        context.rules, *(body.urls if isinstance(body, BatchDownloadRequest) else (body.url,))
    )
    if body.webhook_url:
        destinations.check_receiver(context.rules, body.webhook_url)


def _command(request: web.Request, context: Context, body: AnyBatchRequest) -> SubmitBatch:
    whose = caller(request).name
    key = idempotency.key_of(request)
    order = BatchOrder.of(secrets.sealed(request, body, whose))
    return SubmitBatch(
        context.clock.new_id() if key is None else idempotency.keyed_id(whose, key),
        order=order,
        limits=limits.resolve(body, context.limits),
        owner=whose,
        body_hash=None if key is None else idempotency.fingerprint(body, order.kind),
    )


async def _execute(request: web.Request, command: Callable[[str], AnyBatchCommand]) -> BatchEntry:
    """Execute a command on the caller's batch that the path names."""
    context = request.app[CONTEXT]
    read_query(request, NoQuery)
    named = find(request).batch.batch_id
    return await context.dispatcher.execute_batch(command(named), correlation=request[REQUEST_ID])


def _answer(request: web.Request, entry: BatchEntry, *, status: int = 200) -> web.Response:
    return answers.answer(batch_views.show(entry, _known(request)), status=status)


def _known(request: web.Request) -> batch_views.Known:
    context = request.app[CONTEXT]
    return batch_views.known_now(context, links.base_url(request, context.settings))
