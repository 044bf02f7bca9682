"""Clients of the event streams, with real sockets, and the world that they look at."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
from aiohttp import ClientResponse

from tests.api.world import DEADLINE_SEC, PREFIX, World
from tests.domain.builders import AT, DONE, FILE
from umd.api.server import Server
from umd.api.sse import Hub, StreamLimits
from umd.clock import instant
from umd.domain import commands as c
from umd.domain import events as e
from umd.log import Record
from umd.log.memory import MemoryLog

CALM = StreamLimits(subscribers_max=3_000, heartbeat_sec=60, max_sec=600)
"""No heartbeat and no end of its own comes in the way of a test."""


async def history(count: int, message: str = "hello") -> list[Record]:
    """The rows of an earlier life of the service: a running job with so many log events."""
    async with world() as w:
        job_id = await w.running_job()
        await w.say_at_once(job_id, count, message)
        return w.log.records


class PrunedLog(MemoryLog):
    """A log whose first rows may go."""

    pruned = 0

    @property
    def floor(self) -> int:
        return self.pruned

    async def _read(self, after: int, until: int, limit: int, stream: str | None) -> list[Record]:
        return await super()._read(max(after, self.pruned), until, limit, stream)


class SlowLog(PrunedLog):
    """A log whose reads take some turns of the loop; a test may do something in the middle of one."""

    turns = 5
    reads = 0
    meanwhile: Callable[[], None] | None = None

    async def _read(self, after: int, until: int, limit: int, stream: str | None) -> list[Record]:
        self.reads += 1
        for _ in range(self.turns):
            await asyncio.sleep(0)
        rows = await super()._read(after, until, limit, stream)
        if self.meanwhile is not None:
            self.meanwhile()
        return rows


@dataclass(frozen=True)
class Message:
    """What stands between two empty lines."""

    event: str | None = None
    data: str | None = None
    id: int | None = None
    retry: int | None = None
    comment: str | None = None

    @property
    def body(self) -> dict[str, object]:
        assert self.data is not None
        return msgspec.json.decode(self.data, type=dict[str, object])


def parse(block: str) -> Message:
    """The fields of a message, each of which stands there once."""
    found: dict[str, str] = {}
    for line in block.split("\n"):
        name, colon, value = line.partition(": ")
        assert colon, block
        assert name in ("", "event", "data", "id", "retry"), block
        assert name not in found, block
        found[name or "comment"] = value
    return Message(
        found.get("event"),
        found.get("data"),
        int(found["id"]) if "id" in found else None,
        int(found["retry"]) if "retry" in found else None,
        found.get("comment"),
    )


class Feed:
    """A client that reads a stream message by message."""

    def __init__(self, response: ClientResponse) -> None:
        self.response = response
        self.last_id: int | None = None

    async def any(self) -> Message | None:
        """The next message, a comment included; None at the end."""
        lines: list[bytes] = []
        async with asyncio.timeout(DEADLINE_SEC):
            while (line := await self.response.content.readline()) not in (b"\n", b""):
                lines.append(line)
        if line == b"":
            assert not lines, "the stream ends in the middle of a message"
            return None
        message = parse(b"".join(lines).decode().removesuffix("\n"))
        self.last_id = self.last_id if message.id is None else message.id
        return message

    async def next(self) -> Message:
        """The next message that says something."""
        while (message := await self.any()) is not None:
            if message.event is not None:
                return message
        raise AssertionError("the stream has ended")

    async def take(self, count: int) -> list[Message]:
        return [await self.next() for _ in range(count)]

    async def rest(self) -> list[Message]:
        """All that says something, to the end of the stream."""
        found = []
        while (message := await self.any()) is not None:
            if message.event is not None:
                found.append(message)
        return found

    async def until(self, condition: Callable[[], bool]) -> None:
        """Read on, heartbeats included, until something else is so."""
        while not condition():
            assert await self.any() is not None

    def close(self) -> None:
        """Break the connection off."""
        self.response.close()


@dataclass
class StreamWorld(World):
    """The world of the API with other limits of its streams, and short ways to follow them."""

    limits: StreamLimits = CALM

    def __post_init__(self) -> None:
        super().__post_init__()
        self.hub = Hub(self.log, self.live, self.limits)
        self.server = Server(self.context, self.hub)
        self._opened: list[ClientResponse | socket.socket] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator[World]:
        async with super().running():
            try:
                yield self
            finally:
                for opened in self._opened:
                    opened.close()

    # ------------------------------------------------------------------------------------------- clients

    async def open(self, path: str, last_event_id: int | str | None = None) -> ClientResponse:
        """The answer as it begins."""
        headers = {} if last_event_id is None else {"Last-Event-ID": str(last_event_id)}
        async with asyncio.timeout(DEADLINE_SEC):
            response = await self.session.get(PREFIX + path, headers=headers)
        self._opened.append(response)
        return response

    async def feed(self, path: str, last_event_id: int | str | None = None) -> Feed:
        """Subscribe, and take the first message, which only says when to come again."""
        feed = Feed(await self.open(path, last_event_id))
        assert feed.response.status == 200
        assert await feed.any() == Message(retry=2000)
        return feed

    async def job_feed(self, job_id: str, last_event_id: int | str | None = None) -> Feed:
        return await self.feed(f"/download/{job_id}/events", last_event_id)

    async def socket(
        self, path: str, version: str = "1.1", receive_buffer: int | None = None
    ) -> socket.socket:
        """A bare socket that has sent its request and reads nothing yet."""
        connection = socket.socket()
        self._opened.append(connection)
        connection.setblocking(False)
        if receive_buffer is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(connection, ("127.0.0.1", self.port))
        await loop.sock_sendall(
            connection, f"GET {PREFIX}{path} HTTP/{version}\r\nHost: localhost\r\n\r\n".encode()
        )
        return connection

    @property
    def unsent(self) -> int:
        """The most bytes that wait for any client."""
        return max((each.transport.get_write_buffer_size() for each in self.hub._members), default=0)

    async def lag(self, job_id: str) -> None:
        """Let just so much happen that a client that does not read begins to lag."""
        while self.unsent == 0:
            await self.say(job_id, "x" * 2_000)

    async def joined(self, count: int) -> None:
        """Wait until so many streams are open and up to date, by the answers to requests that come later."""
        async with asyncio.timeout(DEADLINE_SEC):
            while sum(subscriber.is_live for subscriber in self.hub._members) != count:
                await self.turn()

    async def turn(self) -> None:
        """Make a request that is answered behind what the server has to do now."""
        await self.get("/nothing")

    # -------------------------------------------------------------------------------------------- events

    async def running_job(self) -> str:
        job_id = await self.submit()
        await self.start(job_id)
        return job_id

    async def say(self, job_id: str, message: str = "hello", attempt: int = 1) -> None:
        await self.execute(c.RecordLog(job_id, attempt, (e.LogLine(instant(AT), "info", message),)))

    async def say_at_once(self, job_id: str, count: int, message: str = "hello") -> None:
        """Many events in one append."""
        events = [e.JobLog(1, (e.LogLine(instant(AT), "info", message),))] * count
        command = c.RecordLog(job_id, 1, events[0].lines)
        expected = self.jobs.require(job_id).position
        await self.log.append(f"job-{job_id}", expected, command, events, at=AT, correlation="")

    async def finish(self, job_id: str, attempt: int = 1) -> None:
        await self.execute(c.CompleteAttempt(job_id, attempt, (FILE,), DONE))

    async def fail(self, job_id: str, attempt: int = 1) -> None:
        error = e.Fault("private", "This video is private.", retryable=False)
        await self.execute(c.FailAttempt(job_id, attempt, error))

    @property
    def only_job(self) -> str:
        """The job of the rows that the log began with."""
        (entry,) = self.jobs.page(limit=2).entries
        return entry.job.job_id

    def events(self, job_id: str | None = None, after: int = 0) -> list[Record]:
        """The rows that a subscriber has to get."""
        return [
            record
            for record in self.log.records
            if record.kind == "event"
            and record.position > after
            and (job_id is None or record.stream == f"job-{job_id}")
        ]

    def ids(self, job_id: str | None = None, after: int = 0) -> list[int]:
        return [record.position for record in self.events(job_id, after)]

    def last_id(self, job_id: str | None = None) -> int:
        return self.ids(job_id)[-1]


@asynccontextmanager
async def world(log: MemoryLog | None = None, limits: StreamLimits = CALM) -> AsyncIterator[StreamWorld]:
    with TemporaryDirectory() as root:
        running = StreamWorld(Path(root), log=log or MemoryLog(), limits=limits)
        async with running.running():
            yield running


async def receive(connection: socket.socket, until: Callable[[bytes], bool] | None = None) -> bytes:
    """All that comes, to the end of the connection or until it is enough."""
    loop = asyncio.get_running_loop()
    received = b""
    async with asyncio.timeout(DEADLINE_SEC):
        while until is None or not until(received):
            try:
                part = await loop.sock_recv(connection, 65_536)
            except ConnectionResetError:
                break
            if not part:
                break
            received += part
    return received


def unchunked(body: bytes) -> tuple[bytes, bool]:
    """The content of a body in chunks, and whether it came to its end."""
    content = b""
    while body:
        size, separator, body = body.partition(b"\r\n")
        length = int(size, 16) if separator else 0
        if separator and length == 0:
            assert body == b"\r\n"
            return content, True
        if not separator or len(body) < length + 2:
            break
        assert body[length : length + 2] == b"\r\n"
        content, body = content + body[:length], body[length + 2 :]
    return content, False


def messages(content: bytes) -> list[Message]:
    """The whole messages that say something."""
    blocks = content.decode(errors="ignore").split("\n\n")[:-1]
    return [message for message in map(parse, blocks) if message.event is not None]


def ids(found: Sequence[Message]) -> list[int]:
    """The ids of the durable events."""
    return [message.id for message in found if message.id is not None and message.event != "snapshot"]
