"""One log line for each request: what was asked, what came of it, how long it took. Never a query."""

import asyncio

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from umd.api.authentication import IDENTITY
from umd.api.context import CONTEXT
from umd.api.peers import PEER, shown
from umd.api.problems import PROBLEM
from umd.telemetry.records import Answered, Listener

UNMATCHED = "unmatched"
UNREADABLE = "unreadable"
CLIENT_GONE = 499
"""The status that nginx made customary for a client that went away before it was answered."""

_log = structlog.get_logger(__name__)


@web.middleware
async def access_log(request: web.Request, handler: Handler) -> web.StreamResponse:
    began = asyncio.get_running_loop().time()
    response: web.StreamResponse | None = None
    try:
        response = await handler(request)
        return response
    finally:
        duration_sec = asyncio.get_running_loop().time() - began
        listener = request.app[CONTEXT].counts.note
        note(request, _template(request), response, duration_sec, listener, **_whose(request))


def note(
    request: web.BaseRequest,
    route: str,
    response: web.StreamResponse | None,
    duration_sec: float,
    listener: Listener,
    **whose: str,
) -> None:
    """Log an answer, and tell who counts; None is one that nobody waited for."""
    method = request.method
    status = CLIENT_GONE if response is None else response.status
    stream = response is not None and response.content_type == "text/event-stream"
    listener(Answered(method, route, status, duration_sec, request.get(PROBLEM), stream))
    write = _log.warning if status >= 500 else _log.debug if "/health" in route else _log.info  # noqa: PLR2004
    write(
        "http.request",
        method=method,
        route=route,
        status=status,
        duration_ms=round(duration_sec * 1_000, 3),
        bytes=_size(method, response),
        **whose,
    )


def _whose(request: web.Request) -> dict[str, str]:
    """The name of the caller's key, and its address where the operator wants that."""
    identity, peer = request.get(IDENTITY), request.get(PEER)
    whose = {} if identity is None or identity.by != "key" else {"caller": identity.caller.name}
    address = None if peer is None else shown(peer, request.app[CONTEXT].settings.log_addresses)
    return whose if address is None else {**whose, "address": address}


def _template(request: web.Request) -> str:
    """The route as it is written in the table: a path would be without bounds, and may hold a secret."""
    resource = request.match_info.route.resource
    return UNMATCHED if resource is None else resource.canonical


def _size(method: str, response: web.StreamResponse | None) -> int | None:
    if response is None or method == "HEAD":
        return None
    return response.body_length if response.content_length is None else response.content_length
