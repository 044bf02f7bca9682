"""The proxy: lets each attempt out by a listener of its own, under the operator's rules."""

import asyncio
import socket

from umd.domain.destinations import Rules
from umd.egress import notices, upstream
from umd.egress.dialler import Dial, dial
from umd.egress.meter import Meter
from umd.egress.passage import Allowance, Passage
from umd.egress.resolver import LOOKUPS_EACH, Resolver
from umd.egress.route import Route


class Egress:
    """One for the service. `proxy` is the operator's own, through which everything goes."""

    def __init__(
        self,
        rules: Rules,
        resolver: Resolver,
        *,
        proxy: str = "",
        dial: Dial = dial,
        listen: notices.Listener = notices.ignore,
    ) -> None:
        self._rules = rules
        self._resolver = resolver
        self._proxy = upstream.parsed(proxy) if proxy else None
        self._dial = dial
        self._listen = listen
        self._passages: set[Passage] = set()

    @property
    def passages(self) -> int:
        """How many are open."""
        return len(self._passages)

    def route(self, own: upstream.Upstream | None = None, *, lookups_max: int = LOOKUPS_EACH) -> Route:
        """The way to any target that is allowed, at the end through a proxy of the request's own.

        Names that hang take no more than `lookups_max` look-ups from the other routes.
        """
        share = asyncio.Semaphore(lookups_max)
        return Route(self._rules, self._resolver, share, self._dial, self._proxy, own)

    async def admit(self, listener: socket.socket, allowance: Allowance) -> Passage:
        """Serve a listening socket, in whichever network namespace it was made, and own it from now on.

        Raises `ValueError` for an `upstream` that is no proxy's address: the listener stays the caller's.
        """
        own = upstream.parsed(allowance.upstream) if allowance.upstream else None
        meter = Meter(allowance.bytes_max, allowance.bytes_per_sec)
        passage = Passage(listener, self.route(own), meter, self._listen, self._passages.discard)
        self._passages.add(passage)
        return passage

    async def stop(self) -> None:
        """Close every passage. May be called twice."""
        for passage in tuple(self._passages):
            await passage.close()
