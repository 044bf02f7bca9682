"""Starts real yt-dlp in a child process for the site's own tests."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.site.server import PLUGINS
from tests.site.tools import find_tools

ROOT = Path(__file__).parents[2]
TOOLS = find_tools()
RUN_SEC_MAX = 100.0


class YtDlp:
    """Real yt-dlp in a child process that knows the plugin, with the site's ffmpeg on its PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        tools = TOOLS.link_into(folder / "bin")
        self._environment = {
            "PATH": f"{tools}{os.pathsep}{os.defpath}",
            "PYTHONPATH": f"{ROOT}{os.pathsep}{PLUGINS}",
            "HOME": str(folder),
        }

    async def start(
        self, urls: list[str], download: bool, params: dict[str, Any]
    ) -> asyncio.subprocess.Process:
        into = self.folder / "out"
        into.mkdir(exist_ok=True)
        words = [sys.executable, "-m", "tests.site.child", str(self.folder / "results")]
        child = await asyncio.create_subprocess_exec(
            *words, stdin=-1, stdout=-3, stderr=-3, cwd=into, env=self._environment
        )
        assert child.stdin is not None
        child.stdin.write(json.dumps({"urls": urls, "download": download, "params": params}).encode())
        child.stdin.close()
        return child

    async def run(self, *urls: str, download: bool = False, **params: Any) -> list[dict[str, Any]]:  # noqa: ANN401
        """One answer for each URL: `{"info": ...}`, or `{"error": text, "chain": classes}`."""
        child = await self.start(list(urls), download, params)
        await asyncio.wait_for(child.wait(), RUN_SEC_MAX)
        return [json.loads(line) for line in (self.folder / "results").read_text().splitlines()]

    def files(self) -> dict[str, tuple[list[str], float]]:
        """What lies in the folder: each file's codecs and its length in seconds."""
        return {path.name: _probe(path) for path in sorted((self.folder / "out").iterdir())}


def _probe(path: Path) -> tuple[list[str], float]:
    words = [str(TOOLS.ffprobe), "-v", "error", "-show_streams", "-show_format", "-of", "json", str(path)]
    found = json.loads(subprocess.run(words, capture_output=True, check=False).stdout or "{}")
    codecs = [stream["codec_name"] for stream in found.get("streams", [])]
    return codecs, float(found.get("format", {}).get("duration", 0))
