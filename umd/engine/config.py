"""What a worker process has to know of the service's settings."""

import hashlib
import os
from pathlib import Path

import msgspec

from umd.engine.ffmpeg import Tools
from umd.settings import Settings

MARK_VARIABLE = "UMD_ENGINE"
"""The one variable of ours in a worker's environment. Its value names the data directory and the run."""


class EngineConfig(msgspec.Struct, frozen=True):
    """The same for every attempt of one run of the service.

    `mark` is `<data directory>.<run>`, both as a few hexadecimal digits: a later run finds by it what this
    one left behind. (A process of an attempt's own adds the attempt.) `scratch` is a directory of the
    engine's own below the data directory.
    """

    scratch: str
    tools: Tools
    mark: str
    plugin_dir: str = ""
    js_runtime: str = "auto"
    filesize_max_bytes: int = 2**50


def scratch_folder(settings: Settings) -> Path:
    """Where the engine keeps its links. The folder of the jobs' working folders is next to it."""
    return settings.root / "temp" / "engine"


def configure(settings: Settings, tools: Tools) -> EngineConfig:
    """The workers' configuration; each call begins another run."""
    plugin_dir = settings.ytdlp_plugin_dir
    return EngineConfig(
        scratch=str(scratch_folder(settings)),
        tools=tools,
        mark=f"{_fingerprint(settings.root)}.{os.urandom(8).hex()}",
        plugin_dir=str(Path(plugin_dir).expanduser().absolute()) if plugin_dir else "",
        js_runtime=settings.js_runtime,
        filesize_max_bytes=settings.max_filesize_bytes,
    )


def _fingerprint(root: Path) -> str:
    return hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:16]
