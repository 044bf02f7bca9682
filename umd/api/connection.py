"""One connection: what cannot be read as HTTP is answered as a problem, who is too slow is cut off."""

import asyncio
from collections.abc import Callable

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong

from umd.api import access_log, problems
from umd.api.request_id import identify, label
from umd.clock import Clock
from umd.telemetry.records import Listener, ignore

LINE_BYTES_MAX = 16_384
HEADER_BYTES_MAX = 8_192
HEADERS_MAX = 100
HEADER_WAIT_SEC = 10
KEEPALIVE_SEC = 75
WRITE_WAIT_SEC = 30
LINGER_SEC = 5

_TOO_MANY = "Too many headers received"


class Alarm:
    """Calls back after a time, unless it is cleared before. Setting it again changes nothing."""

    def __init__(self, seconds: float, ring: Callable[[], None]) -> None:
        self._seconds = seconds
        self._ring = ring
        self._timer: asyncio.TimerHandle | None = None

    def set(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._seconds, self._ring)

    def clear(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Connection(web.RequestHandler):
    """aiohttp's connection with what it lacks: its own errors in our form, and time limits.

    The line and the headers of a request have `HEADER_WAIT_SEC` from their first byte, those of the first
    request from the connection's beginning, and a client that takes nothing of a full send buffer for
    `WRITE_WAIT_SEC` is dropped. For the first, two things are read that aiohttp does not promise to keep: the
    number of requests so far, and that none is being handled.
    """

    __slots__ = ("_clock", "_has_room", "_header_alarm", "_listener", "_refused", "_unsent", "_write_alarm")

    def __init__(
        self, server: web.Server, clock: Clock, connections_max: int, listener: Listener = ignore
    ) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]  # how aiohttp's own access log is switched off
            keepalive_timeout=KEEPALIVE_SEC,
            max_line_size=LINE_BYTES_MAX,
            max_field_size=HEADER_BYTES_MAX,
            max_headers=HEADERS_MAX,
            lingering_time=LINGER_SEC,
            auto_decompress=False,
        )
        self._clock = clock
        self._has_room = len(server.connections) < connections_max
        self._listener = listener
        self._refused = False
        self._header_alarm = Alarm(HEADER_WAIT_SEC, self._give_up_on_headers)
        self._write_alarm = Alarm(WRITE_WAIT_SEC, self._give_up_on_reader)
        self._unsent = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._header_alarm.set()
        if not self._has_room:
            self.force_close()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._header_alarm.clear()
        self._write_alarm.clear()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:  # nothing that follows what could not be read means anything
            return
        requests = self._request_count
        super().data_received(data)
        if self._request_count > requests:
            self._header_alarm.clear()
        elif self._waiter is not None:
            self._header_alarm.set()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch_reader()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._write_alarm.clear()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,  # noqa: ARG002  # what it was decides, not what aiohttp would answer
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what aiohttp gives up on: a request that is not HTTP, or an error that no handler took."""
        if request.writer.output_size > 0 or isinstance(exc, ConnectionError):
            raise ConnectionError("The answer has begun; all that is left is to cut it off.")
        identify(request, self._clock)
        if isinstance(exc, HttpProcessingError):
            self._refused = True
            answer = problems.problem(request, *_verdict(exc))
        else:
            answer = problems.explain(request, exc if isinstance(exc, Exception) else RuntimeError(message))
        label(request, answer)
        access_log.note(request, access_log.UNREADABLE, answer, 0.0, self._listener)
        return LastWord(answer, self.transport)

    def _give_up_on_headers(self) -> None:
        self._header_alarm.clear()
        if self._waiter is not None and not self._waiter.done():
            self.force_close()

    def _watch_reader(self) -> None:
        if self.transport is not None:
            self._unsent = self.transport.get_write_buffer_size()
            self._write_alarm.set()

    def _give_up_on_reader(self) -> None:
        self._write_alarm.clear()
        if self.transport is None:
            return
        if self.transport.get_write_buffer_size() < self._unsent:
            self._watch_reader()
        else:
            self.transport.abort()


class LastWord(web.Response):
    """The last answer of a connection.

    A client that is still sending would lose it if the connection were closed at once: so this says that
    nothing more will come, and leaves the client a moment to read and to close.
    """

    def __init__(self, answer: web.Response, transport: asyncio.Transport | None) -> None:
        super().__init__(status=answer.status, headers=answer.headers, body=answer.body)
        self._transport = transport
        self.force_close()

    async def write_eof(self, data: bytes = b"") -> None:
        await super().write_eof(data)
        if self._transport is not None and self._transport.can_write_eof():
            self._transport.write_eof()
            await asyncio.sleep(LINGER_SEC)


def _verdict(error: HttpProcessingError) -> tuple[str, str]:
    """The code and the detail for what aiohttp's parser found."""
    if isinstance(error, LineTooLong) and error.args[1] == LINE_BYTES_MAX:
        return "uri_too_long", f"An address has at most {LINE_BYTES_MAX:,} bytes."
    if isinstance(error, LineTooLong):
        return "headers_too_large", f"A header has at most {HEADER_BYTES_MAX:,} bytes."
    if error.message == _TOO_MANY:
        return "headers_too_large", f"A request has at most {HEADERS_MAX} headers."
    return "malformed_request", "This cannot be read as HTTP/1.1."
