"""Proxies on the way out: what HTTP and SOCKS5 proxies want to hear before they pass bytes on."""

import base64
from ipaddress import IPv4Address
from urllib.parse import unquote, urlsplit

import msgspec

from umd.domain.addresses import Address
from umd.domain.hosts import readings
from umd.egress.http import HEAD_BYTES_MAX, BadMessage, Target, answer
from umd.egress.wire import HeadTooLarge, Wire

_VERSION = 5
_WITHOUT = 0
_PASSWORD = 2
_SECRET_BYTES_MAX = 255


class Refusing(ConnectionError):
    """The proxy does not pass the connection on."""


class Upstream(msgspec.Struct, frozen=True):
    """A proxy. Only to `socks5h` names are left to look up."""

    scheme: str
    host: str
    port: int
    user: str | None = None
    password: str = ""

    @property
    def resolves(self) -> bool:
        return self.scheme == "socks5h"


def parsed(url: str) -> Upstream:
    """A proxy's address, as a setting or a request has it. Raises `ValueError`."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "socks5", "socks5h") or not parts.hostname or not parts.port:
        raise ValueError("not the address of a proxy")
    user = None if parts.username is None else unquote(parts.username)
    password = unquote(parts.password or "")
    if max(len((user or "").encode()), len(password.encode())) > _SECRET_BYTES_MAX:
        raise ValueError("the proxy's user and password have at most 255 bytes")
    readings(parts.hostname)  # raises for what only looks like an address
    return Upstream(parts.scheme, parts.hostname, parts.port, user, password)


async def pass_on(upstream: Upstream, wire: Wire, to: Target | tuple[Address, int]) -> None:
    """Ask the proxy at the other end to connect to a place. Raises `ConnectionError`."""
    if upstream.scheme == "http":
        await _connect(upstream, wire, to if isinstance(to, Target) else Target(str(to[0]), to[1]))
    else:
        await _greet(upstream, wire)
        await _request(wire, to)


async def _connect(upstream: Upstream, wire: Wire, place: Target) -> None:
    lines = [f"CONNECT {place.authority} HTTP/1.1", f"Host: {place.authority}"]
    if upstream.user is not None:
        word = base64.b64encode(f"{upstream.user}:{upstream.password}".encode()).decode()
        lines.append(f"Proxy-Authorization: Basic {word}")
    await wire.send("\r\n".join((*lines, "", "")).encode())
    try:
        told = answer(await wire.head(HEAD_BYTES_MAX), "HEAD")
    except (BadMessage, HeadTooLarge):
        raise Refusing("the proxy does not speak HTTP") from None
    if told.status // 100 != 2:  # noqa: PLR2004  # any success
        raise Refusing(f"the proxy answered {told.status}")


async def _greet(upstream: Upstream, wire: Wire) -> None:
    """Agree on a way to say who we are (RFC 1928), and say it (RFC 1929)."""
    ways = (_WITHOUT,) if upstream.user is None else (_WITHOUT, _PASSWORD)
    await wire.send(bytes((_VERSION, len(ways), *ways)))
    version, way = await wire.exactly(2)
    if version != _VERSION or way not in ways:
        raise Refusing("the proxy wants another way to sign in")
    if way == _PASSWORD:
        user, password = (upstream.user or "").encode(), upstream.password.encode()
        await wire.send(bytes((1, len(user))) + user + bytes((len(password),)) + password)
        if (await wire.exactly(2))[1] != 0:
            raise Refusing("the proxy does not take the password")


async def _request(wire: Wire, to: Target | tuple[Address, int]) -> None:
    if isinstance(to, Target):
        name = to.host.encode()
        place = bytes((3, len(name))) + name
    else:
        place = bytes((1 if isinstance(to[0], IPv4Address) else 4,)) + to[0].packed
    await wire.send(bytes((_VERSION, 1, 0)) + place + to[1].to_bytes(2, "big"))
    _, reply, _, kind = await wire.exactly(4)
    if reply != 0:
        raise Refusing(f"the proxy answered {reply}")
    rest = {1: 4, 4: 16}.get(kind) or (await wire.exactly(1))[0]
    await wire.exactly(rest + 2)  # the address that it is bound to, which nobody needs
