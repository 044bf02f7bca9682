"""A proxy on the way out: the operator's may stand anywhere, and what is asked of it was judged here."""

import asyncio
from ipaddress import ip_address

import pytest

from tests.egress.net import INNER, PUBLIC, Server, net
from umd.domain.destinations import rules_of
from umd.egress.passage import Allowance
from umd.settings import Settings

REPLIED = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


class Http:
    """An HTTP proxy that answers in the target's place."""

    def __init__(self, status: str = "200 OK") -> None:
        self.asked: list[bytes] = []
        self.status = status

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(f"HTTP/1.1 {self.status}\r\n\r\n".encode())
        if self.status.startswith("200"):
            self.asked.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(REPLIED)


class Socks:
    """A SOCKS5 proxy that wants a password, and answers in the target's place."""

    def __init__(self, reply: int = 0, signed_in: int = 0) -> None:
        self.asked: list[bytes] = []
        self.reply = reply
        self.signed_in = signed_in

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readexactly(4) == b"\x05\x02\x00\x02"
        writer.write(b"\x05\x02")
        self.asked.append(await reader.readexactly(1 + 1 + 2 + 1 + 3))
        writer.write(bytes((1, self.signed_in)))
        version, command, _, kind = await reader.readexactly(4)
        assert (version, command) == (5, 1)
        size = {1: 4, 4: 16}.get(kind) or (await reader.readexactly(1))[0]
        self.asked.append(await reader.readexactly(size + 2))
        writer.write(bytes((5, self.reply, 0, 3, 4)) + b"name\0\0")
        if self.reply == 0:
            self.asked.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(REPLIED)


async def test_an_http_proxy_is_asked_for_the_judged_address() -> None:
    proxy = Http()
    # The operator's proxy has an inner address, where the canary stands; the proxy takes its place.
    async with net(proxy="http://us%40er:pass@10.0.0.7:3128") as world, world.passage() as client:
        world.canary.serve = proxy
        answer = await client.get("http://site.example/a")

    assert answer.endswith(b"hello")
    assert world.dialled == [(INNER, 3128)]
    connect, request = proxy.asked
    assert connect.startswith(b"CONNECT 93.184.215.14:80 HTTP/1.1\r\n")
    assert b"Proxy-Authorization: Basic dXNAZXI6cGFzcw==\r\n" in connect
    assert request.startswith(b"GET /a HTTP/1.1\r\nHost: site.example\r\n")


@pytest.mark.parametrize(
    ("scheme", "place"),
    [("socks5", PUBLIC.packed + b"\x01\xbb"), ("socks5h", b"site.example\x01\xbb")],
)
async def test_a_socks_proxy_is_asked_for_the_judged_address_or_the_name(scheme: str, place: bytes) -> None:
    proxy = Socks()
    async with net(proxy=f"{scheme}://me:pwd@proxy.example:1080") as world, world.passage() as client:
        world.table.set("proxy.example", INNER)
        world.canary.serve = proxy
        answer = await client.connect("site.example:443", b"GET / HTTP/1.1\r\n\r\n")

    assert answer.endswith(b"hello")
    assert proxy.asked == [b"\x01\x02me\x03pwd", place, b"GET / HTTP/1.1\r\n\r\n"]


@pytest.mark.parametrize("scheme", ["http", "socks5", "socks5h"])
@pytest.mark.parametrize("host", ["127.0.0.1", "10.0.0.8", "localhost", "redis", "metadata.google.internal"])
async def test_the_target_behind_a_proxy_is_judged_all_the_same(scheme: str, host: str) -> None:
    async with net(proxy=f"{scheme}://10.0.0.7:3128") as world, world.passage() as client:
        assert b" 403 address_not_allowed" in await client.connect(f"{host}:443")
        assert world.dialled == []


@pytest.mark.parametrize("scheme", ["http", "socks5"])
async def test_what_a_name_resolves_to_is_judged_before_a_proxy_hears_of_it(scheme: str) -> None:
    async with net(proxy=f"{scheme}://10.0.0.7:3128") as world, world.passage() as client:
        world.table.set("mixed.example", PUBLIC, ip_address("192.168.0.1"))

        assert b" 403 address_not_allowed" in await client.connect("mixed.example:443")
        assert world.dialled == []


