"""Has lists read in children, and brings what they tell page by page."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from umd.domain.events import ListedItem
from umd.domain.options import MediaOptions
from umd.engine.errand import Errands
from umd.engine.protocol import Listed, Listing, ListingFailed

LISTINGS_MAX = 4
"""Lists that are read at once; they take no slot of a download."""
LISTING_SEC_MAX = 900.0
LOOKUP_SEC_MAX = 60.0


class EngineLister:
    """Reads lists."""

    def __init__(self, errands: Errands) -> None:
        self._errands = errands
        self._slots = asyncio.Semaphore(LISTINGS_MAX)

    async def listing(
        self, url: str, options: MediaOptions, owner: str, items_max: int
    ) -> AsyncGenerator[Listed, None]:
        """The items behind an address in the site's order, at most so many, lazily.

        Raises `ListingFailed`. To be closed (`aclosing`) when it is not read to its end: then no process of
        it is left.
        """
        task = Listing(items_max)
        async with (
            self._slots,
            aclosing(self._errands.run(url, options, owner, task, LISTING_SEC_MAX)) as reports,
        ):
            async for report in reports:
                if isinstance(report, Listed):
                    yield report

    async def lookup(self, item: ListedItem, options: MediaOptions, owner: str) -> ListedItem | None:
        """The item as its own page tells of it; None where that cannot be had.

        Raises `ListingFailed` where the cookie jar is gone: then none of them can be had.
        """
        pages = self.listing(item.url, options, owner, 1)
        try:
            async with asyncio.timeout(LOOKUP_SEC_MAX), aclosing(pages):
                async for page in pages:
                    return page.items[0] if page.items else None
        except ListingFailed as failed:
            if failed.fault.code == "cookies_not_found":
                raise
        except TimeoutError:
            pass
        return None
