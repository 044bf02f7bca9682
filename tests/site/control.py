"""Routes for who runs the site in another process: its journal and its gates. Not journaled themselves."""

from aiohttp import web

from tests.site.state import STATE

PREFIX = "/_site/"


async def requests(request: web.Request) -> web.StreamResponse:
    """The journal; `?path=` is a shell pattern."""
    journal = request.app[STATE].journal
    records = [record.as_json() for record in journal.matching(request.query.get("path", "*"))]
    levels = {"active": journal.active, "max_active": journal.max_active}
    return web.json_response({**levels, "requests": records})


async def forget(request: web.Request) -> web.StreamResponse:
    request.app[STATE].journal.clear()
    return web.Response(status=204)


async def open_gate(request: web.Request) -> web.StreamResponse:
    request.app[STATE].gates.open(request.match_info["gate"])
    return web.Response(status=204)


async def close_gate(request: web.Request) -> web.StreamResponse:
    request.app[STATE].gates.close(request.match_info["gate"])
    return web.Response(status=204)


ROUTES = [
    web.get(PREFIX + "requests", requests),
    web.delete(PREFIX + "requests", forget),
    web.put(PREFIX + "gates/{gate}", open_gate),
    web.delete(PREFIX + "gates/{gate}", close_gate),
]
