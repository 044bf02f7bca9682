"""One end of a connection: a socket that the event loop reads and writes, with a head read ahead.

Plain sockets instead of asyncio's streams: what is read goes into one buffer and from there to the other
side, is never copied twice, and nothing is read that the other side has not taken.
"""

import asyncio
import socket
from contextlib import suppress

READ_BYTES = 16_384


class HeadTooLarge(ValueError):
    """The head of a message does not end within its limit."""


class Wire:
    """Takes a connected socket over. Only one task may receive, and one send, at a time."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        with suppress(OSError):  # not every socket is TCP
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = connection
        self._loop = asyncio.get_running_loop()
        self._ahead = bytearray()

    async def head(self, bytes_max: int) -> bytes:
        """Read up to the empty line that ends a head, and with it; nothing where the other side has ended.

        Raises `HeadTooLarge`, and `ConnectionError` where the head breaks off.
        """
        while (end := _head_end(self._ahead)) == 0:
            if len(self._ahead) > bytes_max:
                raise HeadTooLarge
            more = await self._loop.sock_recv(self._socket, READ_BYTES)
            if not more:
                if self._ahead.strip():
                    raise ConnectionResetError("the head breaks off")
                return b""
            self._ahead += more
        if end > bytes_max:
            raise HeadTooLarge
        return self._ahead_taken(end)

    async def exactly(self, count: int) -> bytes:
        """Read so many bytes. Raises `ConnectionError` where the other side ends before."""
        while len(self._ahead) < count:
            more = await self._loop.sock_recv(self._socket, READ_BYTES)
            if not more:
                raise ConnectionResetError("the answer breaks off")
            self._ahead += more
        return self._ahead_taken(count)

    async def receive(self, into: memoryview) -> int:
        """Read what there is; 0 at the end."""
        if self._ahead:
            piece = self._ahead_taken(len(into))
            into[: len(piece)] = piece
            return len(piece)
        return await self._loop.sock_recv_into(self._socket, into)

    @property
    def has_more(self) -> bool:
        """Whether something was read that nobody has taken."""
        return bool(self._ahead)

    def give_back(self, data: bytes | memoryview) -> None:
        """What was read too far is the next thing to be read."""
        self._ahead[:0] = data

    async def send(self, data: bytes | memoryview) -> None:
        await self._loop.sock_sendall(self._socket, data)

    def end(self) -> None:
        """Say that nothing more will be sent."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._socket.close()

    def detach(self) -> socket.socket:
        """Give the socket to another owner. Raises `ConnectionError` if the other side has spoken first."""
        if self._ahead:
            self.close()
            raise ConnectionResetError("the other side has spoken first")
        return self._socket

    def _ahead_taken(self, count: int) -> bytes:
        taken = bytes(self._ahead[:count])
        del self._ahead[:count]
        return taken


def _head_end(data: bytearray) -> int:
    """Where the head ends, 0 where it does not yet. Empty lines before it are part of it."""
    start = len(data) - len(data.lstrip(b"\r\n"))
    ends = [
        at + len(mark) for mark in (b"\r\n\r\n", b"\n\n", b"\n\r\n") if (at := data.find(mark, start)) >= 0
    ]
    return min(ends, default=0)
