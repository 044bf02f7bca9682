"""Runs the local media site by hand: `python scripts/media_site.py [--port 8099]`, Ctrl-C ends it."""

import argparse
import asyncio
import signal
import sys
from pathlib import Path

# `tests` is a package of the repository and not installed.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.site import PLUGINS, Site

EXAMPLES = {
    "Files, under any name; with knobs such as ?rate=50000, ?stall_after=100000, ?fail=503&times=1": (
        *("/media/small/any.mp4", "/media/720p/any.mp4", "/media/1mb/any.mp4", "/media/50mb/any.mp4"),
        *(
            "/media/n/0.mp4",
            "/media/audio/any.m4a",
            "/media/opus/any.webm",
            "/media/mp3/any.mp3",
            "/media/garbage/any.mp4",
        ),
        *("/subs/any/en.vtt", "/thumb/large.png"),
    ),
    "Streams": (
        *("/hls/master/any.m3u8", "/hls/groups/any.m3u8", "/hls/aes/any.m3u8", "/live/any.m3u8?until=10"),
        *("/dash/segments/any.mpd", "/dash/single/any.mpd"),
    ),
    "Pages": (
        *("/page/html5/any.html", "/page/jsonld/any.html?title=Any+title", "/page/empty/any.html"),
        *("/feed/any.rss?n=5", "/text/any.txt", "/json/any.json", "/redirect?to=/media/small/any.mp4"),
        *("/status/404/any", "/headers/big/any"),
    ),
    "Through the plugin": (
        *(
            "/site/video/any",
            "/site/channel/any?n=250",
            "/site/playlist/any?fault=2:private",
            "/site/tabs/any",
        ),
        *("/site/cookie/any", "/site/live/any?until=10", "/site/upcoming/any"),
        *("/site/video/any?formats=unmergeable", "/site/segfault"),
    ),
    "Control": ("/_site/requests",),
}


async def serve(port: int) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        # Set by hand: a shell starts background commands with SIGINT ignored, and Python would keep it so.
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with Site(port=port) as site:
        for heading, paths in EXAMPLES.items():
            print(f"\n{heading}:", *(f"  {site.url(path)}" for path in paths), sep="\n")
        print("\numd takes these addresses with UMD_ALLOW_ADDRESSES=127.0.0.0/8 only.")
        print(f"\nThe plugin: PYTHONPATH={PLUGINS} yt-dlp {site.url('/site/video/any')}", flush=True)
        await stopped.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8099, help="0 takes a free one (default: %(default)s)")
    asyncio.run(serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
