"""The service's end of a child's report pipe: lines become reports, in bounded memory."""

import asyncio
import io
from collections import deque
from collections.abc import Callable

import msgspec

from umd.engine.protocol import LINE_BYTES_MAX, AnyReport, Tick

REPORTS_MAX = 1_000
"""Unread reports at which the pipe is left to fill up: then the child waits."""

_decoder = msgspec.json.Decoder(AnyReport)


class Inbox(asyncio.Protocol):
    """Reports in order, for one reader. A tick gives way to the next one if it has not been read.

    A line that is no report means that the child is out of its mind: `on_broken` is called once, with the
    reason, and the stream ends there.
    """

    def __init__(self, on_broken: Callable[[str], None]) -> None:
        self._on_broken = on_broken
        self._reports: deque[AnyReport] = deque()
        self._rest = b""
        self._changed = asyncio.Event()
        self._transport: asyncio.ReadTransport | None = None
        self._paused = False
        self.ended = asyncio.get_running_loop().create_future()

    async def open(self, descriptor: int) -> None:
        """Read reports from the reading end of a pipe, which is closed at the end or by a cancel."""
        await asyncio.get_running_loop().connect_read_pipe(lambda: self, io.FileIO(descriptor))

    async def read(self) -> AnyReport | None:
        """The next report, or None when there will be none any more."""
        while not self._reports and not self.ended.done():
            self._changed.clear()
            await self._changed.wait()
        report = self._reports.popleft() if self._reports else None
        if self._paused and len(self._reports) < REPORTS_MAX // 2:
            self._resume()
        return report

    def close(self) -> None:
        """Take nothing more; what came can still be read."""
        if self._transport is not None:
            self._transport.close()
        self._end()

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.ReadTransport):
            self._transport = transport

    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LINE_BYTES_MAX:
            self._break("a line without an end")
        for line in lines:
            if self.ended.done():
                return
            self._take(line)
        if len(self._reports) >= REPORTS_MAX:
            self._pause()

    def connection_lost(self, _exc: Exception | None) -> None:
        self._end()

    def _take(self, line: bytes) -> None:
        try:
            report = _decoder.decode(line)
        except msgspec.MsgspecError as error:
            self._break(str(error))
            return
        if isinstance(report, Tick) and self._reports and isinstance(self._reports[-1], Tick):
            self._reports.pop()
        self._reports.append(report)
        self._changed.set()

    def _break(self, reason: str) -> None:
        self.close()
        self._on_broken(reason)

    def _pause(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()

    def _end(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)
        self._rest = b""
        self._changed.set()
