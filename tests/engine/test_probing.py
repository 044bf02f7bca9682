"""Items that are asked for in real children: with all that a site tells, and with nothing downloaded."""

import asyncio
from itertools import count

import msgspec
import pytest

from tests.engine.rig import Rig
from tests.site.api import SESSION_COOKIE, session_jar
from umd.engine.errand import Errands
from umd.engine.prober import EngineProber, Item
from umd.engine.protocol import ListingFailed

numbers = count(1)


def jar(cookies_id: str, owner: str) -> str:
    assert (cookies_id, owner) == ("mine", "ann")
    return session_jar()


def prober(rig: Rig) -> EngineProber:
    return EngineProber(
        Errands(rig.engine, lambda: f"probe-{next(numbers)}", lambda _: rig.folder(), lambda _: None, jar),
        20.0,
    )


async def item(rig: Rig, path: str, cookies_id: str | None = None, *, raw: bool = False) -> Item:
    url = path if path.startswith("http") else rig.site.url(path)
    return await prober(rig).item(url, cookies_id, "ann", raw=raw)


async def test_an_item_tells_its_metadata_and_formats(rig: Rig) -> None:
    found = await item(rig, f"/site/video/item-{rig.mode}")

    assert found.metadata.title == f"Video item-{rig.mode}"
    assert [one.format_id for one in found.probed.formats][-1] == "137"
    assert found.probed.chosen == "137+140"
    assert found.probed.subtitles["en"] == ("vtt",)
    assert found.info is None
    assert rig.site.requests_for(f"/media/*/item-{rig.mode}.*") == []


async def test_raw_comes_in_pieces_that_make_one_whole(rig: Rig) -> None:
    found = await item(rig, "/site/video/long?pad=600000", raw=True)
    assert found.info is not None
    info = msgspec.json.decode(found.info)

    assert len(info["description"]) > 600_000
    assert info["id"] == "long"
    assert found.info_left_out == ()


async def test_a_jar_opens_an_item_and_is_not_told(rig: Rig) -> None:
    found = await item(rig, f"/site/cookie/kept-{rig.mode}", "mine", raw=True)
    with pytest.raises(ListingFailed) as without:
        await item(rig, f"/site/cookie/kept-{rig.mode}")

    assert found.metadata.id == f"kept-{rig.mode}"
    assert found.info is not None
    assert SESSION_COOKIE[1].encode() not in bytes(found.info)
    assert without.value.fault.code == "login_required"


async def test_a_list_of_one_is_its_item_and_a_list_of_many_is_a_list(forking: Rig) -> None:
    one = await item(forking, "/site/playlist/single?n=1")
    many = await item(forking, "/site/playlist/several?n=3")

    assert (one.metadata.id, one.probed.many) == ("single-00000", None)
    assert one.probed.formats
    assert many.probed.many is not None
    assert (many.probed.many.id, many.probed.many.count) == ("several", 3)
    assert len(forking.site.requests_for("/site/api/playlist/several")) == 1


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/site/private/item", "private"),
        ("/text/any.txt", "unsupported_url"),
        ("/site/playlist/nothing?n=0", "unsupported_url"),
        ("/redirect?to=http://127.0.0.2:9/", "address_not_allowed"),
        ("/redirect?to=http://169.254.169.254/latest/meta-data/", "address_not_allowed"),
    ],
)
async def test_what_is_not_told_fails_with_its_code(forking: Rig, path: str, code: str) -> None:
    with pytest.raises(ListingFailed) as failed:
        await item(forking, path)

    assert failed.value.fault.code == code


async def test_a_question_that_is_dropped_leaves_no_process(forking: Rig) -> None:
    asking = asyncio.create_task(item(forking, "/site/hang/dropped?gate=never"))
    record = await forking.site.wait_request("/site/api/hang/dropped")
    asking.cancel()
    await asyncio.wait({asking})
    started = {notice.pid for notice in forking.noticed("child_started")}
    ended = {notice.pid for notice in forking.noticed("child_ended")}

    assert (await forking.site.wait_closed(record)).aborted
    assert started == ended
