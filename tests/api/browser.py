"""A headless Chromium, spoken to through its own protocol."""

import asyncio
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
BROWSER_WAIT_SEC = 60

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is in Debian's package chromium")


class Browser:
    """One page of it. `heard` has every event of the domains that were enabled."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._number = 0
        self.heard: list[tuple[str, dict[str, object]]] = []

    async def command(self, method: str, **parameters: object) -> dict[str, object]:
        self._number += 1
        await self._socket.send_json({"id": self._number, "method": method, "params": parameters})
        while True:
            message = await self._socket.receive_json()
            if message.get("id") == self._number:
                assert "error" not in message, message
                return dict(message["result"])
            if "method" in message:
                self.heard.append((message["method"], message["params"]))
            if message.get("method") == "Page.javascriptDialogOpening":  # else nothing goes on
                close = {"id": -1, "method": "Page.handleJavaScriptDialog", "params": {"accept": True}}
                await self._socket.send_json(close)

    async def evaluate(self, expression: str) -> object:
        result = await self.command(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        inner = result["result"]
        assert isinstance(inner, dict)
        return inner.get("value")


@asynccontextmanager
async def browsing(folder: Path, *domains: str) -> AsyncIterator[Browser]:
    """A browser with its profile below a folder, that tells what happens in these domains."""
    flags = [
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--remote-debugging-port=0", f"--user-data-dir={folder / 'browser'}", "--window-size=1280,1600",
    ]  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        str(CHROMIUM),
        *flags,
        "about:blank",
        stderr=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(BROWSER_WAIT_SEC), aiohttp.ClientSession() as session:
            assert process.stderr is not None
            async for line in process.stderr:
                if found := re.search(rb"ws://([^/]+)/", line):
                    break
            else:
                pytest.fail("Chromium did not start.")
            async with session.get(f"http://{found[1].decode()}/json") as tabs:
                [tab] = [tab for tab in await tabs.json() if tab["type"] == "page"]
            async with session.ws_connect(tab["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                browser = Browser(socket)
                for domain in domains:
                    await browser.command(f"{domain}.enable")
                yield browser
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
