"""A census of connections: what the kernel was asked for by every process of a service at work."""

import asyncio
import re
import shutil
from collections import defaultdict
from pathlib import Path

import pytest

from tests.e2e.service import Service
from tests.site import Site

STRACE = shutil.which("strace")
PROXY = ("127.0.0.1", 3128)
SOURCES = (
    "/media/small/census.mp4",
    "/redirect?to=/media/small/census-redirected.mp4",
    "/hls/master/census.m3u8",
    "/hls/aes/census.m3u8",
    "/dash/segments/census.mpd",
    "/live/census.m3u8?until=3",
    "/page/html5/census.html",
    "/page/jsonld/census.html",
    "/feed/census.rss?n=1",
    "/site/video/census",
    "/site/impersonated/census?to=",
)
OPTIONS = (
    {"audio_only": True},
    {"download_subtitles": True, "embed_subtitles": True, "embed_thumbnail": True, "embed_chapters": True},
    {"download_sections": ["*0:01-0:03"], "write_thumbnail": True, "write_info_json": True},
)

_CONNECTED = re.compile(
    r"^(?P<pid>\d+) .*connect\(.*sin6?_port=htons\((?P<port>\d+)\)"
    r'.*?"(?P<address>[^"]+)".*= (0|-1 EINPROGRESS.*)$'
)


@pytest.mark.skipif(
    STRACE is None,
    reason="strace is not installed: nobody asks the kernel. tests/engine/test_egress.py asks the site.",
)
async def test_every_connection_of_a_child_is_the_proxys(site: Site, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    service = Service(tmp_path / "data")
    # `-D`: strace is the grandchild, so that what is started here is the service itself.
    service.tracer = (
        str(STRACE),
        "-D",
        "-f",
        "-qq",
        "--seccomp-bpf",
        "-e",
        "trace=connect",
        "-o",
        str(trace),
    )
    await service.start()
    try:
        level = (await service.logged("engine.sandbox"))["detail"]
        zygote = (await service.logged("engine.zygote_ready"))["pid"]
        urls = [site.url(path) for path in SOURCES[:-1]] + [site.url(SOURCES[-1]) + site.url("/text/x.txt")]
        jobs = await asyncio.gather(
            *(service.download(url) for url in urls),
            *(service.download(site.url("/site/video/all"), **options) for options in OPTIONS),
        )
        pid = service.pid
    finally:
        await service.stop()

    assert [job["error"] for job in jobs if job["status"] != "completed"] == []
    went = connections(trace.read_text())
    children = {one: places for one, places in went.items() if one not in (pid, zygote)}
    if level == "netns":
        assert {one: places for one, places in children.items() if places != {PROXY}} == {}
    else:
        assert {one: places for one, places in children.items() if len(places) > 1} == {}
    assert len(children) >= len(jobs)
    assert {port for _, port in went[pid]} == {site.port}


def connections(trace: str) -> dict[int, set[tuple[str, int]]]:
    """Where each thread got through to by TCP, or was still trying when the call returned."""
    found: defaultdict[int, set[tuple[str, int]]] = defaultdict(set)
    for line in trace.splitlines():
        if match := _CONNECTED.match(line):
            found[int(match["pid"])].add((match["address"], int(match["port"])))
    return dict(found)
