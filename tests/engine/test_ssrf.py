"""No way leads into the network: every lure at every level, and the same lures work on plain yt-dlp."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from tests.engine.canary import MARKER, Canary
from tests.engine.lures import SCHEMES, SIX, SPELLINGS, WAYS, Lure
from tests.engine.rig import Rig, Run
from tests.site import Site
from tests.site.ytdlp import YtDlp
from umd.domain.faults import blame
from umd.engine.sandbox import LEVELS, Level

AT_ONCE = 4
LURES = [("127.0.0.2", lure) for lure in (*SPELLINGS, *WAYS, *SCHEMES)] + [("::1", lure) for lure in SIX]


@pytest_asyncio.fixture(params=LEVELS, scope="module", loop_scope="session")
async def guarded(
    request: pytest.FixtureRequest, site: Site, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Rig]:
    """An engine that is shut off at this level, whatever the machine would offer beyond it."""
    level: Level = request.param
    async with Rig(site, tmp_path_factory.mktemp(level), "fork", sandbox=level) as rig:
        if rig.engine.confinement is None or rig.engine.confinement.level != level:
            pytest.skip(f"This machine does not offer {level}: nothing can be shown of it here.")
        yield rig


async def test_no_lure_leads_inside(guarded: Rig) -> None:
    async with Canary("127.0.0.2") as four, Canary("::1") as six:
        canaries = {"127.0.0.2": four, "::1": six}
        room = asyncio.Semaphore(AT_ONCE)

        async def follow(address: str, lure: Lure) -> tuple[str, str | None, str]:
            async with room:
                url = lure.at(address, await canaries[address].port())
                run = await guarded.begin(url.replace("{site}", guarded.site.url("")), **lure.options)
                ended = await run.ended()
                error = run.finished.fault
                return lure.name, blame(error, ended.refusal).code if error else None, told(run)

        outcomes = await asyncio.gather(*(follow(address, lure) for address, lure in LURES))

        assert {port: count for one in canaries.values() for port, count in one.visits.items() if count} == {}
    fails = {lure.name for _, lure in LURES if lure.fails}
    codes = {name: code for name, code, _ in outcomes}
    assert {name: code for name, code in codes.items() if name in fails and code not in REFUSED} == {}
    assert [name for name, _, text in outcomes if MARKER in text or "root:x:" in text] == []


REFUSED = ("address_not_allowed", "unsupported_url", "postprocessing_failed")
"""The second where the protocol itself is refused, or the place is a file; the third where ffmpeg does so."""


def told(run: Run) -> str:
    return msgspec.json.encode(run.reports).decode()


async def test_plain_ytdlp_follows_the_same_lures(site: Site, tmp_path: Path) -> None:
    """Else the test above could not fail."""
    followed = [(address, lure) for address, lure in LURES if lure.follows]
    params: dict[str, Any] = {
        "retries": 0,
        "fragment_retries": 0,
        "extractor_retries": 0,
        "writethumbnail": True,
        "writesubtitles": True,
        "socket_timeout": 2,
    }
    async with Canary("127.0.0.2") as four, Canary("::1") as six:
        canaries = {"127.0.0.2": four, "::1": six}
        ports = {lure.name: await canaries[address].port() for address, lure in followed}
        urls = [lure.at(address, ports[lure.name]) for address, lure in followed]
        urls = [one.replace("{site}", site.url("")) for one in urls]
        urls = [one if "://" in one.split("?")[0] else site.url(one) for one in urls]
        await YtDlp(tmp_path).run(*urls, download=True, **params)
        visits = four.visits | six.visits

    assert [name for name, port in ports.items() if visits[port] == 0] == []
