"""The way out for webhooks: a connector of aiohttp's whose connections are made by the egress's own route.

Each one is judged by the same rules as a download's, and goes through the operator's proxy where there is
one. `_create_connection` is where aiohttp's own kinds of connectors differ from each other, too.
"""

from ssl import SSLContext

from aiohttp import BaseConnector, ClientRequest, ClientTimeout
from aiohttp.client_proto import ResponseHandler
from aiohttp.tracing import Trace

from umd.egress.http import Target
from umd.egress.route import Route

CONNECTIONS_MAX = 32
TLS_END_SEC = 1.0
"""How long the other side may take to say that a connection is over."""


class RouteConnector(BaseConnector):
    """For a session that follows no redirects and reads no proxy from the environment (aiohttp's default).

    What is not allowed raises `AddressNotAllowed` or `DomainNotAllowed` out of the request, what cannot be
    reached `OSError`.
    """

    def __init__(self, route: Route) -> None:
        super().__init__(limit=CONNECTIONS_MAX)
        self._route = route

    async def _create_connection(
        self,
        req: ClientRequest,
        traces: list[Trace],  # noqa: ARG002  # nobody traces
        timeout: ClientTimeout,  # noqa: ARG002, ASYNC109  # aiohttp's, which holds the request to its total
    ) -> ResponseHandler:
        target = Target(req.url.raw_host or "", req.url.port or 0)
        connection = (await self._route.open(target)).detach()
        if not req.is_ssl():
            _, protocol = await self._loop.create_connection(self._factory, sock=connection)
            return protocol
        assert isinstance(req.ssl, SSLContext), "the session names the context of each request"  # noqa: S101
        _, protocol = await self._loop.create_connection(
            self._factory,
            sock=connection,
            ssl=req.ssl,
            server_hostname=target.host.rstrip("."),
            ssl_shutdown_timeout=TLS_END_SEC,
        )
        return protocol
