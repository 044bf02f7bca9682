"""Services inside a network that no download may reach: they count who comes, on a port for each lure."""

import asyncio
import contextlib
import socket
from types import TracebackType
from typing import Self

MARKER = "an inner word"
"""What the canary answers with: it must not show up anywhere."""

ANSWER = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\n{MARKER}".encode()


class Canary:
    """Listens at an inner address, for TCP and for datagrams."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.visits: dict[int, int] = {}
        self._servers: list[asyncio.Server] = []
        self._receivers: list[socket.socket] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in self._servers:
            server.close()
        for receiver in self._receivers:
            asyncio.get_running_loop().remove_reader(receiver)
            receiver.close()

    async def port(self) -> int:
        """A port of its own for one lure."""
        family = socket.AF_INET6 if ":" in self.address else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as free:
            free.bind((self.address, 0))
            port = int(free.getsockname()[1])
        server = await asyncio.start_server(self._greet, self.address, port)
        self._servers.append(server)
        receiver = socket.socket(family, socket.SOCK_DGRAM)
        receiver.bind((self.address, port))
        receiver.setblocking(False)
        asyncio.get_running_loop().add_reader(receiver, self._receive, receiver, port)
        self._receivers.append(receiver)
        self.visits[port] = 0
        return port

    def _receive(self, receiver: socket.socket, port: int) -> None:
        receiver.recv(65_536)
        self.visits[port] += 1

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.visits[writer.get_extra_info("sockname")[1]] += 1
        with contextlib.suppress(OSError):
            await reader.read(4_096)
            writer.write(ANSWER)
            await writer.drain()
        writer.close()
