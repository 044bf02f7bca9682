"""Answers what somebody wants to see at once of a site: each thing is asked for once, by however many.

A reading is one child at work, and what it has brought. Whoever asks for the same in the meantime, or within
a minute after its end, gets it too. It is cancelled when the last one who waits for it has gone.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from itertools import islice
from typing import Literal, Protocol

import msgspec
import structlog
from msgspec.structs import replace

from umd.actors.catalogue import Catalogue
from umd.clock import SECOND, Clock, Micros
from umd.domain.events import Fault, ListedItem
from umd.domain.faults import fault
from umd.domain.options import ChannelDownloadRequest
from umd.engine.prober import Item
from umd.engine.protocol import Listed, ListingFailed
from umd.errors import (
    ExtractionFailed,
    QueueFull,
    ShuttingDown,
    UmdError,
    UpstreamTimeout,
)
from umd.telemetry.records import Listener, ProbeAsked, ProbeEnded, ReadingEnd, ignore

FRESH_SEC = 60
"""How long what a site said is good for."""
KEPT_MAX = 256
KEPT_BYTES_MAX = 67_108_864
WAITING_MAX = 32
"""Readings that wait for a slot. Those who join one that is there need no place."""
LISTED_MAX = 50_000
"""As for a batch: items that are read of a list, however long it says that it is."""
LIST_BYTES_MAX = 33_554_432
LOOKUPS_MAX = 50
"""Items of a channel that are asked for one by one, because its list does not tell what a filter needs."""
LOOKUPS_AT_ONCE = 4

_log = structlog.get_logger(__name__)


class Prober(Protocol):
    """Asks a site. A call that is cancelled leaves nothing behind."""

    async def item(self, url: str, cookies_id: str | None, owner: str, *, raw: bool) -> Item:
        """All about one item. Raises `ListingFailed`."""

    def listing(
        self, url: str, cookies_id: str | None, owner: str, items_max: int
    ) -> AsyncGenerator[Listed, None]:
        """A list, page by page. Raises `ListingFailed`. Closed where it is not read to its end."""


class Question(msgspec.Struct, frozen=True):
    """What is asked, and for whom: what one may see with his cookies is not another's to see."""

    what: Literal["item", "raw", "list", "entry"]
    url: str
    owner: str
    cookies_id: str | None = None


