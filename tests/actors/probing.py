"""A site that is asked, as a script has it."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

from tests.domain.builders import METADATA
from umd.domain.events import Fault, ListedItem
from umd.engine.prober import Item
from umd.engine.protocol import About, Listed, ListingFailed, Probed


@dataclass
class ScriptedProber:
    """Counts who asks. With the gate closed it answers nothing; `error` is what it answers instead."""

    error: Fault | None = None
    bug: Exception | None = None
    items: int = 250
    entries: dict[str, ListedItem | Fault] = field(default_factory=dict)
    """What an item's own page tells, where it has one."""
    page_items: int = 100
    asked: list[str] = field(default_factory=list)
    at_work: int = 0
    most_at_work: int = 0
    pages_told: int = 0
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    async def item(self, url: str, cookies_id: str | None, owner: str, *, raw: bool) -> Item:
        self._begin(url)
        try:
            await self.gate.wait()
            self._fail()
            return Item(METADATA, Probed())
        finally:
            self.at_work -= 1

    async def listing(
        self, url: str, cookies_id: str | None, owner: str, items_max: int
    ) -> AsyncGenerator[Listed, None]:
        self._begin(url)
        try:
            entry = self.entries.get(url)
            if isinstance(entry, Fault):
                raise ListingFailed(entry)
            if entry is not None:
                yield Listed((entry,))
                return
            for first in range(0, self.items, self.page_items):
                some = range(first, min(first + self.page_items, self.items))
                about = About(id="list", title="A list") if first == 0 else None
                self.pages_told += 1
                yield Listed(tuple(self.listed(index) for index in some), "A list", 0, about)
                await self.gate.wait()
                self._fail()
        finally:
            self.at_work -= 1

    def listed(self, index: int) -> ListedItem:
        return ListedItem(f"https://example.com/{index}", index + 1, id=str(index), duration=float(index))

    def _begin(self, url: str) -> None:
        self.asked.append(url)
        self.at_work += 1
        self.most_at_work = max(self.most_at_work, self.at_work)

    def _fail(self) -> None:
        if self.bug is not None:
            raise self.bug
        if self.error is not None:
            raise ListingFailed(self.error)
