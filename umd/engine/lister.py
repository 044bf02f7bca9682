"""Has lists read in children, and brings what they tell page by page."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

from umd.domain.events import ListedItem
from umd.domain.faults import blame, fault
from umd.domain.options import MediaOptions
from umd.engine.protocol import (
    AnyReport,
    Assignment,
    Attempt,
    Engine,
    Finished,
    Listed,
    Listing,
    ListingFailed,
)
from umd.errors import EngineError

LISTINGS_MAX = 4
"""Lists that are read at once; they take no slot of a download."""
LISTING_SEC_MAX = 900.0
SILENCE_SEC_MAX = 120.0
LOOKUP_SEC_MAX = 60.0


class EngineLister:
    """Reads lists. `folder` makes an empty working folder by name, and `discard` removes it; both block."""

    def __init__(
        self,
        engine: Engine,
        new_id: Callable[[], str],
        folder: Callable[[str], Path],
        discard: Callable[[str], None],
    ) -> None:
        self._engine = engine
        self._new_id = new_id
        self._folder = folder
        self._discard = discard
        self._slots = asyncio.Semaphore(LISTINGS_MAX)

    async def listing(self, url: str, options: MediaOptions, items_max: int) -> AsyncGenerator[Listed, None]:
        """The items behind an address in the site's order, at most so many, lazily.

        Raises `ListingFailed`. To be closed (`aclosing`) when it is not read to its end: then no process of
        it is left.
        """
        async with self._child(url, options, items_max) as attempt:
            finished: Finished | None = None
            reports = attempt.reports()
            deadline = asyncio.get_running_loop().time() + LISTING_SEC_MAX
            while (report := await _next(reports, deadline)) is not None:
                if isinstance(report, Listed):
                    yield report
                elif isinstance(report, Finished):
                    finished = report
            if finished is None:
                raise ListingFailed(fault("worker_crashed", "The process that read the list died."))
            if finished.fault is not None:
                raise ListingFailed(blame(finished.fault, (await attempt.wait()).refusal))

    async def lookup(self, item: ListedItem, options: MediaOptions) -> ListedItem | None:
        """The item as its own page tells of it; None where that cannot be had."""
        try:
            async with asyncio.timeout(LOOKUP_SEC_MAX), aclosing(self.listing(item.url, options, 1)) as pages:
                async for page in pages:
                    return page.items[0] if page.items else None
        except (ListingFailed, TimeoutError):
            pass
        return None

    @asynccontextmanager
    async def _child(self, url: str, options: MediaOptions, items_max: int) -> AsyncIterator[Attempt]:
        """A running child with a folder of its own; neither is left behind."""
        name = self._new_id()
        async with self._slots:
            folder = await asyncio.to_thread(self._folder, name)
            try:
                assignment = Assignment(name, 1, url, options, str(folder), task=Listing(items_max))
                attempt = await self._run(assignment)
                try:
                    yield attempt
                finally:
                    await attempt.stop()
            finally:
                await asyncio.to_thread(self._discard, name)

    async def _run(self, assignment: Assignment) -> Attempt:
        try:
            return await self._engine.run(assignment)
        except EngineError as error:
            raise ListingFailed(fault("worker_crashed", str(error))) from error


async def _next(reports: AsyncIterator[AnyReport], deadline: float) -> AnyReport | None:
    """The next report. The time that its reader takes for it is not the site's."""
    silent = asyncio.get_running_loop().time() + SILENCE_SEC_MAX
    try:
        async with asyncio.timeout_at(min(deadline, silent)):
            return await anext(reports, None)
    except TimeoutError:
        raise ListingFailed(fault("network", "The list did not come in time.")) from None
