"""What is asked of a site is asked once, in bounded numbers and time, and kept for a while."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from tests.actors.probing import ScriptedProber
from tests.api.world import HandClock, until
from tests.domain.builders import METADATA
from umd.actors.catalogue import Catalogue
from umd.actors.probes import KEPT_MAX, LOOKUPS_MAX, WAITING_MAX, Probes, Question
from umd.clock import SECOND
from umd.domain.events import ListedItem
from umd.domain.faults import fault
from umd.domain.options import ChannelDownloadRequest
from umd.engine.protocol import Listed
from umd.errors import (
    ExtractionFailed,
    QueueFull,
    ShuttingDown,
    UpstreamTimeout,
)

URL = "https://example.com/"
ITEM = Question("item", URL, "ann")
LIST = Question("list", URL, "ann")


class Desk:
    def __init__(self, at_once: int, timeout_sec: float) -> None:
        self.prober = ScriptedProber()
        self.clock = HandClock()
        self.probes = Probes(self.prober, self.clock, at_once, timeout_sec)


@asynccontextmanager
async def desk(at_once: int = 4, timeout_sec: float = 10.0) -> AsyncIterator[Desk]:
    desk = Desk(at_once, timeout_sec)
    async with asyncio.timeout(10):
        yield desk
        await desk.probes.stop()
    assert desk.prober.at_work == 0


def ask(number: int) -> Question:
    return Question("item", f"{URL}{number}", "ann")


async def held(desk: Desk, *asking: Coroutine[Any, Any, Any]) -> list[asyncio.Task[Any]]:
    """Ask, and wait until the site has been asked."""
    desk.prober.gate.clear()
    tasks = [asyncio.create_task(one) for one in asking]
    await until(lambda: desk.prober.at_work > 0)
    return tasks


async def test_a_hundred_equal_questions_are_one() -> None:
    async with desk() as it:
        asking = await held(it, *(it.probes.item(ITEM) for _ in range(100)))
        it.prober.gate.set()
        answers = await asyncio.gather(*asking)

        assert it.prober.asked == [URL]
        assert {item.metadata for item, _ in answers} == {METADATA}


async def test_an_answer_is_good_for_a_minute_and_tells_its_age() -> None:
    async with desk() as it:
        ages = []
        for seconds in (0, 25, 34, 1):
            it.clock.at += seconds * SECOND
            ages.append((await it.probes.item(ITEM))[1])

        assert ages == [0, 25, 59, 0]
        assert len(it.prober.asked) == 2


@pytest.mark.parametrize(
    "other",
    [
        Question("item", URL, "bob"),
        Question("item", URL, "ann", "jar"),
        Question("raw", URL, "ann"),
        Question("item", f"{URL}?", "ann"),
    ],
)
async def test_another_owner_or_jar_or_address_is_another_question(other: Question) -> None:
    async with desk() as it:
        await it.probes.item(ITEM)
        await it.probes.item(other)

        assert len(it.prober.asked) == 2


async def test_one_who_goes_away_takes_nothing_from_the_others() -> None:
    async with desk() as it:
        first, second = await held(it, it.probes.item(ITEM), it.probes.item(ITEM))
        first.cancel()
        await asyncio.wait({first})

        assert it.prober.at_work == 1
        it.prober.gate.set()
        assert (await second)[0].metadata == METADATA


async def test_when_all_have_gone_the_site_is_left_alone() -> None:
    async with desk() as it:
        asking = await held(it, it.probes.item(ITEM), it.probes.item(ITEM))
        for one in asking:
            one.cancel()
        await until(lambda: it.prober.at_work == 0)
        it.prober.gate.set()

        assert (await it.probes.item(ITEM))[1] == 0
        assert len(it.prober.asked) == 2


async def test_so_many_are_asked_at_once_and_so_many_wait() -> None:
    async with desk(at_once=2) as it:
        asking = await held(it, *(it.probes.item(ask(number)) for number in range(2 + WAITING_MAX)))
        with pytest.raises(QueueFull):
            await it.probes.item(ask(1_000))
        joined = asyncio.ensure_future(it.probes.item(ask(0)))
        it.prober.gate.set()
        await asyncio.gather(*asking, joined)

        assert it.prober.most_at_work == 2
        assert len(it.prober.asked) == 2 + WAITING_MAX


async def test_a_site_that_does_not_answer_is_given_up_and_one_that_waited_is_told_so() -> None:
    async with desk(at_once=1, timeout_sec=0.05) as it:
        one, other = await held(it, it.probes.item(ask(1)), it.probes.item(ask(2)))
        with pytest.raises(UpstreamTimeout):
            await one
        with pytest.raises((QueueFull, UpstreamTimeout)):
            await other

        assert it.prober.at_work == 0


async def test_a_refusal_reaches_all_with_what_it_tells_and_is_not_kept() -> None:
    async with desk() as it:
        asking = await held(it, it.probes.item(ITEM), it.probes.item(ITEM))
        it.prober.error = refusal = fault("rate_limited_by_site", "No.", retry_after_sec=7)
        it.prober.gate.set()
        errors = await asyncio.gather(*asking, return_exceptions=True)
        it.prober.error = None

        for error in errors:
            assert isinstance(error, ExtractionFailed)
            told = (error.code, str(error), error.retryable, error.hint, error.retry_after_sec)
            assert told == msgspec.structs.astuple(refusal)[:5]
        assert (await it.probes.item(ITEM))[0].metadata == METADATA


async def test_a_bug_is_told_and_not_waited_for() -> None:
    async with desk() as it:
        it.prober.bug = RuntimeError("a bug")
        with pytest.raises(ExtractionFailed) as failed:
            await it.probes.item(ITEM)

        assert failed.value.code == "internal"


async def test_only_so_much_is_kept() -> None:
    async with desk() as it:
        for number in range(KEPT_MAX + 1):
            await it.probes.item(ask(number))
        await it.probes.item(ask(KEPT_MAX))
        await it.probes.item(ask(0))

        assert len(it.prober.asked) == KEPT_MAX + 2


async def test_a_stop_ends_what_is_under_way_and_takes_no_more() -> None:
    async with desk() as it:
        (asking,) = await held(it, it.probes.item(ITEM))
        await it.probes.stop()
        with pytest.raises(ShuttingDown):
            await asking
        with pytest.raises(ShuttingDown):
            await it.probes.item(ITEM)


async def test_a_page_comes_before_the_list_is_read_and_the_rest_follows_by_itself() -> None:
    async with desk() as it:
        it.prober.gate.clear()
        early, _ = await it.probes.listing(LIST, 20)
        assert (early.is_whole, early.catalogue.count) == (False, 100)
        it.prober.gate.set()
        late, _ = await it.probes.listing(LIST, 250)
        whole, _ = await it.probes.listing(LIST, None)

        assert early is late is whole
        assert (whole.is_whole, whole.catalogue.count) == (True, 250)
        assert (it.prober.asked, it.prober.pages_told) == ([URL], 3)


def test_a_catalogue_gives_pages_across_its_chunks() -> None:
    catalogue = Catalogue()
    for first in (0, 3, 4):
        catalogue.add(Listed(tuple(ListedItem("u", index) for index in range(first, first + 3))))

    assert [item.index for item in catalogue.cut(2, 5)] == [2, 3, 4, 5, 4]
    assert [item.index for item in catalogue.cut(8, 5)] == [6]
    assert catalogue.cut(9, 5) == catalogue.cut(1_000_000, 5) == []
    assert [item.index for item in catalogue.pick([8, 0, 3])] == [6, 0, 3]


def test_a_catalogue_is_filtered_and_sorted_as_a_channels_download_is() -> None:
    catalogue = Catalogue()
    views = [5, None, 9, 1, 7]
    catalogue.add(Listed(tuple(ListedItem("u", place, view_count=view) for place, view in enumerate(views))))

    places, unknown = catalogue.chosen(ChannelDownloadRequest(url=URL, min_views=5, sort_by="view_count"))
    everything, _ = catalogue.chosen(ChannelDownloadRequest(url=URL, sort_by="view_count", sort_order="asc"))

    assert (places, unknown) == ([2, 4, 0], 1)
    assert everything == [3, 0, 4, 2, 1]


def entry(index: int, **told: Any) -> ListedItem:  # noqa: ANN401  # whatever field
    return ListedItem(f"https://example.com/{index}", 1, **told)


async def test_what_a_channel_does_not_tell_is_looked_up_so_far_and_once() -> None:
    async with desk() as it:
        it.prober.items = LOOKUPS_MAX + 10
        it.prober.entries = {item.url: item for item in (entry(at, view_count=at) for at in range(100))}
        it.prober.entries[entry(3).url] = fault("private", "No.")
        popular = ChannelDownloadRequest(url=URL, min_views=40, sort_by="view_count")
        dated = ChannelDownloadRequest(url=URL, date_after="20260101")

        one, other = await asyncio.gather(*(it.probes.channel(LIST, popular) for _ in range(2)))
        places, unknown = one[0].catalogue.chosen(popular)
        assert other[0] is one[0]
        assert (places, unknown) == ([*range(LOOKUPS_MAX - 1, 39, -1)], 11)
        assert [item.view_count for item in one[0].catalogue.pick(places[:2])] == [49, 48]
        assert it.prober.asked[0] == URL
        assert sorted(it.prober.asked[1:]) == sorted(entry(at).url for at in range(LOOKUPS_MAX))

        await it.probes.channel(LIST, popular)
        await it.probes.channel(LIST, dated)
        assert len(it.prober.asked) == 1 + LOOKUPS_MAX


async def test_a_channel_whose_pages_take_too_long_is_shown_as_far_as_it_is_known() -> None:
    async with desk(timeout_sec=0.05) as it:
        it.prober.items = 2
        wanted = ChannelDownloadRequest(url=URL, min_views=0)
        reading, _ = await it.probes.listing(LIST, None)
        it.prober.gate.clear()
        same, _ = await it.probes.channel(LIST, wanted)

        assert same is reading
        assert same.catalogue.chosen(wanted) == ([], 2)
        await until(lambda: it.prober.at_work == 0)


async def test_a_jar_that_is_gone_ends_the_looking_up() -> None:
    async with desk() as it:
        it.prober.entries = {entry(0).url: fault("cookies_not_found", "Gone.")}
        with pytest.raises(ExtractionFailed) as failed:
            await it.probes.channel(LIST, ChannelDownloadRequest(url=URL, min_views=0))

        assert failed.value.code == "cookies_not_found"
