"""The downloads: accept, show, list, cancel, pause, resume, retry."""

import asyncio
import re
from collections.abc import Callable
from contextlib import nullcontext
from typing import Annotated

import msgspec
from aiohttp import web

from umd.api import answers, cursors, idempotency, links, secrets, views
from umd.api.authentication import caller
from umd.api.context import CONTEXT, Context
from umd.api.decoding import NoQuery, read_body, read_query
from umd.api.owned import load_owned, visible_owner
from umd.api.past import PastQuery, require_beginning, time_at
from umd.api.request_id import REQUEST_ID
from umd.clock import rfc3339
from umd.domain import destinations, limits, validation
from umd.domain.commands import (
    AnyJobCommand,
    CancelDownload,
    PauseDownload,
    ResumeDownload,
    RetryDownload,
    ScheduleDeletion,
    SubmitDownload,
)
from umd.domain.events import Instant
from umd.domain.job import State
from umd.domain.options import DownloadRequest
from umd.errors import InvalidState, NotFound
from umd.projections.jobs import Entry
from umd.replay.past import job_at

STOP_WAIT_SEC = 10
"""An attempt's processes are gone within five seconds; twice that is a fault, and is not waited for."""

_JOB_ID = re.compile(r"[0-9a-z]{26}")


class HistoryQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which jobs to list."""

    status: tuple[views.Status, ...] = ()
    limit: Annotated[int, msgspec.Meta(ge=1, le=200)] = 50
    cursor: Annotated[str, msgspec.Meta(max_length=32)] | None = None


class DeletionRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When the files of a download are to go."""

    delete_at: Instant


async def submit(request: web.Request) -> web.Response:
    """Accept a download. With an `Idempotency-Key`, a repeat meets the job of the first time."""
    context = request.app[CONTEXT]
    read_query(request, NoQuery)
    body = await read_body(request, DownloadRequest)
    validation.check(body, context.permits)
    destinations.check_site(context.rules, body.url)
    if body.webhook_url:
        destinations.check_receiver(context.rules, body.webhook_url)
    command = _command(request, context, body)
    known = context.jobs.get(command.job_id) is not None
    if not known:
        secrets.check(request, body, command.owner)
    with nullcontext() if known else context.admission.intake():
        entry = await context.dispatcher.execute(command, correlation=request[REQUEST_ID])
    base = links.base_url(request, context.settings)
    return answers.answer(
        views.show_accepted(entry.job, context, base),
        status=202,
        headers={"Location": links.download(base, entry.job.job_id)},
    )


async def show(request: web.Request) -> web.Response:
    """A job as it is now, or as it was when the log ended at `at`."""
    context = request.app[CONTEXT]
    query = read_query(request, PastQuery)
    entry = find(request)
    if query.at is None:
        return _answer(request, context, entry)
    return await _past(request, context, entry.job.job_id, query.at)


async def _past(request: web.Request, context: Context, job_id: str, at: int) -> web.Response:
    time = await time_at(request, at)
    entry = await _entry_at(request, job_id, at)
    if entry is None:
        raise NotFound("job", job_id)
    base = links.base_url(request, context.settings)
    return answers.answer(views.show_past(entry.job, time, base, views.file_url(context, entry.job, base)))


async def _entry_at(request: web.Request, job_id: str, at: int) -> Entry | None:
    context = request.app[CONTEXT]
    now = context.jobs.require(job_id)
    if now.position <= at:
        return now
    require_beginning(request, f"job {job_id}", now.created_position)
    return await job_at(context.log, job_id, at)


async def history(request: web.Request) -> web.Response:
    """The jobs, newest first."""
    context = request.app[CONTEXT]
    query = read_query(request, HistoryQuery)
    page = context.jobs.page(
        limit=query.limit,
        before=cursors.decode(query.cursor),
        states=views.states(query.status),
        owner=visible_owner(caller(request)),
    )
    base = links.base_url(request, context.settings)
    items = [views.show(entry, context, base) for entry in page.entries]
    return answers.answer(views.DownloadList(items, cursors.encode(page.next)))


