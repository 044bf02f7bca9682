"""A running attempt as the service sees it, however its child was made."""

import asyncio
import signal
from collections.abc import AsyncIterator
from typing import Any, Protocol

import msgspec

from umd.engine.doorway import Doorway
from umd.engine.inbox import Inbox
from umd.engine.protocol import AnyReport, Ended, Finished, Said
from umd.errors import EngineError

ESCALATION = ((signal.SIGINT, 0.1), (signal.SIGTERM, 0.1))
"""What is tried before SIGKILL, with the seconds that each gets. yt-dlp ends within milliseconds or hangs;
what it leaves half done is either discarded or resumed, so there is nothing to wait for."""

STOP_SEC_MAX = 5.0
LAST_REPORTS_SEC = 1.0
"""How long the end of the report stream is waited for when the child is gone."""


class Leash(Protocol):
    """The hold on a child: its whole group can be signalled and killed, and its end is known."""

    ended: asyncio.Future[Ended]
    """Done when no process of the group is left."""

    async def signal(self, signum: int) -> None: ...

    def kill(self) -> None: ...


class RunningAttempt:
    """Implements `umd.engine.protocol.Attempt`."""

    def __init__(self, leash: Leash, inbox: Inbox, doorway: Doorway) -> None:
        self._leash = leash
        self._inbox = inbox
        self._doorway = doorway
        self._ending: asyncio.Task[None] | None = None

    async def reports(self) -> AsyncIterator[AnyReport]:
        last: Finished | None = None
        while (report := await self._next()) is not None:
            if isinstance(report, Finished):
                last = report  # and the last it stays
            else:
                yield report
        for refusal in await self._refusals():
            yield Said("warning", refusal)
        if last is not None:
            yield last

    async def wait(self) -> Ended:
        ended = await asyncio.shield(self._leash.ended)
        passage = await self._doorway.close()
        return msgspec.structs.replace(ended, refusal=passage.refusal) if passage else ended

    async def interrupt(self) -> None:
        if not self._leash.ended.done():
            await self._leash.signal(signal.SIGINT)

    async def stop(self) -> Ended:
        """See the protocol. Raises `EngineError` if a process is still there after five seconds."""
        if self._ending is None:
            self._ending = asyncio.create_task(self._end())
        await asyncio.shield(self._ending)
        return await self.wait()

    async def _next(self) -> AnyReport | None:
        """The next report. Whoever else may hold the pipe open: the child's end is the end."""
        reading = asyncio.ensure_future(self._inbox.read())
        either: set[asyncio.Future[Any]] = {reading, self._leash.ended}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                await asyncio.wait({reading}, timeout=LAST_REPORTS_SEC)
            if not reading.done():
                self._inbox.close()
            return await reading
        finally:
            reading.cancel()

    async def _refusals(self) -> list[str]:
        """What the child was not let through to, in words: no program that it runs tells it right."""
        await asyncio.shield(self._leash.ended)
        passage = await self._doorway.close()
        return (
            [f"Not let through to {one.place}: {one.message}" for one in passage.refusals] if passage else []
        )

    async def _end(self) -> None:
        for signum, patience in ESCALATION:
            if not self._leash.ended.done():
                await self._leash.signal(signum)
                await asyncio.wait({self._leash.ended}, timeout=patience)
        if not self._leash.ended.done():
            self._leash.kill()
            rest = STOP_SEC_MAX - sum(patience for _, patience in ESCALATION)
            await asyncio.wait({self._leash.ended}, timeout=rest)
        if not self._leash.ended.done():
            raise EngineError("A worker's processes could not be ended within five seconds.")