@pytest.mark.parametrize("place", ["site.example:22", "site.example:6379", "db.internal:80", "redis:443"])
async def test_a_name_that_only_the_proxy_looks_up_is_held_to_ports_and_names(place: str) -> None:
    """Also where inner addresses are allowed: whether this one leads there, nobody here would know."""
    rules = rules_of(Settings(allow_addresses="10.0.0.0/8"))
    async with net(rules=rules, proxy="socks5h://10.0.0.7:1080") as world, world.passage() as client:
        assert b" 403 address_not_allowed" in await client.connect(place)
        assert (world.dialled, world.table.asked) == ([], [])


async def test_a_name_that_does_not_resolve_here_is_the_proxy_s_to_look_up() -> None:
    proxy = Socks()
    async with net(proxy="socks5h://me:pwd@10.0.0.7:1080") as world, world.passage() as client:
        world.canary.serve = proxy
        answer = await client.connect("known.only.there.example:443", b"GET / HTTP/1.1\r\n\r\n")

        assert answer.endswith(b"hello")
        assert proxy.asked[1] == b"known.only.there.example\x01\xbb"
        assert world.table.asked == []


@pytest.mark.parametrize(
    "proxy",
    [
        Http("407 Who are you"),
        Http("403 inner.corp says no"),
        Http(f"200 OK\r\nX: {'x' * 70_000}"),
        Socks(reply=2),
        Socks(signed_in=1),
    ],
)
async def test_a_proxy_that_refuses_is_a_bad_gateway_and_shows_nothing(proxy: Http | Socks) -> None:
    scheme = "http" if isinstance(proxy, Http) else "socks5"
    async with net(proxy=f"{scheme}://me:pwd@10.0.0.7:3128") as world, world.passage() as client:
        world.canary.serve = proxy
        answer = await client.get("http://site.example/")

        assert answer.startswith(b"HTTP/1.1 502 unreachable\r\n")
        assert b"inner.corp" not in answer


async def test_a_request_s_own_proxy_is_judged_as_a_target_is() -> None:
    proxy = Http()
    own = Allowance(2**40, upstream="http://93.184.215.14:8080")
    inner = Allowance(2**40, upstream="http://10.0.0.7:8080")
    async with net(Server(proxy)) as world:
        async with world.passage(own) as client:
            assert (await client.get("http://other.example/")).startswith(b"HTTP/1.1 502")
            world.table.set("other.example", ip_address("1.1.1.1"))
            assert (await client.get("http://other.example/")).endswith(b"hello")
        async with world.passage(inner) as client:
            assert b" 403 address_not_allowed" in await client.get("http://site.example/")
        assert world.dialled == [(PUBLIC, 8080)]
        assert proxy.asked[0].startswith(b"CONNECT 1.1.1.1:80 ")


async def test_a_request_s_own_proxy_is_reached_through_the_operator_s() -> None:
    asked = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            asked.append((await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[0])
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        writer.write(REPLIED)

    async with net(proxy="http://10.0.0.7:3128") as world:
        world.canary.serve = serve
        async with world.passage(Allowance(2**40, upstream="http://93.184.215.14:8080")) as client:
            assert (await client.get("http://site.example/")).endswith(b"hello")

    assert asked == [b"CONNECT 93.184.215.14:8080 HTTP/1.1", b"CONNECT 93.184.215.14:80 HTTP/1.1"]
    assert world.dialled == [(INNER, 3128)]


@pytest.mark.parametrize(
    "url", ["ftp://x:1", "http://x", "http://:80", "socks5://256.0.0.1:80", f"socks5://{'u' * 256}:p@x:1"]
)
async def test_what_is_no_proxy_is_refused_before_anything_is_served(url: str) -> None:
    async with net() as world:
        with pytest.raises(ValueError):  # noqa: PT011  # each has a sentence of its own
            async with world.passage(Allowance(2**40, upstream=url)):
                pass
