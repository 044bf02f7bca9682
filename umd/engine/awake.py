"""A limit for a wait, in time during which this process ran.

A process that a signal stops, or that its platform freezes, wakes up with all its deadlines gone by, although
what it waits for had no time to come.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

LOOKS: Final = 10


@asynccontextmanager
async def awake(seconds: float) -> AsyncIterator[None]:
    """As `asyncio.timeout`. However long the process is stopped, a tenth of the time is gone at most."""
    loop = asyncio.get_running_loop()
    left = LOOKS
    timer: asyncio.TimerHandle

    def look() -> None:
        nonlocal left, timer
        left -= 1
        if left:
            timer = loop.call_later(seconds / LOOKS, look)
        else:
            limit.reschedule(loop.time())

    async with asyncio.timeout(None) as limit:
        timer = loop.call_later(seconds / LOOKS, look)
        try:
            yield
        finally:
            timer.cancel()
