"""How many requests are taken: of a key that is valid by its name, of all else by address.

A key is looked at before anything is counted, so that neighbours behind one address cannot lock each other
out; whoever tries keys out is counted by address, whatever the keys.
"""

from aiohttp import web
from aiohttp.typedefs import Handler

from umd.api.authentication import IDENTITY
from umd.api.context import CONTEXT
from umd.api.needs import needs
from umd.api.peers import PEER
from umd.api.problems import HttpRefusal
from umd.api.quotas import Standing

STANDING: web.RequestKey[Standing] = web.RequestKey("standing", Standing)


@web.middleware
async def rate_limit(request: web.Request, handler: Handler) -> web.StreamResponse:
    if needs(request).counted:
        request[STANDING] = standing = _count(request)
        if standing.retry_sec is not None:
            told = f"Too many requests; try again in {standing.retry_sec} s."
            raise HttpRefusal("rate_limited", told, retry_after=standing.retry_sec)
    return await handler(request)


async def tell(request: web.Request, response: web.StreamResponse) -> None:
    """Say how the caller stands, just before the headers of an answer are sent."""
    standing = request.get(STANDING)
    if standing is not None:
        response.headers.update(standing.headers)


def counted_as(request: web.Request) -> str:
    """Whom the streams of a request are counted for; nobody where nobody else can come."""
    identity = request[IDENTITY]
    if identity.by == "key":
        return f"key:{identity.caller.name}"
    return "" if request.app[CONTEXT].gate.is_private else f"address:{request[PEER].group}"


def _count(request: web.Request) -> Standing:
    identity, quotas = request[IDENTITY], request.app[CONTEXT].gate.quotas
    if identity.by == "key":
        return quotas.of_key(identity.caller.name)
    if identity.by == "link":
        return quotas.of_link(request[PEER].group)
    return quotas.of_address(request[PEER].group)
