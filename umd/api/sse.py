"""The hub of the event streams: it brings each row of the log and each tick to whoever listens.

A frame is encoded once and written straight to the transports of its listeners; no queue stands between.
Durable events are never dropped: a client that takes nothing is cut off, and resumes by its last event id.
Of ticks only the newest is kept for a client that lags.
"""

import asyncio
import socket
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import chain
from typing import Final

from aiohttp import web

from umd.api import sse_frames as frames
from umd.api.problems import HttpRefusal
from umd.api.rate_limit import counted_as
from umd.api.sse_stream import StreamLimits, Subscriber, Tail, Topic
from umd.domain.events import Progress
from umd.domain.job import stream as stream_of
from umd.errors import LogError, Overloaded, ShuttingDown
from umd.live import Live
from umd.log import EventLog, Fact, Record

__all__ = ["HUB", "Hub", "StreamLimits", "Topic"]

HEADERS: Final = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
    "X-Content-Type-Options": "nosniff",
}

TICK_SEC: Final = 0.25
"""The least time between two ticks of a job."""

SNDBUF_BYTES: Final = 32_768
"""The kernel's buffer of a stream. With the default it takes half a megabyte: minutes of stale ticks."""

USER_TIMEOUT_MS: Final = 30_000
CLOSE_WAIT_SEC: Final = 1.0
RETRY_SEC: Final = 10
SPREAD: Final = 0.1
GOLDEN_RATIO: Final = 0.618034


