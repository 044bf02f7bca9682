"""The way out for webhooks: a connector of aiohttp's that holds every connection to the rules of the egress.

Two places, because aiohttp asks no resolver about a literal address: `resolve` judges all answers for a name
together, and each socket is made only for an address that passes.
"""

import socket
from ipaddress import ip_address
from typing import Any

from aiohttp import TCPConnector
from aiohttp.abc import AbstractResolver, ResolveResult

from umd.domain.addresses import Address
from umd.domain.destinations import Rules, check_addresses, check_host
from umd.egress.resolver import Resolver

CONNECTIONS_MAX = 32


def connector(rules: Rules, resolver: Resolver) -> TCPConnector:
    """For a session that follows no redirects and reads no proxy from the environment (aiohttp's default).

    What is not allowed raises `AddressNotAllowed` or `DomainNotAllowed` out of the request.
    """

    def judged_socket(info: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, address = info
        # The literal, or an answer that `resolve` has judged with its name already.
        host = str(ip_address(address[0].partition("%")[0]))
        check_host(rules, host)
        check_addresses(rules, host, address[1], [ip_address(host)])
        return socket.socket(family, kind, protocol)

    return TCPConnector(
        resolver=JudgingResolver(rules, resolver),
        socket_factory=judged_socket,
        use_dns_cache=False,
        limit=CONNECTIONS_MAX,
    )


class JudgingResolver(AbstractResolver):
    """Looks a name up once, and gives its addresses only where all of them are allowed."""

    def __init__(self, rules: Rules, resolver: Resolver) -> None:
        self._rules = rules
        self._resolver = resolver

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        spelled = check_host(self._rules, host)
        addresses = spelled or await self._resolver.resolve(host)
        check_addresses(self._rules, host, port, addresses)
        wanted = [
            address for address in spelled[:1] or addresses if family in (socket.AF_UNSPEC, _family(address))
        ]
        if not wanted:
            raise OSError(None, "the name has no address")
        return [
            ResolveResult(
                hostname=host,
                host=str(address),
                port=port,
                family=_family(address),
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST,
            )
            for address in wanted
        ]

    async def close(self) -> None:
        """The resolver below is its owner's."""


def _family(address: Address) -> socket.AddressFamily:
    return socket.AF_INET if address.version == 4 else socket.AF_INET6  # noqa: PLR2004  # the IP version
