"""Which versions of HTTP are spoken."""

from aiohttp import HttpVersion10, HttpVersion11, web
from aiohttp.typedefs import Handler

from umd.api.problems import problem


@web.middleware
async def versions(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse all others, and close: the parser takes a line without a version for one of HTTP/0.9.

    Who is in front of the service may have read something else, or have passed it on as what it cannot read.
    """
    if request.version in (HttpVersion10, HttpVersion11):
        return await handler(request)
    answer = problem(request, "malformed_request", "This service speaks HTTP/1.0 and HTTP/1.1.")
    answer.force_close()
    return answer
