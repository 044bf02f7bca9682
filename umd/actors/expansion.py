"""Reads a batch's list, chooses from it, and records the items: one step of the life of a batch."""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from itertools import count
from typing import Protocol, TypeVar

import structlog
from msgspec.structs import replace

from umd.actors.admission import Admission
from umd.clock import SECOND
from umd.dispatcher import Dispatcher
from umd.domain import batch as rules
from umd.domain import commands as c
from umd.domain import destinations, retry, selection
from umd.domain.batch import Batch
from umd.domain.events import BatchItem, ListedItem
from umd.domain.options import ChannelDownloadRequest, MediaOptions, PlaylistDownloadRequest
from umd.engine.protocol import Listed, ListingFailed
from umd.errors import InvalidState, Refused, StorageFull
from umd.projections.archive import Archive
from umd.projections.batches import BatchEntry, Batches
from umd.projections.jobs import Jobs

LISTED_MAX = 50_000
"""Items that are read of a list, however long it says that it is."""
EVENT_ITEMS_MAX = 100
LOOKUPS_MAX = 200
"""Items of a channel that are asked for one by one, because its list does not tell what a filter needs."""
LOOKUPS_AT_ONCE = 4
SPACE_WAIT_SEC = 1.0

T = TypeVar("T")

_log = structlog.get_logger(__name__)


class Lister(Protocol):
    """Reads lists of a site."""

    def listing(
        self, url: str, options: MediaOptions, owner: str, items_max: int
    ) -> AsyncGenerator[Listed, None]:
        """The items behind an address in the site's order, page by page, at most so many, lazily.

        Raises `ListingFailed`. It is closed where it is not read to its end, and then leaves nothing behind.
        """

    async def lookup(self, item: ListedItem, options: MediaOptions, owner: str) -> ListedItem | None:
        """The item as its own page tells of it; None where that cannot be had.

        Raises `ListingFailed` where nothing can be had any more, because the cookie jar is gone.
        """


@dataclass(frozen=True)
class BatchOffice:
    """What every batch's actor works with."""

    dispatcher: Dispatcher
    batches: Batches
    jobs: Jobs
    archive: Archive
    admission: Admission
    lister: Lister
    rules: destinations.Rules

    async def execute(self, command: c.AnyBatchCommand) -> BatchEntry:
        """Execute a command; while the volume is full, wait for space, for nothing may be lost."""
        while True:
            try:
                return await self.dispatcher.execute_batch(command)
            except StorageFull:
                await asyncio.sleep(SPACE_WAIT_SEC)


class Expansion:
    """What brings one batch to where all its items are known."""

    def __init__(self, batch_id: str, office: BatchOffice) -> None:
        self._id = batch_id
        self._office = office

    @property
    def _batch(self) -> Batch:
        return self._office.batches.require(self._id).batch

    async def run(self) -> None:
        """Bring the batch to where all its items are known, unless it is stopped in the meantime."""
        with suppress(InvalidState):
            await self._list_in_attempts()

    async def _list_in_attempts(self) -> None:
        """Read the list, again after a fault that may pass; what came of it before is known by then."""
        limits = self._batch.limits
        previous: str | None = None
        for attempt in count(1):
            try:
                left_out = await self._list(self._batch)
            except ListingFailed as failed:
                fault = failed.fault
                _log.info("batch.listing_failed", code=fault.code, attempt=attempt)
                if not retry.is_worth_it(fault, previous) or attempt > limits.retries:
                    await self._office.execute(c.EndListing(self._id, fault))
                    return
                previous = fault.code
                await asyncio.sleep(retry.wait(self._id, attempt, limits.retry_base_sec, fault) / SECOND)
            else:
                await self._office.execute(c.EndListing(self._id, None, left_out))
                return

    async def _list(self, batch: Batch) -> int:
        """Record the wanted items; returns how many could not be taken for want of an address."""
        match batch.order.request:
            case PlaylistDownloadRequest() as request:
                return await self._list_playlist(request)
            case ChannelDownloadRequest() as request:
                return await self._list_channel(request)
            case _:
                return 0

    async def _list_playlist(self, request: PlaylistDownloadRequest) -> int:
        choice = selection.PlaylistChoice(request)
        items: list[ListedItem] = []
        left_out = 0
        async with aclosing(self._pages(request, choice.last)) as pages:
            async for told in pages:
                page = self._admitted(told)
                left_out += page.left_out
                if choice.is_lazy:
                    await self._record([item for item in page.items if choice.takes(item)], page.title)
                else:
                    await self._record([], page.title)
                    items += page.items
        await self._record(choice.of(items), None)
        return left_out

    async def _list_channel(self, request: ChannelDownloadRequest) -> int:
        items: list[ListedItem] = []
        left_out = 0
        async with aclosing(self._pages(request)) as pages:
            async for told in pages:
                page = self._admitted(told)
                left_out += page.left_out
                await self._record([], page.title)
                items += [item for item in page.items if not selection.refuses(item, request)]
        items = await self._completed_items(items, request)
        passing = [
            item
            for item in items
            if not selection.refuses(item, request) and not selection.lacks_for_filters(item, request)
        ]
        await self._record(selection.ordered(passing, request)[: request.max_downloads], None)
        return left_out

    async def _completed_items(
        self, items: list[ListedItem], request: ChannelDownloadRequest
    ) -> list[ListedItem]:
        """The items with what the list did not tell and the request needs, as far as the limit goes."""
        lacking = [place for place, item in enumerate(items) if selection.lacks(item, request)]
        completed = list(items)
        for places in _portions(lacking[:LOOKUPS_MAX], LOOKUPS_AT_ONCE):
            found = await asyncio.gather(
                *(self._office.lister.lookup(items[place], request, self._batch.owner) for place in places)
            )
            for place, page in zip(places, found, strict=True):
                if page is not None:
                    completed[place] = selection.merged(items[place], page)
        return completed

    def _pages(
        self, request: PlaylistDownloadRequest | ChannelDownloadRequest, last: int | None = None
    ) -> AsyncGenerator[Listed, None]:
        items_max = LISTED_MAX if last is None else min(last, LISTED_MAX)
        return self._office.lister.listing(request.url, request, self._batch.owner, items_max)

    def _admitted(self, page: Listed) -> Listed:
        """A page without the items that a client could not have asked for by itself."""
        admitted = tuple(item for item in page.items if self._may_ask_for(item))
        out = len(page.items) - len(admitted)
        return replace(page, items=admitted, left_out=page.left_out + out)

    def _may_ask_for(self, item: ListedItem) -> bool:
        try:
            destinations.check_site(self._office.rules, item.url)
        except (Refused, ValueError):
            return False
        return True

    async def _record(self, items: list[ListedItem], title: str | None) -> None:
        for some in _portions(items, EVENT_ITEMS_MAX):
            await self._office.execute(c.RecordItems(self._id, tuple(map(self._as_item, some)), title))
        if not items and title is not None:
            await self._office.execute(c.RecordItems(self._id, (), title))

    def _as_item(self, item: ListedItem) -> BatchItem:
        """An item with its job: its own, or the one that has its files already where those are skipped."""
        request = self._batch.order.request
        earlier = None
        if isinstance(request, PlaylistDownloadRequest | ChannelDownloadRequest) and request.skip_downloaded:
            earlier = self._office.archive.find(item, request, self._batch.owner)
        if earlier is not None:
            return BatchItem(earlier, item, skipped=True)
        return BatchItem(rules.child_id(self._id, item), item)


def _portions(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))
