"""The origin's own log of requests, which tests assert on and wait for."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import TypeVar

from aiohttp import web

RECORDS_MAX = 100_000
WAIT_SEC = 60.0

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Record:
    """One request as the origin saw it. Times are `time.monotonic()`, the same in all processes of a machine.

    `bytes_sent` counts body bytes handed to the socket; what the kernel still holds is in it.
    """

    number: int
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    """With lower-case names."""
    peer_port: int
    """The client's, by which it can be told who asked."""
    opened_at: float
    status: int | None = None
    first_byte_at: float | None = None
    """When the first body byte was written."""
    closed_at: float | None = None
    bytes_sent: int = 0
    aborted: bool = False
    """The client went before the answer was whole."""
    cut: bool = False
    """The site broke the answer off, as it was told to."""

    @property
    def range(self) -> str | None:
        return self.headers.get("range")

    @property
    def is_open(self) -> bool:
        return self.closed_at is None

    def as_json(self) -> dict[str, object]:
        return asdict(self)


class Journal:
    """All records, oldest first, and the waits on them.

    A wait looks at what is there already, then again after every change: no polling. It is not an
    `asyncio.Condition` because a handler that is being cancelled could not await its lock.
    """

    def __init__(self) -> None:
        self._records: deque[Record] = deque(maxlen=RECORDS_MAX)
        self._changed = asyncio.Event()
        self._count = 0
        self.active = 0
        self.max_active = 0

    @property
    def records(self) -> list[Record]:
        return list(self._records)

    def matching(self, pattern: str) -> list[Record]:
        """Those whose path is `pattern`, or fits it as a shell pattern (`/media/*`)."""
        return [one for one in self._records if one.path == pattern or fnmatchcase(one.path, pattern)]

    def open(self, request: web.Request) -> Record:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self._count += 1
        query = dict(request.query)
        peer = request.transport.get_extra_info("peername") if request.transport else None
        port = int(peer[1]) if peer else 0
        record = Record(self._count, request.method, request.path, query, headers, port, time.monotonic())
        self._records.append(record)
        self.active += 1
        self.max_active = max(self.max_active, self.active)
        self.notify()
        return record

    def sent(self, record: Record, count: int) -> None:
        if record.first_byte_at is None and count:
            record.first_byte_at = time.monotonic()
        record.bytes_sent += count
        self.notify()

    def close(self, record: Record) -> None:
        record.closed_at = time.monotonic()
        self.active -= 1
        self.notify()

    def clear(self) -> None:
        """Forget what has ended; what is open stays, so that `active` stays true."""
        self._records = deque((record for record in self._records if record.is_open), maxlen=RECORDS_MAX)
        self.max_active = self.active

    def peak(self, pattern: str) -> int:
        """The most requests for `pattern` that were open at the same time."""
        records = self.matching(pattern)
        # At equal times an end counts before a start: the one made room for the other.
        edges = [(one.opened_at, 1) for one in records]
        edges += [(one.closed_at, -1) for one in records if one.closed_at is not None]
        level = highest = 0
        for _, step in sorted(edges):
            level += step
            highest = max(highest, level)
        return highest

    def notify(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def until(self, look: Callable[[], T | None], what: str, timeout_sec: float = WAIT_SEC) -> T:
        """Wait until `look` returns something; the TimeoutError says `what` was missed and what was seen."""
        try:
            async with asyncio.timeout(timeout_sec):
                while (found := look()) is None:
                    await self._changed.wait()
                return found
        except TimeoutError:
            last = [f"{one.method} {one.path} {one.status} {one.bytes_sent}B" for one in self.records[-10:]]
            raise TimeoutError(f"not within {timeout_sec} s: {what}; last requests: {last}") from None
