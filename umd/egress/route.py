"""The way to a target: looked up once, every answer judged, and only the judged connected to."""

import asyncio
from dataclasses import dataclass
from typing import NamedTuple

from umd.domain.addresses import Address
from umd.domain.destinations import Rules, check_addresses, check_host, check_unresolved
from umd.domain.hosts import readings
from umd.egress import upstream
from umd.egress.dialler import CONNECT_SEC, Dial
from umd.egress.http import Target
from umd.egress.resolver import Resolver
from umd.egress.upstream import Upstream
from umd.egress.wire import Wire


class Place(NamedTuple):
    """A target and the addresses to connect to; none where a proxy is to look the name up."""

    target: Target
    addresses: tuple[Address, ...]

    @property
    def said(self) -> Target | tuple[Address, int]:
        """The place as a proxy is told: one address, IPv4 if there is one, for not every proxy has IPv6."""
        if not self.addresses:
            return self.target
        return min(self.addresses, key=lambda address: address.version), self.target.port


@dataclass(frozen=True)
class Route:
    """How one attempt gets out: directly, or through the operator's proxy, and then through its own.

    The operator's proxy may stand anywhere, that of a request only where a download may go.
    """

    rules: Rules
    resolver: Resolver
    share: asyncio.Semaphore
    """Of the look-ups."""
    dial: Dial
    operator: Upstream | None = None
    own: Upstream | None = None

    async def open(self, target: Target) -> Wire:
        """Connect to a target.

        Raises `AddressNotAllowed` and `DomainNotAllowed` before anything is connected to, and `OSError`.
        """
        proxies = [proxy for proxy in (self.operator, self.own) if proxy is not None]
        first, *further = await self._places(proxies, target)
        wire = Wire(await self.dial(first.addresses, first.target.port))
        try:
            async with asyncio.timeout(CONNECT_SEC):
                for proxy, place in zip(proxies, further, strict=True):
                    await upstream.pass_on(proxy, wire, place.said)
        except BaseException:
            wire.close()
            raise
        return wire

    async def _places(self, proxies: list[Upstream], target: Target) -> list[Place]:
        """Each proxy's place and the target's, all of them judged."""
        places = []
        before: Upstream | None = None
        for proxy in proxies:
            place = Target(proxy.host, proxy.port)
            places.append(
                Place(place, await self._looked_up(place.host))
                if proxy is self.operator
                else await self._judged(place, before)
            )
            before = proxy
        return [*places, await self._judged(target, before)]

    async def _judged(self, target: Target, before: Upstream | None) -> Place:
        spelled = check_host(self.rules, target.host)
        if not spelled and before is not None and before.resolves:
            check_unresolved(self.rules, target.host, target.port)
            return Place(target, ())
        addresses = spelled or await self._looked_up(target.host)
        check_addresses(self.rules, target.host, target.port, addresses)
        return Place(target, spelled[:1] or addresses)

    async def _looked_up(self, host: str) -> tuple[Address, ...]:
        addresses = readings(host)[:1] or await self.resolver.resolve(host, self.share)
        if not addresses:
            raise OSError("the name has no address")
        return addresses
