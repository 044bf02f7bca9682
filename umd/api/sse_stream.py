"""One subscriber's stream, from its first frame to its last.

It is either *live*, and then the hub writes to it, or *behind*, and then its own handler reads what it
misses, page by page, as fast as the client takes it. It becomes live in one synchronous step, when nothing
is missing: so there is no gap and no repeat. Everybody begins behind, and falls behind again when the
transport holds more than it may.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import Final, Protocol

import msgspec
from aiohttp import HttpVersion11, web

from umd.api import sse_frames as frames
from umd.log import EventLog, Record
from umd.settings import Settings

PAGE_ROWS: Final = 500
RECENT_ROWS: Final = 1_000
UNSENT_BYTES_MAX: Final = 65_536
"""What may wait in a transport before its subscriber has to catch up from the log instead."""


class StreamLimits(msgspec.Struct, frozen=True):
    """How many streams there may be, how long each lasts, and how long a client may take nothing."""

    subscribers_max: int
    heartbeat_sec: float
    max_sec: float
    stall_sec: float = 15.0
    per_caller_max: int | None = None

    @classmethod
    def of(cls, settings: Settings) -> "StreamLimits":
        return cls(
            settings.sse_max_subscribers,
            settings.sse_heartbeat_sec,
            settings.sse_max_sec,
            per_caller_max=settings.sse_max_per_caller,
        )


class Topic(Protocol):
    """What a subscriber wants to hear, and what only the resource knows of itself."""

    @property
    def stream(self) -> str | None:
        """The one stream of the log that has to be read; None reads all, and `shows` chooses."""

    @property
    def types(self) -> frozenset[str] | None:
        """The types of events that are wanted; None wants all."""

    @property
    def final(self) -> frozenset[str]:
        """The types of events after which the topic may be over."""

    def shows(self, stream: str) -> bool:
        """Whether what happens in this stream of the log is wanted, and may be shown to the subscriber."""

    def snapshot(self) -> bytes:
        """The resource as its GET would answer now."""

    def is_over(self) -> bool:
        """Whether nothing more is to be expected now."""

    async def last_word(self) -> Record | None:
        """The event that ended it, if the log still has it."""


class Tail:
    """The log as far as the hub has been told of it, its newest rows at hand."""

    def __init__(self, log: EventLog) -> None:
        self.position = 0
        self._log = log
        self._recent: deque[Record] = deque(maxlen=RECENT_ROWS)

    @property
    def floor(self) -> int:
        return self._log.floor

    def add(self, record: Record) -> None:
        self._recent.append(record)
        self.position = record.position

    def has(self, position: int) -> bool:
        """Whether all rows behind a position can still be had."""
        return self._log.floor <= position <= self.position

    async def after(self, position: int, stream: str | None) -> tuple[Sequence[Record], int]:
        """Rows behind a position, of one stream at least, and up to where none of them is missing.

        It gives way to others only where the log itself has to be read.
        """
        end = self.position
        first = self._recent[0].position if self._recent else end + 1
        if position >= first - 1:
            return list(islice(self._recent, position - first + 1, None)), end
        records = await self._log.read(position, PAGE_ROWS, stream=stream)
        return records, end if len(records) < PAGE_ROWS else min(end, records[-1].position)


class Subscriber:
    """The server's end of a stream. The hub calls `event`, `tick` and `end`; `run` is the handler's part.

    While it is behind, `position` is the last row that it needs no more, None if it has none yet, and
    `held` has the newest unsent tick of each job.
    """

    __slots__ = (
        "_beat_at",
        "_chunked",
        "_end_at",
        "_held",
        "_limits",
        "_live",
        "_owes_last_word",
        "_position",
        "_tail",
        "_wake",
        "_wants_ticks",
        "_writer",
        "cut",
        "sent",
        "skipped",
        "topic",
        "transport",
    )

    def __init__(
        self,
        request: web.Request,
        topic: Topic,
        after: int | None,
        tail: Tail,
        limits: StreamLimits,
        end_at: float,
    ) -> None:
        if request.transport is None:
            raise ConnectionResetError("The client has gone.")
        self.topic = topic
        self.transport = request.transport
        self.sent = self.skipped = self.cut = 0
        self._writer = request.writer
        self._chunked = request.version >= HttpVersion11
        self._wants_ticks = topic.types is None or frames.PROGRESS in topic.types
        self._tail = tail
        self._limits = limits
        self._beat_at = 0.0
        self._end_at = end_at
        self._position = after
        self._live = False
        self._held: dict[str, bytes] = {}
        self._owes_last_word = False
        self._wake = asyncio.Event()

    @property
    def is_live(self) -> bool:
        return self._live

    def wants(self, record: Record) -> bool:
        """Whether this row is shown to this subscriber."""
        topic = self.topic
        return (
            record.kind == "event"
            and (topic.types is None or record.type in topic.types)
            and topic.shows(record.stream)
        )

    def event(self, record: Record, frame: bytes, chunk: bytes) -> None:
        """Write an event that is wanted, or leave it to the handler. It supersedes its job's unsent tick."""
        if self._held.pop(record.stream, None) is not None:
            self.skipped += 1
        if not self._live:
            return
        if self.transport.get_write_buffer_size() > UNSENT_BYTES_MAX:
            self._fall_behind()
            return
        self._put(frame, chunk)
        if record.type in self.topic.final:
            self._wake.set()

    def tick(self, stream: str, frame: bytes, chunk: bytes) -> None:
        """Write a tick. While the client lags it is held back instead, until a newer takes its place."""
        if not (self._wants_ticks and self.topic.shows(stream)):
            return
        if self._live and not self._lags():
            self._put(frame, chunk)
            return
        self.skipped += stream in self._held
        self._held[stream] = frame
        if self._live:
            self._fall_behind()

    def end(self) -> None:
        """Let the stream end where it is."""
        self._end_at = 0.0
        self._wake.set()

    async def run(self) -> None:
        """The stream's life: catch up, sleep while the hub writes, beat, until it is over.

        Raises `ConnectionError` when the client has gone, or was cut off because it takes nothing.
        """
        self._schedule_beat()
        await self._catch_up()
        while not (await self._is_over() or self._must_end()):
            self._wake.clear()
            try:
                async with asyncio.timeout_at(min(self._beat_at, self._end_at)):
                    await self._wake.wait()
            except TimeoutError:
                self._beat()
            await self._catch_up()
        if self._live and self.topic.types is not None:
            self._write(frames.mark(self._tail.position))
        await self._drain()

    async def _is_over(self) -> bool:
        """Whether the topic is over; a snapshot that showed it so is followed by the event that ended it."""
        if self._owes_last_word and self.topic.is_over():
            record = await self.topic.last_word()
            if record and self.topic.is_over():
                self._show(frames.event(record))
        self._owes_last_word = False
        return self.topic.is_over()

    def _must_end(self) -> bool:
        """Whether the stream has to end here, although the topic goes on."""
        return asyncio.get_running_loop().time() >= self._end_at

    def _schedule_beat(self) -> None:
        self._beat_at = asyncio.get_running_loop().time() + self._limits.heartbeat_sec

    def _beat(self) -> None:
        """Show that the stream is alive; a client that has not taken what was sent before has to catch up."""
        self._schedule_beat()
        if self._lags():
            self._fall_behind()
        elif self.topic.types is None:
            self._write(frames.HEARTBEAT)
        else:
            # Where few types are wanted the last event may be old, even pruned: resume from here instead.
            self._write(frames.mark(self._tail.position))

    async def _catch_up(self) -> None:
        """Send what the subscriber misses, until it is live. One that is live already misses nothing."""
        while not (self._live or self._must_end()):
            await self._drain()
            position = self._position
            if position is None or not self._tail.has(position):
                self._begin_anew()
                continue
            records, end = await self._tail.after(position, self.topic.stream)
            # If they were pruned while they were read, some may be missing.
            if self._tail.has(position):
                await self._send(records, end)

    async def _send(self, records: Sequence[Record], end: int) -> None:
        """Send the wanted ones of all rows up to `end`, in portions that the client has to take first."""
        portion = bytearray()
        for record in records:
            if record.position > end:
                break
            if self.wants(record):
                portion += frames.event(record)
                self.sent += 1
            if len(portion) > UNSENT_BYTES_MAX:
                self._write(bytes(portion))
                self._position = record.position
                portion.clear()
                await self._drain()
        # No await from here to the end: whatever comes behind `end` has to find the subscriber live.
        self._write(bytes(portion))
        self._position = end
        if end == self._tail.position:
            self._go_live()

    def _begin_anew(self) -> None:
        """Show the resource as it is, and then what follows."""
        if self._position is not None:
            self._show(frames.reset(self._tail.floor, self._tail.position))
        self._show(frames.snapshot(self.topic.snapshot(), self._tail.position))
        self._owes_last_word = self.topic.is_over()
        self.skipped += len(self._held)
        self._held.clear()
        self._go_live()

    def _go_live(self) -> None:
        self._live = True
        for frame in self._held.values():
            self._show(frame)
        self._held.clear()

    def _fall_behind(self) -> None:
        """From here on the handler takes over: it has all that the hub was told of so far."""
        self._position = self._tail.position
        self._live = False
        self._wake.set()

    async def _drain(self) -> None:
        """Wait until the kernel has taken all that was written; cut a client off that lets it wait."""
        if not self._lags():
            return
        try:
            async with asyncio.timeout(self._limits.stall_sec):
                await self._writer.drain()
        except TimeoutError:
            self.cut = 1
            self.transport.abort()
            raise ConnectionResetError("The client takes nothing.") from None

    def _lags(self) -> bool:
        """Whether the kernel's buffer is full, so that bytes wait in ours."""
        return self.transport.get_write_buffer_size() > 0

    def _show(self, frame: bytes) -> None:
        self._write(frame)
        self.sent += 1

    def _write(self, data: bytes) -> None:
        if self.transport.is_closing():
            raise ConnectionResetError("The client has gone.")
        if data:
            self.transport.write(frames.chunk(data) if self._chunked else data)

    def _put(self, frame: bytes, chunk: bytes) -> None:
        # A transport that is closing has lost its client, whose handler is being cancelled.
        if not self.transport.is_closing():
            self.transport.write(chunk if self._chunked else frame)
            self.sent += 1
