import asyncio
import hashlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from tests.site import Media, Site
from tests.site.tools import Tools


@pytest_asyncio.fixture
async def site() -> AsyncIterator[Site]:
    async with Site() as running:
        yield running


@pytest_asyncio.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def test_a_gate_holds_a_download_until_it_is_opened(site: Site, client: aiohttp.ClientSession) -> None:
    url = site.url("/media/small/a.mp4", stall_after=100_000, gate="half")
    answer = await client.get(url)
    record = await site.wait_bytes("/media/small/a.mp4", 100_000)
    assert (record.bytes_sent, record.is_open) == (100_000, True)

    site.open_gate("half")

    assert len(await answer.read()) == site.media.size("small")
    assert not (await site.wait_closed(record)).aborted


async def test_skip_and_times_choose_the_requests_that_fail(
    site: Site, client: aiohttp.ClientSession
) -> None:
    url = site.url("/media/small/a.mp4?fail=503&retry_after=7&skip=1&times=2")

    answers = [await client.head(url) for _ in range(4)]

    assert [answer.status for answer in answers] == [200, 503, 503, 200]
    assert answers[1].headers["Retry-After"] == "7"


async def test_ranges_are_honoured_to_the_byte(site: Site, client: aiohttp.ClientSession) -> None:
    async def get(wanted: str) -> tuple[int, bytes]:
        answer = await client.get(site.url("/media/small/a.mp4"), headers={"Range": wanted})
        return answer.status, await answer.read()

    whole = (site.media.root / "240p.mp4").read_bytes()

    assert await get("bytes=1000-1999") == (206, whole[1000:2000])
    assert await get("bytes=400000-") == (206, whole[400_000:])
    assert await get("bytes=-10") == (206, whole[-10:])
    assert (await get(f"bytes={len(whole)}-"))[0] == 416


async def test_rate_is_kept(site: Site, client: aiohttp.ClientSession) -> None:
    size = site.media.size("audio")

    await (await client.get(site.url("/media/audio/a.m4a", rate=size * 2))).read()

    record = await site.wait_closed("/media/audio/a.m4a")
    assert record.closed_at is not None
    assert record.closed_at - record.opened_at > 0.45


async def test_a_misspelt_knob_is_refused(site: Site, client: aiohttp.ClientSession) -> None:
    assert (await client.get(site.url("/media/small/a.mp4?stal_after=1"))).status == 400
    assert (await client.get(site.url("/media/small/a.mp4?rate=fast"))).status == 400


async def test_peak_counts_what_was_open_together(site: Site, client: aiohttp.ClientSession) -> None:
    urls = [site.url(f"/media/small/{number}.mp4?hold=all") for number in range(5)]
    tasks = [asyncio.create_task(client.get(url)) for url in urls]
    await site.wait_active(5)

    site.open_gate("all")
    for answer in await asyncio.gather(*tasks):
        await answer.read()

    await site.wait_active(0)
    assert site.peak("/media/small/*") == site.max_active == 5


async def test_stop_ends_what_still_hangs_and_may_be_called_twice(client: aiohttp.ClientSession) -> None:
    site = Site()
    await site.start()
    stalled = await client.get(site.url("/media/50mb/a.mp4?stall_after=1000"))
    hanging = asyncio.create_task(client.get(site.url("/site/api/hang/a"), raise_for_status=True))
    await site.wait_request("/site/api/hang/a")

    async with asyncio.timeout(10):
        await site.stop()
        await site.stop()

    with pytest.raises(aiohttp.ClientError):
        await stalled.read()
    with pytest.raises(aiohttp.ClientError):
        await hanging
    assert [record.is_open for record in site.requests] == [False, False]


async def test_a_wait_that_fails_says_what_was_seen(site: Site, client: aiohttp.ClientSession) -> None:
    await client.get(site.url("/text/a.txt"))

    with pytest.raises(TimeoutError, match=r"request 1 for /media/\*.*GET /text/a.txt 200"):
        await site.wait_request("/media/*", 0.01)


async def test_another_process_can_read_the_journal_and_open_gates(
    site: Site, client: aiohttp.ClientSession
) -> None:
    held = asyncio.create_task(client.get(site.url("/text/a.txt?page_hold=door")))
    await site.wait_request("/text/a.txt")

    await client.put(site.url("/_site/gates/door"))
    await held

    journal = await (await client.get(site.url("/_site/requests?path=/text/*"))).json()
    assert [record["path"] for record in journal["requests"]] == ["/text/a.txt"]


def test_the_forty_are_distinct_and_of_the_sizes_that_were_asked_for() -> None:
    media = Media.ensure()
    files = [path.read_bytes() for path in map(media.numbered, range(40)) if path]

    assert len({hashlib.sha256(data).digest() for data in files}) == 40
    assert all(260_000 < len(data) < 2_100_000 for data in files)
    assert 45_000_000 < media.size("50mb") < 60_000_000


def test_media_that_failed_to_be_made_are_not_there(tmp_path: Path) -> None:
    useless = Path(sys.executable)  # Ends with an error at the first option.

    with pytest.raises(RuntimeError, match="ffmpeg ended with"):
        Media.ensure(tmp_path, Tools(useless, useless))

    assert [path for path in tmp_path.iterdir() if path.is_dir() and path.suffix != ".tmp"] == []
