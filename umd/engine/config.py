"""What a worker process has to know of the service's settings."""

import hashlib
import os
from pathlib import Path

import msgspec

from umd.engine.ffmpeg import Tools
from umd.engine.sandbox import Level
from umd.engine.shelf import Shelf
from umd.settings import Settings

MARK_VARIABLE = "UMD_ENGINE"
"""The one variable of ours in a worker's environment. Its value names the data directory and the run."""


class EngineConfig(msgspec.Struct, frozen=True):
    """The same for every attempt of one run of the service.

    `mark` is `<data directory>.<run>`, both as a few hexadecimal digits: a later run finds by it what this
    one left behind. (A process of an attempt's own adds the attempt.) `scratch` is a directory of the
    engine's own below `data_dir`. `sandbox` is the level that children are shut off at: as it is configured
    the best one to try, and in a child what was found to work. `release` is the folder that yt-dlp is
    imported from; empty is the one that umd came with.
    """

    data_dir: str
    scratch: str
    tools: Tools
    mark: str
    plugin_dir: str = ""
    js_runtime: str = "auto"
    filesize_max_bytes: int = 2**50
    memory_max_bytes: int = 2**32
    allow_reencode: bool = True
    sponsorblock_api: str = "https://sponsor.ajay.app"
    sandbox: Level = "netns"
    sandbox_least: Level = "proxy"
    release: str = ""
    writable: tuple[str, ...] = ()
    """Where a child may write besides its own folder: for tests, which measure what they cover."""

    @property
    def programs(self) -> tuple[str, ...]:
        """The programs that a child may run, as far as they are known by their paths."""
        runtime = self.js_runtime if self.js_runtime not in ("", "auto") else None
        return tuple(one for one in (self.tools.ffmpeg, self.tools.ffprobe, runtime) if one)


def scratch_folder(settings: Settings) -> Path:
    """Where the engine keeps its links. The folder of the jobs' working folders is next to it."""
    return settings.root / "temp" / "engine"


def releases_folder(settings: Settings) -> Path:
    """Where releases of yt-dlp lie besides the one that umd came with."""
    return settings.root / "engines"


def configure(settings: Settings, tools: Tools) -> EngineConfig:
    """The workers' configuration; each call begins another run."""
    plugin_dir = settings.ytdlp_plugin_dir
    return EngineConfig(
        data_dir=str(settings.root),
        scratch=str(scratch_folder(settings)),
        tools=tools,
        mark=f"{_fingerprint(settings.root)}.{os.urandom(8).hex()}",
        plugin_dir=str(Path(plugin_dir).expanduser().absolute()) if plugin_dir else "",
        js_runtime=settings.js_runtime,
        filesize_max_bytes=settings.max_filesize_bytes,
        memory_max_bytes=settings.worker_memory_bytes,
        sandbox_least=settings.sandbox,
        release=Shelf(releases_folder(settings)).first(),
        allow_reencode=settings.allow_reencode,
        sponsorblock_api=settings.sponsorblock_api,
    )


def _fingerprint(root: Path) -> str:
    return hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:16]
