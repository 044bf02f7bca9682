"""Looks a name up: once for each connection, bounded in time and in how many wait at once."""

import asyncio
import socket
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from ipaddress import ip_address
from typing import Protocol, TypeAlias

from umd.domain.addresses import Address

LOOKUPS_MAX = 16
LOOKUPS_EACH = 4
"""Of one job: names that hang, as many as it may ask for, leave threads to the others."""
LOOKUPS_OF_WEBHOOKS = 8
"""Of all together: they share one route."""
LOOKUP_SEC = 10.0

Found: TypeAlias = list[tuple[object, object, object, object, tuple[str, ...]]]


class Resolver(Protocol):
    """Where names come from. Tests give a table."""

    async def resolve(self, host: str, share: asyncio.Semaphore) -> tuple[Address, ...]:
        """All addresses of a name, as one of the look-ups that whoever asks may have at once.

        Raises `OSError`, also as `TimeoutError`.
        """
        ...


class SystemResolver:
    """The system's own resolver, in threads of its own: a name server that hangs blocks no other work."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(LOOKUPS_MAX, thread_name_prefix="lookup")

    async def resolve(self, host: str, share: asyncio.Semaphore) -> tuple[Address, ...]:
        async with asyncio.timeout(LOOKUP_SEC):
            await share.acquire()
            found = await asyncio.wrap_future(self._begin(host, share))
        return tuple(dict.fromkeys(ip_address(address[0]) for *_, address in found))

    def _begin(self, host: str, share: asyncio.Semaphore) -> Future[Found]:
        """Look up in a thread. The share is given back when the thread is free, maybe long after the wait."""
        loop = asyncio.get_running_loop()

        def give_back(_lookup: Future[Found]) -> None:
            with suppress(RuntimeError):  # the loop has ended before the thread
                loop.call_soon_threadsafe(share.release)

        lookup = self._threads.submit(_look_up, host)
        lookup.add_done_callback(give_back)
        return lookup

    def stop(self) -> None:
        """Take no more; what hangs in the system's resolver is not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _look_up(host: str) -> Found:
    try:
        return socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)  # type: ignore[return-value]  # no numbers asked
    except UnicodeError:
        raise socket.gaierror(socket.EAI_NONAME, "no such name") from None
