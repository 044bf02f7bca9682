"""Which pages may use the API from a browser: those of the named origins, and by default none.

Never with credentials: there are no cookies, and a key comes in a header.
https://fetch.spec.whatwg.org/#http-cors-protocol
"""

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from umd.api.context import CONTEXT

PREFLIGHT_SEC = 600
ALLOWED_HEADERS = (
    "Authorization, Content-Type, Idempotency-Key, Last-Event-ID, Range, X-API-Key, X-Request-ID"
)
EXPOSED_HEADERS = (
    "Content-Disposition, Content-Range, ETag, Location, "
    "RateLimit, RateLimit-Policy, Retry-After, X-Request-ID"
)


@web.middleware
async def cors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer the question that a browser asks before the request itself: the router knows no OPTIONS."""
    wanted = request.headers.get("Access-Control-Request-Method")
    there = request.match_info.http_exception
    if wanted is None or not isinstance(there, web.HTTPMethodNotAllowed) or not _allowed(request):
        return await handler(request)
    return web.Response(
        status=204,
        headers={
            "Access-Control-Allow-Methods": ", ".join(sorted(there.allowed_methods)),
            "Access-Control-Allow-Headers": ALLOWED_HEADERS,
            "Access-Control-Max-Age": str(PREFLIGHT_SEC),
        },
    )


async def share(request: web.Request, response: web.StreamResponse) -> None:
    """Let a page of a named origin read an answer, just before its headers are sent."""
    if request.app[CONTEXT].gate.origins:
        response.headers.add("Vary", hdrs.ORIGIN)
        if _allowed(request):
            response.headers["Access-Control-Allow-Origin"] = request.headers[hdrs.ORIGIN]
            response.headers["Access-Control-Expose-Headers"] = EXPOSED_HEADERS


def _allowed(request: web.Request) -> bool:
    named = request.headers.getall(hdrs.ORIGIN, ())
    return len(named) == 1 and named[0] in request.app[CONTEXT].gate.origins
