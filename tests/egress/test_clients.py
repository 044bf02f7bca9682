"""The programs that go through the proxy: real yt-dlp, its impersonated requests, and real ffmpeg."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import curl_cffi
import pytest

from tests.egress.net import PLENTY, answering
from tests.site import Site
from tests.site.ytdlp import TOOLS, YtDlp
from umd.domain.destinations import rules_of
from umd.egress.passage import Allowance, Passage
from umd.egress.proxy import Egress
from umd.egress.resolver import SystemResolver
from umd.settings import Settings

RULES = rules_of(Settings(allow_addresses="127.0.0.1/32"))
INSIDE = "127.0.0.2"
"""Loopback as well, but not allowed: the canary stands there."""


@asynccontextmanager
async def passage(allowance: Allowance = PLENTY) -> AsyncIterator[tuple[Passage, str]]:
    resolver = SystemResolver()
    egress = Egress(RULES, resolver)
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    proxy = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        yield await egress.admit(listener, allowance), proxy
    finally:
        await egress.stop()
        resolver.stop()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with Site() as running:
        yield running


async def test_an_impersonated_request_goes_through_the_proxy(site: Site) -> None:
    async with passage() as (through, proxy):
        got = await asyncio.to_thread(
            curl_cffi.get, site.url("/text/a.txt"), proxies={"http": proxy}, impersonate="chrome"
        )
        refused = await asyncio.to_thread(
            curl_cffi.get, f"http://{INSIDE}:9/", proxies={"http": proxy}, impersonate="chrome"
        )

    assert (got.status_code, refused.status_code) == (200, 403)
    assert through.traffic.connections == 2


@pytest.mark.parametrize(
    "path", ["/media/small/a.mp4", "/hls/master/a.m3u8", "/hls/aes/a.m3u8", "/dash/segments/a.mpd"]
)
async def test_ytdlp_downloads_through_the_proxy(site: Site, tmp_path: Path, path: str) -> None:
    ytdlp = YtDlp(tmp_path)
    async with passage() as (through, proxy):
        (result,) = await ytdlp.run(site.url(path), download=True, proxy=proxy)

    assert "error" not in result, result
    assert all(codecs for codecs, _ in ytdlp.files().values())
    assert through.traffic.connections > 0
    assert through.traffic.bytes_in > 50_000
    assert through.refusal is None


async def test_ffmpeg_downloads_through_the_proxy(site: Site, tmp_path: Path) -> None:
    async with passage() as (through, proxy):
        target = tmp_path / "a.ts"
        words = [str(TOOLS.ffmpeg), "-loglevel", "error", "-i", site.url("/hls/master/a.m3u8"), "-c", "copy"]
        ffmpeg = await asyncio.create_subprocess_exec(*words, target, env={"http_proxy": proxy})
        async with asyncio.timeout(30):
            assert await ffmpeg.wait() == 0

    assert through.traffic.bytes_in >= target.stat().st_size / 2
    assert through.refusal is None


async def test_a_redirect_to_the_inside_is_refused_to_ytdlp(site: Site, tmp_path: Path) -> None:
    canary = answering(b"INSIDE")
    async with canary.running(INSIDE), passage() as (through, proxy):
        inside = f"http://{INSIDE}:{canary.port}/secret.mp4"
        (result,) = await YtDlp(tmp_path).run(site.url("/redirect", to=inside), download=True, proxy=proxy)

        assert canary.hits == 0
        assert "error" in result
        assert through.refusal is not None
        assert through.refusal.code == "address_not_allowed"
        assert [refusal.place for refusal in through.refusals] == [f"{INSIDE}:{canary.port}"] * len(
            through.refusals
        )


async def test_without_the_proxy_the_redirect_does_get_there(site: Site, tmp_path: Path) -> None:
    canary = answering(b"INSIDE")
    async with canary.running(INSIDE):
        inside = f"http://{INSIDE}:{canary.port}/secret.mp4"
        await YtDlp(tmp_path).run(site.url("/redirect", to=inside), download=True)

        assert canary.hits > 0


async def test_a_file_without_end_is_cut_off(site: Site, tmp_path: Path) -> None:
    async with passage(Allowance(bytes_max=300_000)) as (through, proxy):
        (result,) = await YtDlp(tmp_path).run(site.url("/media/50mb/a.mp4"), download=True, proxy=proxy)

        assert "error" in result
        assert through.refusal is not None
        assert through.refusal.code == "too_large"
        assert through.traffic.bytes_in < 1_000_000
