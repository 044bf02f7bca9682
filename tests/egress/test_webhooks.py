"""The connector of the webhooks reaches no inner address, however it is named."""

import asyncio
import itertools
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from ipaddress import ip_address
from pathlib import Path

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.egress.net import DEADLINE_SEC, PUBLIC, Server, Table, answering
from umd.domain.addresses import Address
from umd.domain.destinations import Rules, rules_of
from umd.egress.delivery import Poster
from umd.egress.dialler import Dial, dial
from umd.egress.proxy import Egress
from umd.egress.webhooks import RouteConnector
from umd.errors import AddressNotAllowed, DomainNotAllowed, Unanswered
from umd.settings import Settings

CANARY = ip_address("127.0.0.1")
ALLOWED = rules_of(Settings(allow_addresses="127.0.0.0/8", blocked_domains="bad.example"))


@asynccontextmanager
async def session(
    rules: Rules, table: Table, proxy: str = "", dial: Dial = dial
) -> AsyncIterator[aiohttp.ClientSession]:
    route = Egress(rules, table, proxy=proxy, dial=dial).route()
    async with aiohttp.ClientSession(connector=RouteConnector(route)) as opened:
        yield opened


async def test_an_allowed_receiver_is_reached() -> None:
    table = Table()
    table.set("hooks.example", CANARY)
    async with answering().running() as server, session(ALLOWED, table) as http:
        for host in ("hooks.example", "127.0.0.1", "localhost"):
            async with http.post(f"http://{host}:{server.port}/", data=b"{}") as answer:
                assert await answer.read() == b"hello"


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "2130706433",
        "0x7f.1",
        "localhost",
        "inner.example",
        "mixed.example",
        "[::ffff:127.0.0.1]",
    ],
)
async def test_an_inner_receiver_is_not(host: str) -> None:
    table = Table()
    table.set("inner.example", CANARY)
    table.set("mixed.example", PUBLIC, CANARY)
    async with answering().running() as canary, session(Rules(), table) as http:
        # Some spellings aiohttp itself takes for no address at all.
        with pytest.raises((AddressNotAllowed, aiohttp.InvalidUrlClientError)):
            await http.post(f"http://{host}:{canary.port}/")

        assert canary.hits == 0


async def test_a_redirect_to_the_inside_ends_there_even_when_it_is_followed() -> None:
    table = Table()
    table.set("hooks.example", ip_address("127.0.0.2"))
    rules = rules_of(Settings(allow_addresses="127.0.0.2/32"))
    async with answering().running() as canary:
        to = f"Location: http://127.0.0.1:{canary.port}/"
        origin = Server(answering(b"", to, "Content-Length: 0", status="307 Temporary Redirect").serve)
        async with origin.running("127.0.0.2"), session(rules, table) as http:
            with pytest.raises(AddressNotAllowed):
                await http.post(f"http://hooks.example:{origin.port}/")

            assert (origin.hits, canary.hits) == (1, 0)


async def test_a_name_that_changes_its_mind_wins_nothing() -> None:
    table = Table()
    answers = itertools.cycle(((ip_address("127.0.0.2"),), (CANARY,)))
    table.answers["rebind.example"] = lambda: next(answers)
    rules = rules_of(Settings(allow_addresses="127.0.0.2/32"))
    async with answering().running() as canary, session(rules, table) as http:
        for _ in range(100):
            with pytest.raises((AddressNotAllowed, aiohttp.ClientOSError)):
                await http.post(f"http://rebind.example:{canary.port}/")

        assert canary.hits == 0


async def test_blocked_domains_and_closed_ports_are_refused() -> None:
    table = Table()
    table.set("x.bad.example", PUBLIC)
    table.set("hooks.example", PUBLIC)
    async with session(ALLOWED, table) as http:
        with pytest.raises(DomainNotAllowed):
            await http.post("http://x.bad.example/")
        with pytest.raises(AddressNotAllowed):
            await http.post("http://hooks.example:25/")
        with pytest.raises(AddressNotAllowed):
            await http.post(f"http://{PUBLIC}:6379/")


