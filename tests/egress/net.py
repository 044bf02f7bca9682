"""A small Internet on loopback: names from a table, one public address that is an origin, and a canary."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import ip_address

from umd.domain.addresses import Address
from umd.domain.destinations import Rules
from umd.egress.notices import Notice
from umd.egress.passage import Allowance, Passage
from umd.egress.proxy import Egress

DEADLINE_SEC = 60.0
PUBLIC = ip_address("93.184.215.14")
PUBLIC_V6 = ip_address("2606:2800:21f:cb07:6820:80da:af6b:8b2c")
INNER = ip_address("10.0.0.7")
PLENTY = Allowance(bytes_max=2**40)

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Table:
    """Names and what they resolve to, each time that they are asked for."""

    def __init__(self) -> None:
        self.answers: dict[str, Callable[[], Sequence[Address]]] = {}
        self.asked: list[str] = []

    def set(self, name: str, *addresses: Address) -> None:
        self.answers[name] = lambda: addresses

    async def resolve(self, host: str, share: asyncio.Semaphore) -> tuple[Address, ...]:
        self.asked.append(host)
        if host not in self.answers:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return tuple(self.answers[host]())


@dataclass
class Server:
    """A server on loopback that counts its connections and keeps what it reads the heads of."""

    serve: Serve
    port: int = 0
    hits: int = 0
    heads: list[bytes] = field(default_factory=list)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.hits += 1
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await self.serve(reader, writer)
        finally:
            writer.close()

    @asynccontextmanager
    async def running(
        self, address: str = "127.0.0.1", tls: ssl.SSLContext | None = None
    ) -> AsyncIterator["Server"]:
        server = await asyncio.start_server(self._serve, address, 0, limit=2**20, ssl=tls)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()

    async def head(self, reader: asyncio.StreamReader) -> bytes:
        got = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(got)
        return got


@dataclass
class Net:
    """The proxy, with a table for names, and an origin and a canary behind all addresses."""

    origin: Server
    canary: Server
    table: Table
    dialled: list[tuple[Address, int]]
    notices: list[Notice]
    egress: Egress

    @asynccontextmanager
    async def passage(self, allowance: Allowance = PLENTY) -> AsyncIterator["Client"]:
        listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        port = listener.getsockname()[1]
        try:
            passage = await self.egress.admit(listener, allowance)
        except ValueError:
            listener.close()
            raise
        try:
            yield Client(port, passage)
        finally:
            async with asyncio.timeout(DEADLINE_SEC):
                await passage.close()


@dataclass
class Client:
    """A worker, as far as its passage sees it."""

    port: int
    passage: Passage

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        async with asyncio.timeout(DEADLINE_SEC):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=2**20)
            try:
                yield reader, writer
            finally:
                writer.close()
                with suppress(ConnectionError):
                    await writer.wait_closed()

    async def send(self, data: bytes) -> bytes:
        """Send bytes and read to the end."""
        async with self.connected() as (reader, writer):
            writer.write(data)
            return await reader.read()

    async def get(self, url: str, *lines: str) -> bytes:
        fields = "".join(f"{line}\r\n" for line in lines)
        return await self.send(f"GET {url} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{fields}\r\n".encode())

    async def connect(self, authority: str, data: bytes = b"") -> bytes:
        return await self.send(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode() + data)


def answering(body: bytes = b"hello", *lines: str, status: str = "200 OK") -> Server:
    """An origin that gives the same answer to every request."""
    fields = "".join(f"{line}\r\n" for line in lines or (f"Content-Length: {len(body)}",))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await server.head(reader)
            writer.write(f"HTTP/1.1 {status}\r\n{fields}\r\n".encode() + body)
            await writer.drain()
            if "close" in fields:
                return

    server = Server(serve)
    return server


@asynccontextmanager
async def net(
    origin: Server | None = None, rules: Rules | None = None, proxy: str = ""
) -> AsyncIterator[Net]:
    """The origin stands behind `PUBLIC` and `PUBLIC_V6`, the canary behind every other address."""
    dialled: list[tuple[Address, int]] = []
    notices: list[Notice] = []
    table = Table()
    table.set("site.example", PUBLIC)

    async def dial(addresses: Sequence[Address], port: int) -> socket.socket:
        dialled.extend((address, port) for address in addresses)
        outside = all(address in (PUBLIC, PUBLIC_V6) for address in addresses)
        end = socket.socket()
        end.setblocking(False)
        try:
            to = site if outside else canary
            await asyncio.get_running_loop().sock_connect(end, ("127.0.0.1", to.port))
        except BaseException:
            end.close()
            raise
        return end

    canary, site = answering(b"INSIDE"), origin or answering()
    async with canary.running(), site.running():
        egress = Egress(rules or Rules(), table, proxy=proxy, dial=dial, listen=notices.append)
        try:
            yield Net(site, canary, table, dialled, notices, egress)
        finally:
            async with asyncio.timeout(DEADLINE_SEC):
                await egress.stop()
