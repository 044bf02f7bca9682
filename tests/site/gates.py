"""Named gates that hold an answer until the test opens them, so that no test needs to sleep."""

import asyncio
from collections import defaultdict

ENDLESS_SEC = 120.0
"""Nothing on this site lasts longer: a forgotten stall must not hang a test run."""


class Gates:
    """Gates by name, closed at first. Opening one lets everything through that waits now or comes later."""

    def __init__(self) -> None:
        self._gates: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)

    def open(self, name: str) -> None:
        self._gates[name].set()

    def close(self, name: str) -> None:
        self._gates[name].clear()

    async def wait(self, name: str | None) -> bool:
        """Whether the gate was opened; False after `ENDLESS_SEC`. The gate None is never opened."""
        event = asyncio.Event() if name is None else self._gates[name]
        try:
            async with asyncio.timeout(ENDLESS_SEC):
                return await event.wait()
        except TimeoutError:
            return False