@pytest.mark.parametrize("addresses", [(PUBLIC, CANARY), (CANARY, PUBLIC)])
async def test_no_part_of_a_mixed_answer_is_connected_to(addresses: tuple[Address, Address]) -> None:
    dialled: list[object] = []

    async def note(to: Sequence[Address], _port: int) -> socket.socket:
        dialled.extend(to)
        raise OSError

    table = Table()
    table.set("mixed.example", *addresses)
    table.set("site.example", PUBLIC)
    async with session(Rules(), table, dial=note) as http:
        with pytest.raises(AddressNotAllowed):
            await http.post("http://mixed.example/")
        with pytest.raises(OSError):  # noqa: PT011  # whatever it is
            await http.post("http://site.example/")

    assert dialled == [PUBLIC]


# ------------------------------------------------------------------------------- through the operator's proxy


class Tunnel:
    """An HTTP proxy that leads every CONNECT to one port on loopback."""

    def __init__(self, port: int) -> None:
        self.asked: list[bytes] = []
        self.ended = asyncio.Event()
        self._port = port

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked.append(await reader.readuntil(b"\r\n\r\n"))
        inner, outer = await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            await asyncio.gather(_pour(reader, outer), _pour(inner, writer))
        finally:
            outer.close()
            self.ended.set()


async def _pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """A certificate for hooks.example that this process trusts."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "hooks.example")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2120, 1, 1, tzinfo=UTC))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("hooks.example")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = tmp_path / "hooks.pem"
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    pem.write_bytes(certificate.public_bytes(Encoding.PEM) + secret)
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem)
    return context


@asynccontextmanager
async def poster(table: Table, proxy: str) -> AsyncIterator[Poster]:
    """As the service has it."""
    made = Poster(10, partial(RouteConnector, Egress(Rules(), table, proxy=proxy).route()))
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


async def test_a_webhook_goes_through_the_operator_s_proxy(trusted: ssl.SSLContext) -> None:
    table = Table()
    table.set("hooks.example", PUBLIC)
    async with answering().running() as plain, answering().running(tls=trusted) as secure:
        for receiver, scheme, port in ((plain, "http", 80), (secure, "https", 443)):
            proxy = Tunnel(receiver.port)
            async with Server(proxy).running() as way:
                async with poster(table, f"http://me:pwd@127.0.0.1:{way.port}") as post:
                    for _ in range(2):
                        assert await post.post(f"{scheme}://hooks.example/in?a=1", b"", {}) == 200
                async with asyncio.timeout(DEADLINE_SEC):
                    await proxy.ended.wait()
            [asked] = proxy.asked  # one connection serves both
            assert asked.startswith(f"CONNECT {PUBLIC}:{port} HTTP/1.1\r\n".encode())
            assert b"Proxy-Authorization: Basic bWU6cHdk\r\n" in asked
            assert [head.split(b"\r\n")[:2] for head in receiver.heads] == [
                [b"POST /in?a=1 HTTP/1.1", b"Host: hooks.example"]
            ] * 2


async def test_a_receiver_that_shows_another_name_is_not_told(trusted: ssl.SSLContext) -> None:
    table = Table()
    table.set("other.example", PUBLIC)
    async with answering().running(tls=trusted) as receiver:
        proxy = Tunnel(receiver.port)
        async with Server(proxy).running() as way:
            async with poster(table, f"http://127.0.0.1:{way.port}") as post:
                with pytest.raises(Unanswered, match="CERTIFICATE_VERIFY_FAILED"):
                    await post.post("https://other.example/", b"{}", {})
            async with asyncio.timeout(DEADLINE_SEC):
                await proxy.ended.wait()

    assert receiver.heads == []


@pytest.mark.parametrize("proxy", ["", "http://127.0.0.1:9", "socks5://127.0.0.1:9", "socks5h://127.0.0.1:9"])
@pytest.mark.parametrize("host", ["10.0.0.7", "[::1]", "redis", "metadata.google.internal"])
async def test_no_proxy_hears_of_an_inner_receiver(proxy: str, host: str) -> None:
    async with poster(Table(), proxy) as post:
        with pytest.raises(Unanswered, match=r"not on the public Internet|inside a network"):
            await post.post(f"http://{host}/", b"{}", {})
