"""Which names the service answers to."""

from aiohttp import HttpVersion11, web
from aiohttp.typedefs import Handler

from umd.api.context import CONTEXT
from umd.api.needs import needs
from umd.api.problems import HttpRefusal


@web.middleware
async def hosts(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse what is meant for somebody else. A platform probes the health under any name."""
    named = request.headers.getall("Host", ())
    if len(named) > 1 or (not named and request.version >= HttpVersion11):
        raise HttpRefusal("malformed_request", "A request names one Host.")
    known = request.app[CONTEXT].gate.hosts
    if known is not None and named and needs(request).counted and _name(named[0]) not in known:
        raise HttpRefusal(
            "misdirected_request",
            "The service has not that name; UMD_ALLOWED_HOSTS or UMD_PUBLIC_BASE_URL can give it one.",
        )
    return await handler(request)


def _name(host: str) -> str:
    """The host without its port, in lower case."""
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isascii() and port.isdecimal() else host).lower().removesuffix(".")
