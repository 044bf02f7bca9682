"""Measures what it takes to look before downloading: `python -m scripts.bench.probe [--only NAME]`.

Y is the same extraction by yt-dlp within one warm process, with a new YoutubeDL for each item, as a service
without processes of its own would do it, and with one for all: the floor. The three take turns, item by item,
so that the machine's noise is everybody's.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Awaitable, Callable

from scripts.bench.engine import ROOT, Origin, pss_mb
from scripts.bench.service import serving
from tests.e2e.service import Service
from tests.site import PLUGINS

SHOTS = 40
CACHED = 200
ENTRIES = 10_000
LINE = "{:<52} {:>10}   {}"


class Yardstick:
    """yt-dlp in a process of its own, which is told an address and a way, and answers with seconds."""

    def __enter__(self) -> "Yardstick":
        self._process = subprocess.Popen(
            [sys.executable, "-m", "scripts.bench.probe", "--yardstick"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(PLUGINS)},
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()

    def shot(self, url: str, *, reuse: bool) -> float:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps([url, reuse]), file=self._process.stdin, flush=True)
        return float(self._process.stdout.readline())


def measure_in_process() -> None:
    """The other side of `Yardstick`."""
    import yt_dlp  # noqa: PLC0415 - the process that asks the service must not have it

    options = {"quiet": True, "no_warnings": True, "noprogress": True, "cachedir": False}
    one = yt_dlp.YoutubeDL(options)
    for line in sys.stdin:
        url, reuse = json.loads(line)
        began = time.monotonic()
        ydl = one if reuse else yt_dlp.YoutubeDL(options)
        json.dumps(ydl.sanitize_info(ydl.extract_info(url, download=False)))
        print(time.monotonic() - began, flush=True)


async def metadata(origin: Origin) -> None:
    """From the request to the whole answer, for the plugin's site and for a page that generic reads."""
    with Yardstick() as yardstick:
        async with serving() as service:
            for what, path in (("site", "/site/video/{}"), ("page", "/page/html5/{}.html")):
                await _compare(origin, yardstick, service, what, path)


async def _compare(origin: Origin, yardstick: Yardstick, service: Service, what: str, path: str) -> None:
    news, ones, ours = [], [], []
    for number in range(SHOTS + 3):
        fresh = [f"{origin.base}{path.format(uuid.uuid4().hex)}" for _ in range(3)]
        new = await asyncio.to_thread(yardstick.shot, fresh[0], reuse=False)
        one = await asyncio.to_thread(yardstick.shot, fresh[1], reuse=True)
        own = await _timed(service, fresh[2])
        if number >= 3:  # the first ones warm everybody up
            news.append(new)
            ones.append(one)
            ours.append(own)
    new, one, own = (1_000 * statistics.median(times) for times in (news, ones, ours))
    print(LINE.format(f"{what}: yt-dlp in process, a new object each time", f"{new:.1f} ms", ""))
    print(LINE.format(f"{what}: yt-dlp in process, one object for all", f"{one:.1f} ms", ""))
    told = f"{own / new:.2f} x new (<= 1.5 x), {own / one:.2f} x one"
    print(LINE.format(f"{what}: GET /metadata", f"{own:.1f} ms", told))


async def cached(origin: Origin) -> None:
    """The same question again."""
    url = f"{origin.base}/site/video/{uuid.uuid4().hex}"
    async with serving() as service:
        await _timed(service, url)
        times = sorted([await _timed(service, url) for _ in range(CACHED)])
    told = f"p99 {1_000 * times[int(CACHED * 0.99)]:.1f} ms; < 5 ms"
    print(LINE.format("GET /metadata, cached", f"{1_000 * statistics.median(times):.2f} ms", told))


async def long_list(origin: Origin) -> None:
    """The first and the last page of 10,000 entries, and what the service holds of them."""
    url = f"{origin.base}/site/channel/{uuid.uuid4().hex}?n={ENTRIES}"
    async with serving() as service:
        await _timed(service, f"{origin.base}/site/video/{uuid.uuid4().hex}")
        before = pss_mb(service.pid)
        first = await _timed(service, url, "playlist/preview")
        last = await _timed(service, url, "playlist/preview", page=ENTRIES // 20)
        again = await _timed(service, url, "playlist/preview", page=ENTRIES // 40)
        sorted_ = await _timed(service, url, "channel/info", sort_by="view_count", min_duration=100)
        grown = pss_mb(service.pid) - before
    for what, value in (
        ("first page of 10,000", first),
        ("last page, once all is read", last),
        ("a page of what is read", again),
        ("filtered and sorted, of what is read", sorted_),
    ):
        print(LINE.format(what, f"{1_000 * value:.1f} ms", ""))
    print(LINE.format("memory of the service for it", f"{grown:.1f} MB", ""))


async def _timed(service: Service, url: str, path: str = "metadata", **query: object) -> float:
    params = {"url": url, **{name: str(value) for name, value in query.items()}}
    began = time.monotonic()
    await service.call("GET", path, params=params)
    return time.monotonic() - began


PARTS: dict[str, Callable[[Origin], Awaitable[None]]] = {
    "metadata": metadata,
    "cached": cached,
    "long-list": long_list,
}


async def measure(only: list[str]) -> None:
    with Origin() as origin:
        for name in only or PARTS:
            await PARTS[name](origin)


def main() -> None:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", choices=PARTS, default=[], help="this part alone")
    parser.add_argument("--yardstick", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.yardstick:
        measure_in_process()
    else:
        asyncio.run(measure(arguments.only))


if __name__ == "__main__":
    main()
