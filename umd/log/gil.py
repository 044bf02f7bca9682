"""The interpreter lock, shared fairly between a busy event loop and the thread that it waits for."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

EVERY_SEC: Final = 0.002
REST_SEC: Final = 0.000_1


@contextmanager
def shared() -> Iterator[None]:
    """Inside this block, while it waits for a thread, let go of the interpreter for 0.1 ms every 2 ms.

    A loop that always has something to do starves every other thread: it polls its selector more often
    than CPython's switch interval of 5 ms and each time has the lock back before a waiting thread is awake,
    and a thread insists on the lock only after 5 ms without such a release. With a loop kept busy in slices
    of 1 ms an append took 0.1 to 1.5 s (p99); with this it takes 10 to 40 ms, for 5 to 20 % of the turns.
    A loop with idle moments hardly ever comes to the first rest.
    """
    loop = asyncio.get_running_loop()
    timer: asyncio.TimerHandle

    def rest() -> None:
        nonlocal timer
        time.sleep(REST_SEC)
        timer = loop.call_later(EVERY_SEC, rest)

    timer = loop.call_later(EVERY_SEC, rest)
    try:
        yield
    finally:
        timer.cancel()
