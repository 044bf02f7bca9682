"""Connects to addresses that have been judged, and to nothing else."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

import aiohappyeyeballs

from umd.domain.addresses import Address

CONNECT_SEC = 15.0
ADDRESSES_MAX = 6
"""How many of a name's addresses are tried."""

NEXT_SEC = 0.25
"""How long one address is tried alone, before the next one is tried as well (RFC 8305)."""

Dial: TypeAlias = Callable[[Sequence[Address], int], Awaitable[socket.socket]]
"""Connects to one of the addresses. Raises `OSError`, also as `TimeoutError`."""


async def dial(addresses: Sequence[Address], port: int) -> socket.socket:
    """Connect by TCP to the first of the addresses that answers. The addresses are all there is: no names."""
    infos = [
        (
            socket.AF_INET if address.version == 4 else socket.AF_INET6,  # noqa: PLR2004  # the IP version
            socket.SOCK_STREAM,
            socket.IPPROTO_TCP,
            "",
            (str(address), port) if address.version == 4 else (str(address), port, 0, 0),  # noqa: PLR2004
        )
        for address in addresses[:ADDRESSES_MAX]
    ]
    async with asyncio.timeout(CONNECT_SEC):
        return await aiohappyeyeballs.start_connection(infos, happy_eyeballs_delay=NEXT_SEC, interleave=1)
