"""The event streams of the API: one job's, one batch's with its jobs', and that of everything.

What a stream is made of stands in `umd.api.sse`; here stands what its topics are, and from where a client
resumes: https://html.spec.whatwg.org/multipage/server-sent-events.html#the-last-event-id-header
"""

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, get_args

import msgspec
from aiohttp import web

from umd.api import batch, batch_views, cursors, download, links, views
from umd.api import sse_frames as frames
from umd.api.authentication import caller
from umd.api.context import CONTEXT, Context
from umd.api.decoding import read_query
from umd.api.owned import owner_of, visible_owner
from umd.api.problems import HttpRefusal
from umd.api.sse import HUB
from umd.api.sse_stream import PAGE_ROWS
from umd.domain import batch as batch_rules
from umd.domain.access import Caller
from umd.domain.events import (
    BatchCancelled,
    BatchCompleted,
    BatchFailed,
    Event,
    JobCancelled,
    JobCompleted,
    JobFailed,
)
from umd.domain.job import FINAL
from umd.domain.job import stream as stream_of
from umd.log import EventLog, Record


def _tags(events: Iterable[type]) -> frozenset[str]:
    return frozenset(event.__struct_config__.tag for event in events)  # type: ignore[attr-defined]


FINAL_TYPES: Final = _tags((JobCompleted, JobFailed, JobCancelled))
BATCH_FINAL_TYPES: Final = _tags((BatchCompleted, BatchFailed, BatchCancelled))
KNOWN_TYPES: Final = _tags(get_args(Event)) | {
    frames.PROGRESS,
    "snapshot",
    "reset",
}
"""What `?types=` may name; the last two come to everybody."""


class JobEventsQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """From where to resume, and what stands for the key, for a client that cannot set headers."""

    last_event_id: str = ""
    token: str = ""


class AllEventsQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which types of events to send, from where to resume, and what stands for the key."""

    types: tuple[str, ...] = ()
    last_event_id: str = ""
    token: str = ""


@dataclass(frozen=True)
class JobTopic:
    """One job: over when the job has come to its end, until it is retried."""

    context: Context
    job_id: str
    base_url: str
    types: frozenset[str] | None = None
    final: frozenset[str] = FINAL_TYPES

    @property
    def stream(self) -> str:
        return stream_of(self.job_id)

    def shows(self, stream: str) -> bool:
        return stream == self.stream

    def snapshot(self) -> bytes:
        return views.encode_download(self.context.jobs.require(self.job_id), self.context, self.base_url)

    def is_over(self) -> bool:
        return self.context.jobs.require(self.job_id).job.state in FINAL

    async def last_word(self) -> Record | None:
        return await self.last_final(self.context.jobs.require(self.job_id).created_position)

    async def last_final(self, after: int) -> Record | None:
        """The last event behind a position that ended the job."""
        return await _last(self.context.log, self.stream, self.final, after)


@dataclass(frozen=True)
class BatchTopic:
    """One batch and all of its jobs: over when the batch has come to its end, until it is retried."""

    context: Context
    batch_id: str
    base_url: str
    types: frozenset[str] | None = None
    stream: None = None
    final: frozenset[str] = BATCH_FINAL_TYPES

    def shows(self, stream: str) -> bool:
        kind, _, name = stream.partition("-")
        if kind == "batch":
            return name == self.batch_id
        entry = self.context.jobs.get(name)
        return entry is not None and entry.job.batch_id == self.batch_id

    def snapshot(self) -> bytes:
        entry = self.context.batches.require(self.batch_id)
        return msgspec.json.encode(
            batch_views.show(entry, batch_views.known_now(self.context, self.base_url))
        )

    def is_over(self) -> bool:
        return self.context.batches.require(self.batch_id).batch.state in batch_rules.FINAL

    async def last_word(self) -> Record | None:
        return await self.last_final(self.context.batches.require(self.batch_id).created_position)

    async def last_final(self, after: int) -> Record | None:
        """The last event behind a position that ended the batch."""
        return await _last(self.context.log, batch_rules.stream(self.batch_id), self.final, after)


@dataclass(frozen=True)
class AllTopic:
    """All that the caller may see, or some types of its events: never over. Its resource is the list."""

    context: Context
    caller: Caller
    base_url: str
    types: frozenset[str] | None = None
    stream: None = None
    final: frozenset[str] = frozenset()

    def shows(self, stream: str) -> bool:
        return self.caller.sees(owner_of(self.context, stream))

    def snapshot(self) -> bytes:
        page = self.context.jobs.page(limit=download.HistoryQuery().limit, owner=visible_owner(self.caller))
        items = [views.show(entry, self.context, self.base_url) for entry in page.entries]
        return msgspec.json.encode(views.DownloadList(items, cursors.encode(page.next)))

    def is_over(self) -> bool:
        return False

    async def last_word(self) -> Record | None:
        return None


async def job_events(request: web.Request) -> web.StreamResponse:
    """The stream of one job."""
    context = request.app[CONTEXT]
    after = position(request, read_query(request, JobEventsQuery).last_event_id)
    job_id = download.find(request).job.job_id
    return await _serve(request, JobTopic(context, job_id, links.base_url(request, context.settings)), after)


async def batch_events(request: web.Request) -> web.StreamResponse:
    """The stream of one batch and of its jobs."""
    context = request.app[CONTEXT]
    after = position(request, read_query(request, JobEventsQuery).last_event_id)
    entry = batch.find(request)
    if after is not None:
        # What lies before its first row concerns it not, and need not be read.
        after = max(after, min(entry.created_position - 1, request.app[HUB].position))
    topic = BatchTopic(context, entry.batch.batch_id, links.base_url(request, context.settings))
    return await _serve(request, topic, after)


async def _serve(request: web.Request, topic: JobTopic | BatchTopic, after: int | None) -> web.StreamResponse:
    """The stream of a resource that comes to an end."""
    context, hub = request.app[CONTEXT], request.app[HUB]
    if after is not None and context.log.floor <= after <= hub.position and topic.is_over():
        ending = await topic.last_final(after)
        if ending is None and topic.is_over():
            # To an EventSource 204 says: do not connect again.
            return web.Response(status=204, headers={"Cache-Control": "no-store"})
    return await hub.serve(request, topic, after)


async def _last(log: EventLog, stream: str, types: frozenset[str], after: int) -> Record | None:
    """The last event of these types in a stream, behind a position."""
    found = None
    while records := await log.read(after, PAGE_ROWS, stream=stream):
        for record in records:
            if record.kind == "event" and record.type in types:
                found = record
        after = records[-1].position
    return found


async def all_events(request: web.Request) -> web.StreamResponse:
    """The stream of everything, or of some types of events."""
    context = request.app[CONTEXT]
    query = read_query(request, AllEventsQuery)
    base_url = links.base_url(request, context.settings)
    topic = AllTopic(context, caller(request), base_url, _known(query.types))
    return await request.app[HUB].serve(request, topic, position(request, query.last_event_id))


def position(request: web.Request, last_event_id: str) -> int | None:
    """The position from where the client resumes; what is no number is as if absent.

    The header wins: a browser sends it on reconnection, with the query of the first time still in the URL.
    """
    for text in (request.headers.get("Last-Event-ID", ""), last_event_id):
        if text.isascii() and text.isdecimal():
            return int(text) if len(text) < len(str(sys.maxsize)) else sys.maxsize
    return None


def _known(types: Iterable[str]) -> frozenset[str] | None:
    wanted = frozenset(types) - {""}
    if unknown := sorted(wanted - KNOWN_TYPES):
        raise HttpRefusal("invalid_query", f"There is no event type {unknown[0][:100]!r}.")
    return wanted or None
