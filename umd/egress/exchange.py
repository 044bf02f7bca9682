"""What passes over one connection of a worker's: a tunnel, or requests one after the other."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from umd.egress import http
from umd.egress.http import HEAD_BYTES_MAX, UNTIL_CLOSE, BadMessage, Body, Chunks, NotSpoken, Request, Target
from umd.egress.meter import Meter
from umd.egress.notices import Listener, Notice
from umd.egress.route import Route
from umd.egress.wire import HeadTooLarge, Wire
from umd.errors import NotAllowed

PIECE_BYTES = 262_144
OUT_PIECE_BYTES = 32_768
REQUEST_WAIT_SEC = 60
"""For the next request on a connection."""

IDLE_SEC = 180
"""Nothing moved either way."""

HALF_IDLE_SEC = 30
"""Nothing moved after one side has ended; it may have gone for good."""

IDLE_CHECK_SEC = 5
LINGER_SEC = 1
"""How long a refused client may go on sending, so that it gets to read its answer."""

T = TypeVar("T")

Refuse = Callable[[str, str, Target | None], None]


@dataclass
class Origin:
    """A connection to a target."""

    wire: Wire
    target: Target
    opened_at: float
    bytes_in: int = 0
    bytes_out: int = 0


class Exchange:
    """Serves one client connection to its end.

    `run` raises `OSError` where either side breaks off, and `Overdrawn`. Nothing of it is left when it
    returns, save the client's connection, which is its owner's.
    """

    def __init__(self, client: Wire, route: Route, meter: Meter, refuse: Refuse, listen: Listener) -> None:
        self._client = client
        self._route = route
        self._meter = meter
        self._refuse = refuse
        self._listen = listen
        self._loop = asyncio.get_running_loop()
        self._origin: Origin | None = None
        self._begun = False
        """Whether the client has been sent a part of the current answer."""
        self._moved_at = 0.0
        self._idle: asyncio.Timeout | None = None

    async def run(self) -> None:
        try:
            while await self._one():
                pass
        except (BadMessage, HeadTooLarge) as error:
            await self._say(400, "bad_request", f"This request cannot be read: {error}.")
        except NotSpoken as error:
            self._refuse("unsupported_url", f"Not possible here: {error}.", None)
            await self._say(501, "unsupported_url", f"Not possible here: {error}.")
        finally:
            self._drop()

    async def _one(self) -> bool:
        """Serve one request; whether there may be another."""
        self._begun = False
        async with asyncio.timeout(REQUEST_WAIT_SEC):
            head = await self._client.head(HEAD_BYTES_MAX)
        if not head:
            return False
        asked = http.request(head)
        if self._meter.overdrawn:
            self._refuse("too_large", "Nothing more may come in.", asked.target)
            await self._say(403, "too_large", "This download may have no more.")
            return False
        return await (self._tunnel(asked) if asked.method == "CONNECT" else self._forward(asked))

    async def _tunnel(self, asked: Request) -> bool:
        origin = await self._open(asked.target)
        if origin is not None:
            await self._client.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await self._watch(
                self._come_in(origin, UNTIL_CLOSE), self._go_out(origin, UNTIL_CLOSE), both=True
            )
        return False

    async def _forward(self, asked: Request) -> bool:
        """Pass a request on, over the last connection where that leads to the same target."""
        if (kept := self._kept(asked)) is not None:
            try:
                return await self._answered(kept, asked)
            except ConnectionError:
                if self._begun:
                    raise
                # The origin has closed the connection meanwhile: that is no answer to this request.
        origin = await self._open(asked.target)
        if origin is None:
            return False
        try:
            return await self._answered(origin, asked)
        except (OSError, BadMessage, HeadTooLarge) as error:
            if not self._begun:
                await self._say_failed(asked.target, error)
            return False

    async def _answered(self, origin: Origin, asked: Request) -> bool:
        """Send a request and its body, and the client the answer; whether there may be another."""
        await origin.wire.send(asked.head)
        self._count_out(origin, len(asked.head))
        answer = self._answer(origin, asked)
        if asked.body.empty:
            told, whole = await self._alone(answer), True
        else:
            told, whole = await self._watch(answer, self._go_out(origin, asked.body))
        if not told.keep or not whole or origin.wire.has_more:
            self._drop()
        return asked.keep and told.body != UNTIL_CLOSE and whole

    async def _answer(self, origin: Origin, asked: Request) -> http.Answer:
        """Bring the answer to the client, interim ones too."""
        while True:
            head = await origin.wire.head(HEAD_BYTES_MAX)
            if not head:
                raise ConnectionResetError("no answer")
            await self._count_in(origin, len(head))
            told = http.answer(head, asked.method)
            if told.status == 101:  # noqa: PLR2004  # nobody has asked for another protocol
                raise BadMessage("switch of protocols")
            self._begun = True
            final = told.status >= 200  # noqa: PLR2004
            await self._client.send(told.head(keep=not final or (asked.keep and told.body != UNTIL_CLOSE)))
            if final:
                break
        await self._come_in(origin, told.body)
        return told

    async def _come_in(self, origin: Origin, body: Body) -> None:
        """Bring a body from the origin to the client, counted and at the rate."""
        pieces = _Pieces(body, PIECE_BYTES)
        while not pieces.ended and (piece := await pieces.next(origin.wire, self._meter.piece(PIECE_BYTES))):
            self._move()
            await self._count_in(origin, len(piece))
            await self._client.send(piece)
        if body == UNTIL_CLOSE:
            self._client.end()

    async def _go_out(self, origin: Origin, body: Body) -> None:
        """Bring a body from the client to the origin."""
        pieces = _Pieces(body, OUT_PIECE_BYTES)
        while not pieces.ended and (piece := await pieces.next(self._client, OUT_PIECE_BYTES)):
            self._move()
            await origin.wire.send(piece)
            self._count_out(origin, len(piece))
        if body == UNTIL_CLOSE:
            origin.wire.end()

    def _move(self) -> None:
        """Something has passed."""
        self._moved_at = self._loop.time()
        if self._idle is not None:
            self._idle.reschedule(self._moved_at + IDLE_SEC)

    async def _alone(self, main: Coroutine[Any, Any, T]) -> T:
        """Run it without a task of its own. Raises `TimeoutError` when nothing moves any more."""
        try:
            async with asyncio.timeout(IDLE_SEC) as self._idle:
                return await main
        finally:
            self._idle = None

    async def _watch(
        self,
        main: Coroutine[Any, Any, T],
        side: Coroutine[Any, Any, None],
        *,
        both: bool = False,
    ) -> tuple[T, bool]:
        """Run both until the first has ended, or both have; what the first gave, and whether both have.

        Raises what either raises, and `TimeoutError` when nothing moves any more.
        """
        first = asyncio.create_task(main)
        tasks: set[asyncio.Task[Any]] = {first, asyncio.create_task(side)}
        pending = tasks
        self._moved_at = self._loop.time()
        try:
            while not first.done() or (both and pending):
                done, pending = await asyncio.wait(
                    pending, timeout=IDLE_CHECK_SEC, return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    task.result()
                idle_sec = HALF_IDLE_SEC if both and len(pending) < len(tasks) else IDLE_SEC
                if self._loop.time() - self._moved_at > idle_sec:
                    raise TimeoutError
            return first.result(), not pending
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _open(self, target: Target) -> Origin | None:
        """Connect to a target, or tell the client why not."""
        self._drop()
        began = self._loop.time()
        try:
            wire = await self._route.open(target)
        except NotAllowed as error:
            self._refuse(error.code, str(error), target)
            await self._say(403, error.code, str(error))
            return None
        except OSError as error:
            await self._say_failed(target, error)
            return None
        now = self._loop.time()
        self._origin = Origin(wire, target, now)
        self._listen(Notice("connected", *target, seconds=now - began))
        return self._origin

    def _kept(self, asked: Request) -> Origin | None:
        """The last connection, for a request that may be sent twice should it turn out to be dead."""
        origin = self._origin
        if origin is None or origin.target != asked.target or asked.method not in ("GET", "HEAD"):
            return None
        return origin if asked.body.empty else None

    def _drop(self) -> None:
        origin, self._origin = self._origin, None
        if origin is not None:
            origin.wire.close()
            self._listen(
                Notice(
                    "closed",
                    *origin.target,
                    seconds=self._loop.time() - origin.opened_at,
                    bytes_in=origin.bytes_in,
                    bytes_out=origin.bytes_out,
                )
            )

    async def _count_in(self, origin: Origin, count: int) -> None:
        origin.bytes_in += count
        await self._meter.take(count)

    def _count_out(self, origin: Origin, count: int) -> None:
        origin.bytes_out += count
        self._meter.give(count)

    async def _say_failed(self, target: Target, error: Exception) -> None:
        """Answer that the target cannot be had, without a word of what it or the system said."""
        self._listen(Notice("failed", *target))
        if isinstance(error, TimeoutError):
            await self._say(504, "timeout", "The site does not answer.")
        else:
            await self._say(502, "unreachable", "The site cannot be reached, or does not answer in HTTP.")

    async def _say(self, status: int, code: str, text: str) -> None:
        """Answer in the origin's place, and end. The code is the reason phrase, which yt-dlp shows."""
        body = f"{text}\n".encode()
        head = (
            f"HTTP/1.1 {status} {code}\r\nX-Umd-Refusal: {code}\r\nContent-Type: text/plain\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        try:
            async with asyncio.timeout(LINGER_SEC):
                await self._client.send(head.encode() + body)
                self._client.end()
                into = memoryview(bytearray(OUT_PIECE_BYTES))
                while await self._client.receive(into):
                    pass
        except TimeoutError:
            return


class _Pieces:
    """A body as it passes by, in one buffer that is used again and again."""

    def __init__(self, body: Body, bytes_max: int) -> None:
        self._left = body.size
        self._chunks = Chunks() if body.chunked else None
        self._until_close = body == UNTIL_CLOSE
        self._buffer = memoryview(bytearray(bytes_max if body.size is None else min(bytes_max, body.size)))

    @property
    def ended(self) -> bool:
        return self._left == 0 or (self._chunks is not None and self._chunks.ended)

    async def next(self, wire: Wire, bytes_max: int) -> memoryview:
        """What comes next; nothing where a body of no known size has ended.

        Raises `ConnectionError` where a body breaks off.
        """
        room = bytes_max if self._left is None else min(bytes_max, self._left)
        count = await wire.receive(self._buffer[:room])
        if count == 0 and not self._until_close:
            raise ConnectionResetError("the body breaks off")
        if self._left is not None:
            self._left -= count
        if self._chunks is not None:
            mine = self._chunks.feed(self._buffer[:count])
            wire.give_back(self._buffer[mine:count])
            count = mine
        return self._buffer[:count]