class Reading:
    """What one child has brought so far, and who waits for it."""

    def __init__(self) -> None:
        self.catalogue = Catalogue()
        self.item: bytes | None = None
        self.waiting = 0
        self.ended_at: Micros | None = None
        """When it was whole."""
        self.error: UmdError | None = None
        self.task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    @property
    def bytes(self) -> int:
        """What it holds in memory, roughly."""
        return len(self.item or b"") + self.catalogue.bytes

    @property
    def is_whole(self) -> bool:
        """Whether there will be no more."""
        return self.ended_at is not None

    def change(self) -> None:
        """Wake those who wait."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def until(self, enough: Callable[[], bool]) -> None:
        """Wait until there is enough, or all. Raises the error with which the reading ended."""
        while not (enough() or self.is_whole):
            if self.error is not None:
                raise self.error.with_traceback(None)
            await self._changed.wait()


class Probes:
    """All readings. `stop` ends those under way."""

    def __init__(
        self, prober: Prober, clock: Clock, at_once: int, timeout_sec: float, note: Listener = ignore
    ) -> None:
        self._prober = prober
        self._clock = clock
        self._at_once = at_once
        self._note = note
        self._timeout_sec = timeout_sec
        self._slots = asyncio.Semaphore(at_once)
        self._under_way: dict[Question, Reading] = {}
        self._kept: OrderedDict[Question, Reading] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopped = False

    async def item(self, question: Question) -> tuple[Item, int]:
        """One item, and the seconds since the site was asked.

        Raises `ExtractionFailed`, `UpstreamTimeout` and `QueueFull`, as `listing` does.
        """
        reading = await self._read(question, lambda _: False)
        return msgspec.msgpack.decode(reading.item or b"", type=_Kept).item(), self._age(reading)

    async def listing(self, question: Question, count: int | None) -> tuple[Reading, int]:
        """A list with at least so many items, or all of it. It may still grow: it is read once."""
        reading = await self._read(
            question, lambda found: count is not None and found.catalogue.count >= count
        )
        return reading, self._age(reading)

    async def channel(self, question: Question, wanted: ChannelDownloadRequest) -> tuple[Reading, int]:
        """A whole list, with what it does not tell and the filters or the sort need.

        Its items are asked for one by one then, as far as `LOOKUPS_MAX` and the time of one more question go.
        """
        reading, age = await self.listing(question, None)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._timeout_sec):
                await self._complete(question, reading.catalogue, wanted)
        return reading, age

    @property
    def under_way(self) -> int:
        """Readings that have not ended, those that wait for a place included."""
        return len(self._tasks)

    async def stop(self) -> None:
        """No reading is under way on return, and none begins any more. May be repeated."""
        self._stopped = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _read(self, question: Question, enough: Callable[[Reading], bool]) -> Reading:
        reading = self._found(question) or self._begin(question)
        reading.waiting += 1
        try:
            await reading.until(lambda: enough(reading))
        except asyncio.CancelledError:
            if reading.waiting == 1:
                self._abandon(question, reading)
            raise
        finally:
            reading.waiting -= 1
        return reading

    async def _complete(
        self, question: Question, catalogue: Catalogue, wanted: ChannelDownloadRequest
    ) -> None:
        lacking = iter(catalogue.lacking(wanted, LOOKUPS_MAX))
        while places := list(islice(lacking, LOOKUPS_AT_ONCE)):
            entries = [replace(question, what="entry", url=item.url) for item in catalogue.pick(places)]
            pages = await asyncio.gather(*map(self._entry, entries))
            for place, page in zip(places, pages, strict=True):
                catalogue.learn(place, page)

    async def _entry(self, question: Question) -> ListedItem | None:
        """An item of a list as its own page tells of it; None where that cannot be had."""
        try:
            reading = await self._read(question, lambda found: found.catalogue.count > 0)
        except ExtractionFailed as failed:
            if failed.code == "cookies_not_found":
                raise
            return None
        except UpstreamTimeout:
            return None
        return next(reading.catalogue.items(), None)

    def _age(self, reading: Reading) -> int:
        if reading.ended_at is None:
            return 0
        return max(0, (self._clock.now() - reading.ended_at) // SECOND)

    def _found(self, question: Question) -> Reading | None:
        """What somebody has asked for before."""
        reading = self._find(question)
        if reading is not None:
            self._note(ProbeAsked("kept" if reading.is_whole else "shared"))
        return reading

    def _find(self, question: Question) -> Reading | None:
        if (reading := self._under_way.get(question)) is not None:
            return reading
        self._forget_what_is_old()
        reading = self._kept.get(question)
        if reading is not None:
            self._kept.move_to_end(question)
        return reading

    def _begin(self, question: Question) -> Reading:
        """Raises `QueueFull` where too many wait already."""
        if self._stopped:
            raise ShuttingDown("The service is stopping.")
        if len(self._tasks) >= self._at_once + WAITING_MAX:
            raise QueueFull("Too many sites are being asked at the moment.")
        self._note(ProbeAsked("site"))
        reading = self._under_way[question] = Reading()
        task = reading.task = asyncio.create_task(
            self._work(question, reading), name=f"probe-{question.what}"
        )
        self._tasks.add(task)
        began = asyncio.get_running_loop().time()
        task.add_done_callback(lambda task: self._settle(question, reading, task, began))
        return reading

    def _abandon(self, question: Question, reading: Reading) -> None:
        """Nobody waits any more."""
        if reading.task is not None and not reading.is_whole:
            self._leave(question, reading)
            reading.task.cancel()

    async def _work(self, question: Question, reading: Reading) -> None:
        """One reading from its place in the queue to its end."""
        try:
            await self._in_time(question, reading)
            reading.ended_at = self._clock.now()
            if question.what != "entry":  # its list keeps what is of use of it
                self._keep(question, reading)
        except ListingFailed as failed:
            reading.error = failure(failed.fault)
        except UmdError as error:
            reading.error = error
        except Exception as error:  # noqa: BLE001  # the edge of a reading: those who wait have to hear of it
            _log.error("probe.bug", exc_info=error)
            reading.error = failure(fault("internal", "The service failed on this address."))

    def _settle(self, question: Question, reading: Reading, task: asyncio.Task[None], began: float) -> None:
        """Let those who wait know of the end, also of one that came before the beginning."""
        self._tasks.discard(task)
        self._leave(question, reading)
        if task.cancelled():
            reading.error = ShuttingDown("The service is stopping.")
        reading.change()
        self._note(ProbeEnded(_outcome(reading.error), asyncio.get_running_loop().time() - began))

    async def _in_time(self, question: Question, reading: Reading) -> None:
        """The deadline is one for the wait and for the work, as the client's patience is."""
        began = False
        try:
            async with asyncio.timeout(self._timeout_sec), self._slots:
                began = True
                is_list = question.what in ("list", "entry")
                await (self._read_list if is_list else self._read_item)(question, reading)
        except TimeoutError:
            if began:
                raise UpstreamTimeout(
                    f"The site did not tell it within {self._timeout_sec:g} s (UMD_PROBE_TIMEOUT_SEC)."
                ) from None
            raise QueueFull("Too many sites are being asked at the moment.") from None

    async def _read_item(self, question: Question, reading: Reading) -> None:
        is_raw = question.what == "raw"
        item = await self._prober.item(question.url, question.cookies_id, question.owner, raw=is_raw)
        reading.item = msgspec.msgpack.encode(_Kept.of(item))

    async def _read_list(self, question: Question, reading: Reading) -> None:
        catalogue = reading.catalogue
        items_max = 1 if question.what == "entry" else LISTED_MAX
        pages = self._prober.listing(question.url, question.cookies_id, question.owner, items_max)
        async with aclosing(pages):
            async for page in pages:
                catalogue.add(page)
                reading.change()
                if catalogue.bytes > LIST_BYTES_MAX:
                    raise ListingFailed(fault("too_large", "The list is larger than can be held to show it."))

    def _leave(self, question: Question, reading: Reading) -> None:
        if self._under_way.get(question) is reading:
            del self._under_way[question]

    def _keep(self, question: Question, reading: Reading) -> None:
        self._kept[question] = reading
        self._kept.move_to_end(question)
        self._forget_what_is_old()
        while len(self._kept) > KEPT_MAX or sum(one.bytes for one in self._kept.values()) > KEPT_BYTES_MAX:
            self._kept.popitem(last=False)

    def _forget_what_is_old(self) -> None:
        oldest = self._clock.now() - FRESH_SEC * SECOND
        for question, reading in list(self._kept.items()):
            if reading.ended_at is None or reading.ended_at <= oldest:
                del self._kept[question]


class _Kept(msgspec.Struct, frozen=True, array_like=True):
    """An item as it is kept: `info` is JSON already, and stays so."""

    rest: bytes
    info: bytes | None

    @classmethod
    def of(cls, item: Item) -> "_Kept":
        rest = msgspec.json.encode(msgspec.structs.replace(item, info=None))
        return cls(rest, None if item.info is None else bytes(item.info))

    def item(self) -> Item:
        item = msgspec.json.decode(self.rest, type=Item)
        return msgspec.structs.replace(item, info=None if self.info is None else msgspec.Raw(self.info))


def failure(failed: Fault) -> ExtractionFailed:
    """The fault of a child that was asked, as an error for the one who asks."""
    return ExtractionFailed(
        failed.code,
        failed.message,
        retryable=failed.retryable,
        hint=failed.hint,
        retry_after_sec=failed.retry_after_sec,
    )


def _outcome(error: UmdError | None) -> ReadingEnd:
    match error:
        case None:
            return "whole"
        case ShuttingDown():
            return "abandoned"
        case UpstreamTimeout() | QueueFull():
            return "timeout"
        case _:
            return "refused"
