"""From where a request comes, and whether in clear, seen through the proxies that are known."""

import hashlib
import ipaddress
import os
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeAlias

from aiohttp import web
from aiohttp.typedefs import Handler

from umd.api.context import CONTEXT
from umd.api.gate import Network

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_SALT = os.urandom(16)
_HOPS_MAX = 32


class Peer(NamedTuple):
    """The client. Its address is None where the connection has none; `scheme` is what it spoke."""

    address: Address | None
    scheme: str
    proxied: bool

    @property
    def group(self) -> str:
        """Whom a limit counts: an IPv4 address, or the /64 that a host on IPv6 has to itself."""
        if isinstance(self.address, ipaddress.IPv6Address):
            return str(ipaddress.ip_network((int(self.address) >> 64 << 64, 64)))
        return str(self.address)

    @property
    def came_in_clear(self) -> bool:
        """Whether somebody on the way could read the request; what never left this machine nobody could."""
        local = not self.proxied and (self.address is None or self.address.is_loopback)
        return self.scheme != "https" and not local


PEER: web.RequestKey[Peer] = web.RequestKey("peer", Peer)


@web.middleware
async def peers(request: web.Request, handler: Handler) -> web.StreamResponse:
    request[PEER] = find(request, request.app[CONTEXT].gate.proxies)
    return await handler(request)


def find(request: web.BaseRequest, proxies: Sequence[Network]) -> Peer:
    """The client of a request. Only what a known proxy says of it is believed.

    `X-Real-IP` wins, where there is exactly one. Of `X-Forwarded-For` the last address counts that is no
    known proxy's: what stands before it, anybody may have sent.
    """
    direct = _parsed(request.remote or "")
    if direct is None or not _among(direct, proxies):
        return Peer(direct, request.scheme, proxied=False)
    address = _real(request) or _forwarded(request, proxies) or direct
    protocols = request.headers.getall("X-Forwarded-Proto", ())
    last = protocols[-1].rpartition(",")[2].strip().lower() if protocols else ""
    return Peer(address, last if last in ("http", "https") else request.scheme, proxied=True)


def shown(peer: Peer, how: str) -> str | None:
    """The client's address as the log of requests shows it."""
    if peer.address is None or how == "none":
        return None
    if how == "full":
        return str(peer.address)
    if how == "hashed":
        return hashlib.blake2b(peer.address.packed, key=_SALT, digest_size=8).hexdigest()
    kept = 24 if peer.address.version == 4 else 48  # noqa: PLR2004
    return str(ipaddress.ip_network((peer.address, kept), strict=False).network_address)


def _real(request: web.BaseRequest) -> Address | None:
    named = request.headers.getall("X-Real-IP", ())
    return _parsed(named[0]) if len(named) == 1 else None


def _forwarded(request: web.BaseRequest, proxies: Sequence[Network]) -> Address | None:
    hops = ",".join(request.headers.getall("X-Forwarded-For", ())).split(",")
    for hop in hops[: -_HOPS_MAX - 1 : -1]:
        address = _parsed(hop)
        if address is None or not _among(address, proxies):
            return address
    return None


def _parsed(text: str) -> Address | None:
    try:
        address = ipaddress.ip_address(text.strip().partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, ipaddress.IPv6Address) else address


def _among(address: Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)
