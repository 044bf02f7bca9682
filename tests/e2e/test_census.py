"""A census of connections and of programs: what every process of a service at work asked the kernel for."""

import asyncio
import re
import shutil
from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import pytest
import pytest_asyncio

from tests.e2e.canaries import EVERY, SETTINGS
from tests.e2e.service import Json, Service
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

STRING_BYTES = 4_096
"""So much of each text is traced."""

COMMANDS = "$(touch pwned) `touch pwned` ;touch pwned; | touch pwned && --exec touch%20pwned"
INJECTED: tuple[tuple[str, dict[str, object]], ...] = (
    ("/media/small/--exec=touch%20pwned", {}),
    ("/media/small/%24(touch%20pwned).mp4", {}),
    (
        f"/page/jsonld/%60touch%20pwned%60.html?title={quote(COMMANDS)}",
        {"path_template": "{title}/{title}.{ext}"},
    ),
    (f"/site/video/--netrc-cmd?title={quote(COMMANDS)}", {"write_info_json": True, "embed_metadata": True}),
    ("/hls/master/--downloader=aria2c.m3u8", {"download_sections": ["*0:01-0:02"]}),
)
"""Options and commands wherever a text of a client's or of a site's may stand."""

PROGRAMS = re.compile(r"python[0-9.]*|ff(mpeg|probe)(-linux[\w.-]+)?|deno")
WARMING = {"ldconfig"}
"""Asked by a library of yt-dlp's where others are, once, while the engine starts."""

_CONNECTED = re.compile(
    r"^(?P<pid>\d+) .*connect\(.*sin6?_port=htons\((?P<port>\d+)\)"
    r'.*?"(?P<address>[^"]+)".*= (0|-1 EINPROGRESS.*)$'
)
_EXECUTED = re.compile(r'\bexecve(?:at)?\((?:\w+, )?"([^"]*)"')

pytestmark = pytest.mark.skipif(
    STRACE is None,
    reason="strace is not installed: nobody asks the kernel. tests/engine/test_egress.py asks the site.",
)


class Traced(NamedTuple):
    """A service at work, from its start to its end, as the kernel saw it."""

    text: str
    level: str
    pid: int
    zygote: int
    jobs: list[Json]
    folder: Path


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def traced(site: Site, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Traced]:
    folder = tmp_path_factory.mktemp("traced")
    trace = folder / "trace"
    service = Service(folder / "data")
    # `-D`: strace is the grandchild, so that what is started here is the service itself.
    calls = ("-e", "trace=connect,execve,execveat", "-v", f"-s{STRING_BYTES}")
    service.tracer = (str(STRACE), "-D", "-f", "-qq", "--seccomp-bpf", *calls, "-o", str(trace))
    await service.start()
    try:
        level = (await service.logged("engine.sandbox"))["detail"]
        zygote = (await service.logged("engine.zygote_ready"))["pid"]
        urls = [site.url(path) for path in SOURCES[:-1]] + [site.url(SOURCES[-1]) + site.url("/text/x.txt")]
        jobs = await asyncio.gather(
            *(service.download(url) for url in urls),
            *(service.download(site.url("/site/video/all"), **options) for options in OPTIONS),
            *(service.download(site.url(path), **options) for path, options in INJECTED),
        )
        pid = service.pid
    finally:
        await service.stop()
    yield Traced(trace.read_text(), level, pid, zygote, jobs, folder)


async def test_every_connection_of_a_child_is_the_proxys(site: Site, traced: Traced) -> None:
    went = connections(traced.text)
    children = {one: places for one, places in went.items() if one not in (traced.pid, traced.zygote)}

    assert [job["error"] for job in traced.jobs if job["status"] != "completed"] == []
    if traced.level == "netns":
        assert {one: places for one, places in children.items() if places != {PROXY}} == {}
    else:
        assert {one: places for one, places in children.items() if len(places) > 1} == {}
    assert len(children) >= len(traced.jobs)
    assert {port for _, port in went[traced.pid]} == {site.port}


async def test_t9_nothing_is_executed_but_python_ffmpeg_and_the_runtime_for_javascript(
    traced: Traced,
) -> None:
    programs = {Path(path).name for path in _EXECUTED.findall(traced.text)}

    assert {name for name in programs if not PROGRAMS.fullmatch(name)} <= WARMING
    assert {"ffmpeg", "ffprobe"} <= programs
    assert list(traced.folder.rglob("pwned")) == []


async def test_no_program_is_told_a_secret(traced: Traced) -> None:
    """Neither on its command line nor in its environment, however short it runs."""
    service, *others = [line for line in traced.text.splitlines() if _EXECUTED.search(line)]

    assert all(secret in service for secret in SETTINGS.values()), "environments are shown whole"
    assert [line for line in others if any(secret in line for secret in EVERY)] == []


def connections(trace: str) -> dict[int, set[tuple[str, int]]]:
    """Where each thread got through to by TCP, or was still trying when the call returned."""
    found: defaultdict[int, set[tuple[str, int]]] = defaultdict(set)
    for line in trace.splitlines():
        if match := _CONNECTED.match(line):
            found[int(match["pid"])].add((match["address"], int(match["port"])))
    return dict(found)
