"""One attempt's way out: a listener that is the attempt's identity, and all that comes in by it."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import NamedTuple

import msgspec

from umd.domain import faults
from umd.domain.events import Fault
from umd.egress.exchange import Exchange
from umd.egress.http import Target
from umd.egress.meter import Meter, Overdrawn, Traffic
from umd.egress.notices import Listener, Notice
from umd.egress.route import Route
from umd.egress.wire import Wire

CONNECTIONS_MAX = 64
"""At once; the rest wait in the listener's backlog."""

AHEAD_BYTES = 65_536
"""What is held for a worker that does not read (yt-dlp, when it has seen that a page is the file itself)."""

REFUSALS_MAX = 100
ACCEPT_PAUSE_SEC = 0.1
"""After an accept that failed for want of descriptors."""

TOO_LARGE = "More came in than this download may have."


class Allowance(msgspec.Struct, frozen=True):
    """What one attempt may have.

    `bytes_max` is what may come in over all of its connections, `bytes_per_sec` their rate together, and
    `upstream` a proxy of the request's own, where the operator permits one.
    """

    bytes_max: int
    bytes_per_sec: int | None = None
    upstream: str | None = None


class Refusal(NamedTuple):
    """What was refused: the code, a sentence, and the place without what was asked for there."""

    code: str
    message: str
    place: str


class Passage:
    """Serves one listener, wherever its namespace is, until it is closed.

    `refusal` is the first refusal, as a fault that explains a failed attempt; `too_large` stands above the
    others, for it has ended everything. `refusals` has each one, the first hundred of them.
    """

    def __init__(
        self,
        listener: socket.socket,
        route: Route,
        meter: Meter,
        listen: Listener,
        closed: Callable[["Passage"], None],
    ) -> None:
        self.refusal: Fault | None = None
        self.refusals: list[Refusal] = []
        self._listener = listener
        self._route = route
        self._meter = meter
        self._listen = listen
        self._closed = closed
        self._loop = asyncio.get_running_loop()
        self._serving: set[asyncio.Task[None]] = set()
        self._open = True
        listener.setblocking(False)
        self._loop.add_reader(listener, self._accept)

    @property
    def traffic(self) -> Traffic:
        return self._meter.traffic

    async def close(self) -> None:
        """End it: on return the listener and every connection are gone. May be called again."""
        if self._open:
            self._open = False
            self._loop.remove_reader(self._listener)
            self._listener.close()
        serving = tuple(self._serving)
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
        self._closed(self)

    def refuse(self, code: str, message: str, target: Target | None) -> None:
        """Note a refusal."""
        self.traffic.refused += 1
        if len(self.refusals) < REFUSALS_MAX:
            self.refusals.append(Refusal(code, message, target.authority if target else ""))
        if self.refusal is None or (code == "too_large" and self.refusal.code != code):
            self.refusal = faults.fault(code, message)
        host, port = target or ("", 0)
        self._listen(Notice("refused", host, port, code))

    def _accept(self) -> None:
        """Take what waits at the listener, as far as there is room."""
        while self._open and len(self._serving) < CONNECTIONS_MAX:
            try:
                connection, _ = self._listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError:  # no descriptor is free: the same would be said at once, again and again
                self._loop.remove_reader(self._listener)
                self._loop.call_later(ACCEPT_PAUSE_SEC, self._accept_again)
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, AHEAD_BYTES)
            client = Wire(connection)
            task = asyncio.create_task(self._serve(client))
            self._serving.add(task)
            task.add_done_callback(partial(self._served, client))
        if self._open:
            self._loop.remove_reader(self._listener)

    def _accept_again(self) -> None:
        if self._open:
            self._loop.add_reader(self._listener, self._accept)

    def _served(self, client: Wire, task: asyncio.Task[None]) -> None:
        client.close()  # here, for a task that is cancelled before it begins has no `finally`
        self._serving.discard(task)
        if len(self._serving) == CONNECTIONS_MAX - 1:
            self._accept_again()

    async def _serve(self, client: Wire) -> None:
        self.traffic.connections += 1
        try:
            # Whatever breaks a connection is the business of its two ends.
            with suppress(OSError):
                await Exchange(client, self._route, self._meter, self.refuse, self._listen).run()
        except Overdrawn:
            self._cut()

    def _cut(self) -> None:
        """The budget is spent: nothing more comes in on any connection."""
        if self.refusal is None or self.refusal.code != "too_large":
            self.refuse("too_large", TOO_LARGE, None)
        for task in self._serving - {asyncio.current_task()}:
            task.cancel()
