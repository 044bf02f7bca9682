"""The HTTP server: the application with its middlewares and routes, and the one lifecycle."""

import asyncio
import resource
from collections.abc import Awaitable, Callable

from aiohttp import web

from umd.api import docs, problems
from umd.api.access_log import access_log
from umd.api.authentication import authentication
from umd.api.authorization import authorization
from umd.api.compression import compression
from umd.api.connection import Connection
from umd.api.context import CONTEXT, Context
from umd.api.cors import cors, share
from umd.api.decoding import BODY_BYTES_MAX
from umd.api.hosts import hosts
from umd.api.https import https
from umd.api.needs import NEEDS, PUBLIC
from umd.api.peers import peers
from umd.api.rate_limit import rate_limit, tell
from umd.api.request_id import identify, label, request_id, stamp
from umd.api.routes import ROUTES, table
from umd.api.sse import HUB, Hub
from umd.api.versions import versions
from umd.clock import Clock

BACKLOG = 1_024
STOP_WAIT_SEC = 5
CONNECTIONS_MAX = 16_384
DESCRIPTORS_RESERVED = 256
"""What connections leave to the log, to files and to processes."""

MIDDLEWARES = (
    request_id,
    access_log,
    problems.problems,
    versions,
    peers,
    hosts,
    https,
    cors,
    authentication,
    rate_limit,
    authorization,
    compression,
)
"""From the outside to the inside."""

FINISHES = (stamp, share, tell)
"""What is done to the headers of every answer just before they are sent, those of streams included."""


def application(context: Context, hub: Hub) -> web.Application:
    """The routes, behind the middlewares."""
    app = web.Application(middlewares=MIDDLEWARES, client_max_size=BODY_BYTES_MAX)
    app[CONTEXT] = context
    app[HUB] = hub
    app.on_response_prepare.extend(FINISHES)
    settings = context.settings
    open_to_all = docs.add_to(app, settings) if settings.docs_enabled else ()
    app[NEEDS] = dict.fromkeys(open_to_all, PUBLIC) | {
        app.router.add_route(method, _pattern(route.path), route.handler): route.needs
        for route in table(settings)
        for method in route.methods
    }
    return app


def _pattern(path: str) -> str:
    """What the router is told. `{id}` is no word that a path of the table has in its place.

    Else the `Allow` of `/batch/download` would tell of what can be done with a batch.
    """
    if not path.endswith("{id}"):
        return path
    above = path.removesuffix("{id}")
    words = {route.path.removeprefix(above) for route in ROUTES if route.path.startswith(above)}
    taken = "|".join(sorted(word for word in words if word.isalpha()))
    return f"{above}{{id:(?!(?:{taken})$)[^/]+}}" if taken else path


class Server:
    """Listens where the settings say.

    `start` returns when requests are taken. `stop` takes no new ones, lets those that run end for
    `STOP_WAIT_SEC`, cuts off the rest, and is complete when it returns; it may be called twice, and before
    `start`.
    """

    def __init__(self, context: Context, hub: Hub) -> None:
        self._context = context
        self._runner = web.AppRunner(
            application(context, hub), handler_cancellation=True, shutdown_timeout=STOP_WAIT_SEC
        )
        self._listener: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """The port that is listened on, also where the settings left the choice to the system."""
        assert self._listener is not None, "the server has been started"  # noqa: S101
        port: int = self._listener.sockets[0].getsockname()[1]
        return port

    async def start(self) -> None:
        """Listen. Raises `OSError` when the address cannot be had."""
        await self._runner.setup()
        server = self._runner.server
        assert server is not None, "the runner has been set up"  # noqa: S101
        server.request_handler = _guarded(server.request_handler, self._context.clock)
        settings = self._context.settings
        self._listener = await asyncio.get_running_loop().create_server(
            lambda: Connection(server, self._context.clock, connections_max(), self._context.counts.note),
            settings.host,
            settings.port,
            backlog=BACKLOG,
        )

    async def stop(self) -> None:
        if self._listener is not None:
            self._listener.close()
        await self._runner.cleanup()


def connections_max() -> int:
    """How many connections are held at once: more are closed, so that there is a descriptor for all else."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return CONNECTIONS_MAX if soft < 0 else min(CONNECTIONS_MAX, max(soft - DESCRIPTORS_RESERVED, soft // 2))


BaseHandler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


def _guarded(handle: BaseHandler, clock: Clock) -> BaseHandler:
    """aiohttp refuses an unknown `Expect` before any middleware runs: answer that as a problem, too."""

    async def guarded(request: web.BaseRequest) -> web.StreamResponse:
        try:
            return await handle(request)
        except web.HTTPException as error:
            identify(request, clock)
            answer = problems.explain(request, error)
            label(request, answer)
            return answer

    return guarded
