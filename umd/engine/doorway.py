"""A child's one way out, as the service sees it: the listener that the child hands over."""

import asyncio
import socket

from umd.domain.options import MediaOptions
from umd.egress.passage import Allowance, Passage
from umd.egress.proxy import Egress

MARGIN_BYTES = 16 * 2**20
MARGIN_SHARE = 1.05
"""What comes in besides the file: pages, pictures, what was asked for twice, and the layers around it all."""


def allowance(options: MediaOptions, filesize_max_bytes: int) -> Allowance:
    """What an attempt may draw. A single file's size is held by the kernel (RLIMIT_FSIZE), to the byte."""
    return Allowance(
        bytes_max=int(filesize_max_bytes * MARGIN_SHARE) + MARGIN_BYTES,
        bytes_per_sec=options.limit_rate,
        upstream=options.proxy,
    )


class Doorway:
    """Opens when the child has handed its listener over; `close` is complete when it returns."""

    def __init__(self, handover: socket.socket, egress: Egress, allowed: Allowance) -> None:
        self._opening = asyncio.create_task(self._open(handover, egress, allowed))

    async def close(self) -> Passage | None:
        """Close it for good once the child is gone; returns what went through, None if it never opened.

        May be repeated.
        """
        passage = await asyncio.shield(self._opening)
        if passage is not None:
            await passage.close()
        return passage

    async def _open(self, handover: socket.socket, egress: Egress, allowed: Allowance) -> Passage | None:
        """Without a child that hands it over, the other end is closed, and this ends as well."""
        with handover:
            handover.setblocking(False)
            await _readable(handover)
            _, descriptors, _, _ = socket.recv_fds(handover, 1, 1)
        if not descriptors:
            return None
        listener = socket.socket(fileno=descriptors[0])
        try:
            return await egress.admit(listener, allowed)
        except ValueError:
            listener.close()  # What the child asks for there is refused, as it should be.
            return None


async def _readable(handover: socket.socket) -> None:
    loop, readable = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(handover, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(handover)