async def cancel(request: web.Request) -> web.Response:
    """Cancel a job; answers when none of its processes is left."""
    entry = await _stop(request, CancelDownload)
    gone = entry.job.state is not State.STOPPING
    return answers.answer(
        views.CancelResponse(
            entry.job.job_id,
            views.status(entry.job),
            1,
            "The job is cancelled." if gone else "The job is being cancelled; its processes still run.",
            rfc3339(request.app[CONTEXT].clock.now()),
        ),
        status=200 if gone else 202,
    )


async def pause(request: web.Request) -> web.Response:
    """Let a job rest; answers when none of its processes is left."""
    entry = await _stop(request, PauseDownload)
    return _answer(request, request.app[CONTEXT], entry)


async def resume(request: web.Request) -> web.Response:
    """Put a paused job back into the queue."""
    entry = await _execute(request, ResumeDownload)
    return _answer(request, request.app[CONTEXT], entry)


async def retry(request: web.Request) -> web.Response:
    """Put a failed or cancelled job back into the queue."""
    entry = await _execute(request, RetryDownload)
    return _answer(request, request.app[CONTEXT], entry, status=202)


async def schedule_deletion(request: web.Request) -> web.Response:
    """Let the files of a download go at another time."""
    context = request.app[CONTEXT]
    body = await read_body(request, DeletionRequest)
    validation.check_deletion(body.delete_at, context.clock.now())
    entry = await _execute(request, lambda job_id: ScheduleDeletion(job_id, body.delete_at))
    return _answer(request, context, entry)


async def cancel_deletion(request: web.Request) -> web.Response:
    """Let the files of a download stay."""
    context = request.app[CONTEXT]
    if not context.permits.endless_retention:
        raise InvalidState("The operator does not permit files that stay for ever.")
    entry = await _execute(request, lambda job_id: ScheduleDeletion(job_id, None))
    return _answer(request, context, entry)


def job_id(request: web.Request) -> str:
    """The id in the path. Raises `NotFound` for what cannot be one."""
    named = request.match_info["id"]
    if not _JOB_ID.fullmatch(named):
        raise NotFound("job", named[:64])
    return named


def find(request: web.Request) -> Entry:
    """The job that the path names, if it is the caller's. Raises `NotFound`."""
    return load_owned(request, job_id(request))


def _command(request: web.Request, context: Context, body: DownloadRequest) -> SubmitDownload:
    whose = caller(request).name
    key = idempotency.key_of(request)
    return SubmitDownload(
        context.clock.new_id() if key is None else idempotency.keyed_id(whose, key),
        request=secrets.sealed(request, body, whose),
        limits=limits.resolve(body, context.limits),
        owner=whose,
        body_hash=None if key is None else idempotency.fingerprint(body),
    )


async def _execute(request: web.Request, command: Callable[[str], AnyJobCommand]) -> Entry:
    """Execute a command on the caller's job that the path names."""
    context = request.app[CONTEXT]
    read_query(request, NoQuery)
    job_id = find(request).job.job_id
    return await context.dispatcher.execute(command(job_id), correlation=request[REQUEST_ID])


async def _stop(request: web.Request, command: Callable[[str], AnyJobCommand]) -> Entry:
    """Execute a command that ends processes, and wait until they are gone, or for too long."""
    entry = await _execute(request, command)
    jobs = request.app[CONTEXT].jobs
    try:
        async with asyncio.timeout(STOP_WAIT_SEC):
            return await jobs.when(entry.job.job_id, lambda job: job.state is not State.STOPPING)
    except TimeoutError:
        return entry


def _answer(request: web.Request, context: Context, entry: Entry, *, status: int = 200) -> web.Response:
    base = links.base_url(request, context.settings)
    return answers.encoded(views.encode_download(entry, context, base), status=status)
