"""A name for each request: in its answer, in every log line, and as the correlation of what it stores."""

import re

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from umd.api.context import CONTEXT
from umd.api.security_headers import secure
from umd.clock import Clock

HEADER = "X-Request-ID"
SERVER = "umd"
REQUEST_ID = web.RequestKey("request_id", str)

_SANE = re.compile(r"[A-Za-z0-9_-]{1,64}")


def identify(request: web.BaseRequest, clock: Clock) -> str:
    """Take over the client's name for the request, where it sent a sane one, else make one."""
    sent = request.headers.get(HEADER, "")
    request_id = sent if _SANE.fullmatch(sent) else clock.new_id()
    request[REQUEST_ID] = request_id
    structlog.contextvars.bind_contextvars(request_id=request_id)
    return request_id


@web.middleware
async def request_id(request: web.Request, handler: Handler) -> web.StreamResponse:
    identify(request, request.app[CONTEXT].clock)
    return await handler(request)


async def stamp(request: web.Request, response: web.StreamResponse) -> None:
    """Label an answer just before its headers are sent, those of streams included."""
    label(request, response)


def label(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Put the request's name on an answer, what a browser is not to do, and hide which software made it."""
    response.headers[HEADER] = request[REQUEST_ID]
    response.headers["Server"] = SERVER
    secure(request, response)
