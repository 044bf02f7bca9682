"""Lists read in real children: lazily, in order, typed, and with nothing left behind."""

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from itertools import count
from pathlib import Path

import msgspec
import pytest

from tests.engine.rig import Rig
from tests.site.api import session_jar
from umd.domain.events import ListedItem
from umd.domain.options import PlaylistDownloadRequest
from umd.engine.errand import Errands
from umd.engine.lister import EngineLister
from umd.engine.protocol import Listed, ListingFailed
from umd.errors import NotFound

OPTIONS = PlaylistDownloadRequest(url="https://example.com/")
OWNER = "ann"


def jars(cookies_id: str, owner: str) -> str:
    """One owner has one jar."""
    if (cookies_id, owner) != ("mine", OWNER):
        raise NotFound("cookies", cookies_id)
    return session_jar()


@asynccontextmanager
async def lister(rig: Rig) -> AsyncIterator[EngineLister]:
    """A lister whose folders must all be gone at the end."""
    numbers, left = count(1), dict[str, Path]()

    def folder(name: str) -> Path:
        left[name] = rig.folder()
        return left[name]

    def discard(name: str) -> None:
        folder = left.pop(name)
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()

    yield EngineLister(Errands(rig.engine, lambda: f"list-{next(numbers)}", folder, discard, jars))
    assert left == {}


async def read(rig: Rig, path: str, items_max: int = 50_000) -> list[Listed]:
    url = path if "://" in path else rig.site.url(path)
    async with lister(rig) as reader, aclosing(reader.listing(url, OPTIONS, OWNER, items_max)) as pages:
        return [page async for page in pages]


def items(pages: list[Listed]) -> list[ListedItem]:
    return [item for page in pages for item in page.items]


async def test_a_list_is_told_with_all_that_it_says(rig: Rig) -> None:
    pages = await read(rig, "/site/playlist/told?n=3")
    second = items(pages)[1]

    assert [page.title for page in pages] == ["All of told"]
    assert second == ListedItem(
        url=rig.site.url("/site/video/told-00001"),
        index=2,
        id="told-00001",
        title="told video 1",
        extractor="umdsite",
        duration=67.0,
        upload_date="20261031",
        view_count=7919,
        uploader="Uploader of told",
        thumbnail=rig.site.url("/thumb/told-00001/small.jpg"),
    )


async def test_a_long_list_comes_in_pages_and_in_order(forking: Rig) -> None:
    pages = await read(forking, "/site/channel/long?n=10000")

    assert [item.index for item in items(pages)] == list(range(1, 10_001))
    assert max(len(page.items) for page in pages) == 100


async def test_no_page_is_fetched_that_nobody_wants(forking: Rig) -> None:
    pages = await read(forking, "/site/channel/short?n=1000", 150)
    asked = forking.site.requests_for("/site/api/channel/short")

    assert len(items(pages)) == 150
    assert len(asked) == 2


async def test_a_list_that_is_left_early_leaves_no_process(forking: Rig) -> None:
    url = forking.site.url("/site/channel/left?n=10000")
    async with lister(forking) as reader:
        async with aclosing(reader.listing(url, OPTIONS, OWNER, 50_000)) as pages:
            async for page in pages:
                assert page.items[0].index == 1
                break

        started = forking.noticed("child_started")
        ended = forking.noticed("child_ended")
    assert {notice.pid for notice in started} == {notice.pid for notice in ended}


async def test_a_list_of_lists_is_gone_into(forking: Rig) -> None:
    found = items(await read(forking, "/site/tabs/house?n=2"))

    assert [item.id for item in found] == [
        f"house-{tab}-{number:05d}" for tab in ("videos", "shorts") for number in (0, 1)
    ]


async def test_a_single_item_is_a_list_of_one_with_all_that_its_page_says(forking: Rig) -> None:
    url = forking.site.url("/site/video/alone?duration=77&view_count=5&upload_date=20260101")
    async with lister(forking) as reader:
        page = await reader.lookup(ListedItem(url, 3), OPTIONS, OWNER)
        missing = await reader.lookup(ListedItem(forking.site.url("/site/private/alone"), 1), OPTIONS, OWNER)

    assert page is not None
    assert (page.id, page.duration, page.view_count, page.upload_date) == ("alone", 77.0, 5, "20260101")
    assert missing is None


async def test_a_list_is_read_with_its_owners_jar_and_with_no_other(forking: Rig) -> None:
    options = msgspec.structs.replace(OPTIONS, cookies_id="mine")
    url = forking.site.url("/site/playlist/gated?n=2&gated=1")
    gated = ListedItem(forking.site.url("/site/cookie/gated"), 1)
    async with lister(forking) as reader:
        async with aclosing(reader.listing(url, options, OWNER, 50_000)) as pages:
            found = [page async for page in pages]
        page = await reader.lookup(gated, options, OWNER)
        with pytest.raises(ListingFailed) as foreign:
            await anext(reader.listing(url, options, "bob", 50_000))
        with pytest.raises(ListingFailed) as looked_up:
            await reader.lookup(gated, options, "bob")

    assert len(items(found)) == 2
    assert page is not None
    assert foreign.value.fault.code == looked_up.value.fault.code == "cookies_not_found"


async def test_a_feed_is_a_list(forking: Rig) -> None:
    found = items(await read(forking, "/feed/cast.rss?n=4"))

    assert [item.url for item in found] == [
        forking.site.url(f"/media/small/cast-{number}.mp4") for number in range(1, 5)
    ]
    assert [item.title for item in found] == [f"Episode {number}" for number in range(1, 5)]


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/status/404/list", "not_found"),
        ("/site/private/list", "private"),
        ("/page/empty/list.html", "unsupported_url"),
        ("http://127.0.0.1:9/list", "network"),
    ],
)
async def test_what_cannot_be_read_fails_with_its_code(forking: Rig, path: str, code: str) -> None:
    with pytest.raises(ListingFailed) as failure:
        await read(forking, path)

    assert failure.value.fault.code == code


async def test_a_child_that_dies_is_a_fault_that_may_pass(forking: Rig) -> None:
    with pytest.raises(ListingFailed) as failure:
        await read(forking, "/site/segfault/list")

    assert failure.value.fault.code == "worker_crashed"
    assert failure.value.fault.retryable


async def test_hostile_entries_are_left_out_or_cut(forking: Rig) -> None:
    pages = await read(forking, "/site/playlist/odd?n=2&to=javascript:alert(1)")

    assert items(pages) == []
    assert sum(page.left_out for page in pages) == 2
