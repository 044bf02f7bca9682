"""What yt-dlp and ffmpeg of this installation can do, for the health of the service."""

import shutil
import sys
from importlib.metadata import distributions
from pathlib import Path

from umd.engine.ffmpeg import ask

ENCODERS = ("aac", "libmp3lame", "libopus", "libvorbis", "flac")
"""What the audio formats of a request need; containers and video are copied."""


def encoders_missing(ffmpeg: str) -> tuple[str, ...]:
    """Which of `ENCODERS` this ffmpeg lacks. Blocks; all of them where it does not answer."""
    told = ask(ffmpeg, "-hide_banner", "-encoders") or ""
    known = {words[1] for line in told.splitlines() if len(words := line.split()) > 1}
    return tuple(name for name in ENCODERS if name not in known)


def ytdlp_parts(js_runtime: str, release: str = "") -> dict[str, str | None]:
    """The optional parts of yt-dlp, by version; None for what is missing.

    `release` is the folder of the release in use, which may have brought a part of its own.

    `impersonation` lets it pass for a browser, `challenge_solver` and `js_runtime` are for YouTube.
    """
    return {
        "impersonation": installed("curl-cffi"),
        "challenge_solver": (installed("yt-dlp-ejs", release) if release else None)
        or installed("yt-dlp-ejs"),
        "js_runtime": _deno(js_runtime),
    }


def installed(distribution: str, folder: str | None = None) -> str | None:
    """The version of a package that is installed here, or in a folder."""
    found = next(iter(distributions(name=distribution, path=[folder] if folder else sys.path)), None)
    return found.version if found else None


def _deno(setting: str) -> str | None:
    if setting == "auto":
        beside = Path(sys.executable).parent / "deno"
        return str(beside) if beside.exists() else shutil.which("deno")
    return setting if setting and Path(setting).exists() else None
