"""Whether the caller may do what the route is for. Whose the resource is, `umd.api.owned` looks at."""

from aiohttp import web
from aiohttp.typedefs import Handler

from umd.api.authentication import CHALLENGE, IDENTITY
from umd.api.needs import needs
from umd.api.problems import HttpRefusal


@web.middleware
async def authorization(request: web.Request, handler: Handler) -> web.StreamResponse:
    scope, identity = needs(request).scope, request[IDENTITY]
    if scope is None or identity.caller.may(scope):
        return await handler(request)
    if identity.fault is not None:
        raise identity.fault
    challenge = {"WWW-Authenticate": f'{CHALLENGE}, error="insufficient_scope", scope="{scope}"'}
    raise HttpRefusal("forbidden", f"This needs a key with the scope {scope}.", challenge)
