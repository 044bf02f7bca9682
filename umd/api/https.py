"""`UMD_REQUIRE_HTTPS`: what came in clear is led to HTTPS, or refused."""

from aiohttp import web
from aiohttp.typedefs import Handler

from umd.api.authentication import carries_secret
from umd.api.context import CONTEXT
from umd.api.links import HOST
from umd.api.needs import needs
from umd.api.peers import PEER
from umd.api.problems import HttpRefusal


@web.middleware
async def https(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Redirect what only asks. What carries a key is refused: the key is known to others now.

    The probes are let through: a platform makes them inside of its own network.
    """
    required = request.app[CONTEXT].settings.require_https and needs(request).counted
    if not (required and request[PEER].came_in_clear):
        return await handler(request)
    if request.method not in ("GET", "HEAD") or carries_secret(request):
        raise HttpRefusal("forbidden", "This service is to be used with https:// only.")
    host = request.headers.get("Host", "")
    if not HOST.fullmatch(host):
        raise HttpRefusal("malformed_request", "A request names one Host.")
    return web.Response(
        status=308, headers={"Location": f"https://{host}{request.rel_url}", "Cache-Control": "no-store"}
    )
