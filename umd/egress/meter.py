"""Counts what passes for one attempt, and holds it to its allowance."""

import asyncio

import msgspec

BURST_SEC = 0.25
"""How much a connection that was slower than its rate may catch up on."""

PIECE_SEC = 0.1
"""The longest that a piece which was read waits before it is passed on, at the rate."""


class Traffic(msgspec.Struct):
    """What has passed so far."""

    bytes_in: int = 0
    bytes_out: int = 0
    connections: int = 0
    refused: int = 0


class Overdrawn(Exception):
    """More has come in than the attempt may have."""


class Meter:
    """The budget and the rate of one attempt, over all of its connections together."""

    def __init__(self, bytes_max: int, bytes_per_sec: int | None) -> None:
        self.traffic = Traffic()
        self._bytes_max = bytes_max
        self._rate = bytes_per_sec
        self._free_at = 0.0

    @property
    def overdrawn(self) -> bool:
        return self.traffic.bytes_in > self._bytes_max

    def piece(self, bytes_max: int) -> int:
        """How much to read at once."""
        return bytes_max if self._rate is None else max(1, min(bytes_max, int(self._rate * PIECE_SEC)))

    async def take(self, count: int) -> None:
        """Count what came in, and wait until the rate has room for it. Raises `Overdrawn`."""
        self.traffic.bytes_in += count
        if self.overdrawn:
            raise Overdrawn
        if self._rate is not None:
            now = asyncio.get_running_loop().time()
            self._free_at = max(self._free_at, now - BURST_SEC) + count / self._rate
            if self._free_at > now:
                await asyncio.sleep(self._free_at - now)

    def give(self, count: int) -> None:
        """Count what went out."""
        self.traffic.bytes_out += count
