"""The probes: what a site has, before anything is downloaded."""

from typing import Annotated, Any, TypeVar

import msgspec
from aiohttp import web

from umd.actors.probes import Question, failure
from umd.api import answers, probe_views
from umd.api.authentication import caller
from umd.api.context import CONTEXT, Context
from umd.api.decoding import read_query
from umd.api.problems import HttpRefusal
from umd.clock import SECOND, rfc3339
from umd.domain import batch_validation, destinations, urls
from umd.domain.faults import fault
from umd.domain.options import ChannelDownloadRequest, Count, Date, SortField, SortOrder, Url
from umd.errors import InvalidInput

PAGE_MAX = 1_000_000
A_LIST = "This address is a list of several items; GET /api/v1/playlist/preview shows them."

_BOUNDS = ("date_after", "date_before", "min_duration", "max_duration", "min_views", "max_views")


class ProbeQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every probe asks."""

    url: Url
    cookies_id: Annotated[str, msgspec.Meta(min_length=1, max_length=64)] | None = None


class MetadataQuery(ProbeQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One item, and whether yt-dlp's own words are wanted."""

    raw: bool = False


class PreviewQuery(ProbeQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A page of a list."""

    page: Annotated[int, msgspec.Meta(ge=1, le=PAGE_MAX)] = 1
    page_size: Annotated[int, msgspec.Meta(ge=1, le=100)] = 20


class ChannelQuery(PreviewQuery, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A page of a channel's videos, with the filters and the order of a channel's download."""

    date_after: Date | None = None
    date_before: Date | None = None
    min_duration: Count | None = None
    max_duration: Count | None = None
    min_views: Count | None = None
    max_views: Count | None = None
    sort_by: SortField = "upload_date"
    sort_order: SortOrder = "desc"


Q = TypeVar("Q", bound=ProbeQuery)


async def formats(request: web.Request) -> web.Response:
    """The formats of one item."""
    context = request.app[CONTEXT]
    query = _asked(request, context, ProbeQuery)
    item, age = await context.probes.item(Question("item", query.url, caller(request).name, query.cookies_id))
    if item.probed.many is not None:
        raise failure(fault("unsupported_url", A_LIST))
    return _answer(probe_views.formats(query.url, item), age)


async def metadata(request: web.Request) -> web.Response:
    """Everything that is known of one item, or of a list as a whole."""
    context = request.app[CONTEXT]
    query = _asked(request, context, MetadataQuery)
    what = Question("raw" if query.raw else "item", query.url, caller(request).name, query.cookies_id)
    item, age = await context.probes.item(what)
    extracted_at = rfc3339(context.clock.now() - age * SECOND)
    return _answer(probe_views.metadata(query.url, item, extracted_at), age)


async def preview(request: web.Request) -> web.Response:
    """A page of a list."""
    context = request.app[CONTEXT]
    query = _asked(request, context, PreviewQuery)
    page = probe_views.Page(query.page, query.page_size)
    question = Question("list", query.url, caller(request).name, query.cookies_id)
    # One more than is shown tells whether there is a next page.
    reading, age = await context.probes.listing(question, page.end + 1)
    return _answer(probe_views.preview(query.url, reading.catalogue, page, is_whole=reading.is_whole), age)


async def channel(request: web.Request) -> web.Response:
    """A page of a channel's videos, filtered and sorted: the whole list has to be read for it, and more."""
    context = request.app[CONTEXT]
    query = _asked(request, context, ChannelQuery)
    wanted = _as_download(query, context)
    question = Question("list", query.url, caller(request).name, query.cookies_id)
    reading, age = await context.probes.channel(question, wanted)
    page = probe_views.Page(query.page, query.page_size)
    chosen = reading.catalogue.chosen(wanted)
    return _answer(probe_views.channel(query.url, reading.catalogue, page, chosen, _filters(query)), age)


def _asked(request: web.Request, context: Context, into: type[Q]) -> Q:
    """The query, of an address that may be asked, with a jar of the caller's own.

    The jar is looked for each time: what was learnt with it is not shown any more when it is gone. Raises
    `HttpRefusal`, `NotAllowed` and `NotFound`.
    """
    query = read_query(request, into)
    if (problem := urls.problem(query.url)) is not None:
        raise HttpRefusal("invalid_query", f"url: {problem}")
    destinations.check_site(context.rules, query.url)
    if query.cookies_id is not None:
        context.cookies.check(query.cookies_id, caller(request).name, context.clock.now())
    return query


def _as_download(query: ChannelQuery, context: Context) -> ChannelDownloadRequest:
    """The same as a download would take it. Raises `HttpRefusal` that names the parameter."""
    wanted = ChannelDownloadRequest(
        url=query.url, sort_by=query.sort_by, sort_order=query.sort_order, **_bounds(query)
    )
    try:
        batch_validation.check(wanted, context.permits)
    except InvalidInput as error:
        told = "; ".join(f"{one.pointer.removeprefix('/')}: {one.message}" for one in error.errors)
        raise HttpRefusal("invalid_query", told) from None
    return wanted


def _bounds(query: ChannelQuery) -> dict[str, Any]:
    return {name: value for name in _BOUNDS if (value := getattr(query, name)) is not None}


def _filters(query: ChannelQuery) -> dict[str, int | str]:
    """Those that were named, and the order."""
    return {**_bounds(query), "sort_by": query.sort_by, "sort_order": query.sort_order}


def _answer(value: msgspec.Struct, age: int) -> web.Response:
    return answers.answer(value, headers={"Age": str(age)})
