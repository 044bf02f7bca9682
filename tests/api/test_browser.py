"""What sites and clients wrote, opened in a real browser: nothing of it runs."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.api.browser import Browser, browsing, needs_chromium
from tests.api.world import PREFIX, World
from tests.domain.builders import DONE
from umd.domain import commands as c
from umd.domain.events import Metadata

pytestmark = needs_chromium

LOADED = 'new Promise(done => document.readyState === "complete" ? done() : onload = () => done())'


class Alarm:
    """Where what runs can be heard."""

    def __init__(self) -> None:
        self.port = 0
        self.heard: list[str] = []
        self.page = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A page of another origin at `/`; whatever else is asked for was asked for by a script."""
        path = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1].decode()
        if path != "/":
            self.heard.append(path)
        page = self.page.encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(page)}\r\n"
        writer.write(head.encode() + b"Connection: close\r\n\r\n" + page)
        await writer.drain()
        writer.close()

    def script(self, name: str) -> str:
        return f"new Image().src='http://127.0.0.1:{self.port}/{name}'; alert('{name}');"


@asynccontextmanager
async def alarm() -> AsyncIterator[Alarm]:
    made = Alarm()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()


def files(bell: Alarm) -> dict[str, tuple[str, str]]:
    """What a site may leave: a name, and the type that it came with."""
    html = f"<html><body>x<script>{bell.script('html')}</script></body></html>"
    svg = f'<svg xmlns="http://www.w3.org/2000/svg"><script>{bell.script("svg")}</script></svg>'
    return {
        "a.html": (html, "text/html"),
        "b.xhtml": (html, "application/xhtml+xml"),
        "c.svg": (svg, "image/svg+xml"),
        "d.xml": (svg, "text/xml"),
        "e.mp4": (html, "video/mp4"),
        "f.vtt": (html, "text/vtt"),
        "g.txt": (html, "text/plain"),
        "h.jpg": (svg, "image/jpeg"),
        "i.js": (bell.script("js"), "text/javascript"),
        "j.json": (bell.script("json"), "application/json"),
        "k.txt": (bell.script("text"), "text/plain"),
    }


async def stored(world: World, bell: Alarm) -> str:
    """A job whose title and whose files are of the worst kind."""
    lure = f"</script><script>{bell.script('title')}</script><img src=x onerror={bell.script('img')!r}>"
    job_id = await world.submit()
    await world.start(job_id)
    await world.execute(c.RecordMetadata(job_id, 1, Metadata(id="1", title=lure, extractor=lure)))
    kept = [world.store(f"videos/{name}", text.encode(), kind) for name, (text, kind) in files(bell).items()]
    await world.execute(c.CompleteAttempt(job_id, 1, tuple(kept), DONE))
    return job_id


async def opened(browser: Browser, url: str) -> None:
    await browser.command("Page.navigate", url=url)
    await browser.evaluate(LOADED)


def dialogs(browser: Browser) -> list[object]:
    return [told["message"] for name, told in browser.heard if name == "Page.javascriptDialogOpening"]


async def test_t25_nothing_that_a_site_wrote_runs_in_a_browser(world: World, tmp_path: Path) -> None:
    async with alarm() as bell, browsing(tmp_path, "Page") as browser:
        job_id = await stored(world, bell)
        base = f"http://127.0.0.1:{world.port}{PREFIX}"
        urls = [f"{base}/files/videos/{name}" for name in files(bell)]
        for url in [
            *urls,
            f"{base}/download/{job_id}",
            f"{base}/download",
            f"{base}/<script>alert(1)</script>",
        ]:
            await opened(browser, url)
        # A page of another origin takes what it can: as scripts, styles, frames and objects.
        bell.page = "".join(
            f'<script src="{url}"></script><link rel=stylesheet href="{url}"><iframe src="{url}"></iframe>'
            f'<object data="{url}"></object><embed src="{url}"><img src="{url}">'
            for url in [*urls, f"{base}/download/{job_id}"]
        )
        await opened(browser, f"http://127.0.0.1:{bell.port}/")
        quiet = [path for path in bell.heard if path != "/favicon.ico"], dialogs(browser)

        # The same file, from somebody who serves it as it came.
        bell.page = f"<script>new Image().src='http://127.0.0.1:{bell.port}/rang'</script>"
        await opened(browser, f"http://127.0.0.1:{bell.port}/")
        async with asyncio.timeout(10):
            while "/rang" not in bell.heard:
                await browser.evaluate("1")

    assert quiet == ([], []), json.dumps(bell.heard)
