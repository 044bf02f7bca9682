"""Looks a name up: once for each connection, bounded in time and in how many wait at once."""

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from typing import Protocol

from umd.domain.addresses import Address

LOOKUPS_MAX = 16
LOOKUP_SEC = 10.0


class Resolver(Protocol):
    """Where names come from. Tests give a table."""

    async def resolve(self, host: str) -> tuple[Address, ...]:
        """All addresses of a name. Raises `OSError`, also as `TimeoutError`."""
        ...


class SystemResolver:
    """The system's own resolver, in threads of its own: a name server that hangs blocks no other work."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(LOOKUPS_MAX, thread_name_prefix="lookup")

    async def resolve(self, host: str) -> tuple[Address, ...]:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(LOOKUP_SEC):
            found = await loop.run_in_executor(self._threads, _look_up, host)
        return tuple(dict.fromkeys(ip_address(address[0]) for *_, address in found))

    def stop(self) -> None:
        """Take no more; what hangs in the system's resolver is not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _look_up(host: str) -> list[tuple[object, object, object, object, tuple[str, ...]]]:
    try:
        return socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)  # type: ignore[return-value]  # no numbers asked
    except UnicodeError:
        raise socket.gaierror(socket.EAI_NONAME, "no such name") from None