class Hub:
    """All subscribers, by topic. `follow` and `tick` are called on the event loop and never wait."""

    def __init__(self, log: EventLog, live: Live, limits: StreamLimits) -> None:
        self._log = log
        self._live = live
        self._limits = limits
        self._tail = Tail(log)
        self._by_stream: dict[str | None, set[Subscriber]] = {}
        self._members: set[Subscriber] = set()
        self._of_caller: Counter[str] = Counter()
        self._admitted = 0
        self._past_sent = self._past_skipped = self._past_cut = 0
        self._paced: dict[str, Progress | None] = {}
        self._vacant = asyncio.Event()
        self._vacant.set()
        self._closing = False

    @property
    def position(self) -> int:
        """The last row that the streams know of."""
        return self._tail.position

    @property
    def subscribers(self) -> int:
        """How many streams are open."""
        return len(self._members)

    @property
    def frames_sent(self) -> int:
        """How many events, ticks and snapshots were written so far, to all subscribers together."""
        return self._past_sent + sum(subscriber.sent for subscriber in self._members)

    @property
    def ticks_skipped(self) -> int:
        """How many ticks a subscriber that lagged did not get, because a newer one or an event came."""
        return self._past_skipped + sum(subscriber.skipped for subscriber in self._members)

    @property
    def cut(self) -> int:
        """How many clients were cut off because they were too slow."""
        return self._past_cut + sum(subscriber.cut for subscriber in self._members)

    def start(self) -> None:
        """Follow the log from its head on. Only after the log's own start."""
        self._tail.position = self._log.head
        self._log.follow(self.follow)
        self._live.listen(self.tick)

    async def close(self) -> None:
        """End every stream, at a point where its client can resume; returns when all handlers have left.

        What was written is still taken by clients that read; the others are cut off after `CLOSE_WAIT_SEC`.
        """
        self._closing = True
        for subscriber in self._members:
            subscriber.end()
        try:
            async with asyncio.timeout(CLOSE_WAIT_SEC):
                await self._vacant.wait()
        except TimeoutError:
            for subscriber in self._members:
                subscriber.transport.abort()
            await self._vacant.wait()

    def follow(self, facts: Sequence[Fact]) -> None:
        """Bring committed rows to their listeners."""
        for fact in facts:
            if fact.record.kind == "event":
                self._deliver(fact.record)
            self._tail.add(fact.record)

    def tick(self, job_id: str, progress: Progress) -> None:
        """Bring a tick to its listeners, now or when the job's last one is old enough."""
        stream = stream_of(job_id)
        if stream in self._paced:
            self._paced[stream] = progress
        elif stream in self._by_stream or None in self._by_stream:
            self._broadcast(stream, job_id, progress, asyncio.get_running_loop().time())

    async def serve(self, request: web.Request, topic: Topic, after: int | None) -> web.StreamResponse:
        """Answer a GET with the stream of a topic: behind position `after`, or from a snapshot on.

        A position that the log has not, below its floor or beyond its head, is answered by `reset` and a
        snapshot. Raises `Overloaded`, `HttpRefusal` or `ShuttingDown` before anything is sent. Once the
        stream has begun, a client that has gone ends it quietly.
        """
        whose = counted_as(request)
        self._admit(whose)
        subscriber = Subscriber(request, topic, after, self._tail, self._limits, self._end_of_next())
        # A connection with small buffers is not given back for other requests.
        _tune(subscriber.transport)
        response = web.StreamResponse(headers=HEADERS)
        response.force_close()
        self._join(subscriber)
        self._of_caller[whose] += 1
        try:
            await response.prepare(request)
            await response.write(frames.RETRY)  # the first write is what sends the headers
            await subscriber.run()
        except (ConnectionError, LogError):
            # Nobody is there to be told; or the log has ended, has said so itself, and the client resumes.
            pass
        finally:
            self._leave(subscriber)
            self._release(whose)
        return response

    def _admit(self, whose: str) -> None:
        if self._closing:
            raise ShuttingDown("The service is stopping.")
        if self.subscribers >= self._limits.subscribers_max:
            raise Overloaded(f"{self.subscribers} event streams are open: no more are served at once.")
        most = self._limits.per_caller_max
        if whose and most is not None and self._of_caller[whose] >= most:
            told = f"{most} event streams of yours are open: no more are served at once."
            raise HttpRefusal("rate_limited", told, retry_after=RETRY_SEC)

    def _end_of_next(self) -> float:
        """When the next stream ends by itself. Streams that begin together shall not end together.

        Multiples of the golden ratio, modulo one, spread evenly however many they are.
        """
        self._admitted += 1
        early = SPREAD * (self._admitted * GOLDEN_RATIO % 1)
        return asyncio.get_running_loop().time() + self._limits.max_sec * (1 - early)

    def _join(self, subscriber: Subscriber) -> None:
        self._members.add(subscriber)
        self._by_stream.setdefault(subscriber.topic.stream, set()).add(subscriber)
        self._vacant.clear()

    def _leave(self, subscriber: Subscriber) -> None:
        self._members.remove(subscriber)
        audience = self._by_stream[subscriber.topic.stream]
        audience.remove(subscriber)
        if not audience:
            del self._by_stream[subscriber.topic.stream]
        self._past_sent += subscriber.sent
        self._past_skipped += subscriber.skipped
        self._past_cut += subscriber.cut
        if not self._members:
            self._vacant.set()

    def _release(self, whose: str) -> None:
        self._of_caller[whose] -= 1
        if not self._of_caller[whose]:
            del self._of_caller[whose]

    def _audience(self, stream: str) -> Iterator[Subscriber]:
        """Who listens to a stream or to all of them."""
        return chain(self._by_stream.get(stream, ()), self._by_stream.get(None, ()))

    def _deliver(self, record: Record) -> None:
        """Bring an event to those who want it. It supersedes a tick of its job that waits for its time."""
        if record.stream in self._paced:
            self._paced[record.stream] = None
        frame = chunk = b""
        for subscriber in self._audience(record.stream):
            if subscriber.wants(record):
                if not frame:
                    frame = frames.event(record)
                    chunk = frames.chunk(frame)
                subscriber.event(record, frame, chunk)

    def _broadcast(self, stream: str, job_id: str, progress: Progress, due: float) -> None:
        """Bring a tick to its listeners, and let no other of the job pass before the next is due."""
        due += TICK_SEC
        self._paced[stream] = None
        asyncio.get_running_loop().call_at(due, self._next_tick, stream, job_id, due)
        frame = frames.progress(job_id, progress)
        chunk = frames.chunk(frame)
        for subscriber in self._audience(stream):
            subscriber.tick(stream, frame, chunk)

    def _next_tick(self, stream: str, job_id: str, due: float) -> None:
        """Of the ticks that came in the meantime, the newest.

        `due` is when this should have been called: counting on from there keeps the step of a job that ticks
        as fast as it may. With the time at which it is called, each tick would wait longer than the last.
        """
        progress = self._paced.pop(stream)
        if progress is not None:
            self._broadcast(stream, job_id, progress, due)


HUB: web.AppKey[Hub] = web.AppKey("hub", Hub)


def _tune(transport: asyncio.Transport) -> None:
    """Make a client that does not read show early, and let `drain` wait until nothing is left."""
    transport.set_write_buffer_limits(high=0)
    connection: socket.socket | None = transport.get_extra_info("socket")
    if connection is None:
        return
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SNDBUF_BYTES)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)
