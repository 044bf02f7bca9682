"""Makes the site's media once and keeps them in a cache folder that all test processes share."""

import fcntl
import functools
import hashlib
import mmap
import os
import random
import shlex
import shutil
import subprocess
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.site import recipes
from tests.site.tools import Tools, find_tools

KINDS = {
    "small": "240p.mp4",
    "360p": "360p.mp4",
    "720p": "720p.mp4",
    "1080p": "1080p.mp4",
    "video-360p": "video-360p.mp4",
    "video-720p": "video-720p.mp4",
    "video-1080p": "video-1080p.mp4",
    "vp9": "video-240p.webm",
    "audio": "audio.m4a",
    "opus": "audio.webm",
    "mp3": "audio.mp3",
    "rich": "rich.m4a",
    "rich-mp3": "rich.mp3",
    "1mb": "1mb.mp4",
    "50mb": "50mb.mp4",
    "garbage": "garbage.mp4",
}
"""What the `{kind}` of `/media/{kind}/{name}` stands for; `/media/n/{0..39}` comes beside them."""

VERSION = "1-" + hashlib.sha256(Path(recipes.__file__).read_bytes()).hexdigest()[:10]
"""The cache's key. The recipes are part of it: who edits them gets new media without touching a number."""

COMMAND_SEC_MAX = 120


def default_folder() -> Path:
    """`$UMD_TEST_MEDIA`, else the user's cache directory."""
    if named := os.environ.get("UMD_TEST_MEDIA"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "umd-test-media"


@dataclass(frozen=True, slots=True)
class Media:
    """The finished media below `root`. Make one with `Media.ensure()`."""

    root: Path

    @classmethod
    def ensure(cls, folder: Path | None = None, tools: Tools | None = None) -> "Media":
        """Return the cached media, made now if this version does not exist yet (five seconds of two cores).

        Two processes never make them twice: the second waits for the first. What is there is complete,
        because the folder gets its name only when everything is in it.
        """
        folder = folder or default_folder()
        root = folder / VERSION
        if not root.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            with (folder / f"{VERSION}.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if not root.is_dir():
                    _make(root, tools or find_tools())
        return cls(root)

    def of_kind(self, kind: str) -> Path | None:
        """The clip that a `/media/{kind}/...` URL stands for."""
        return self.root / KINDS[kind] if kind in KINDS else None

    def numbered(self, index: int) -> Path | None:
        """One of the forty distinct clips of 0.27 to 2.0 MB."""
        return self.root / "n" / f"{index}.mp4" if 0 <= index < recipes.NUMBERED else None

    def size(self, kind: str) -> int:
        return (self.root / KINDS[kind]).stat().st_size


@functools.cache
def view(path: Path) -> memoryview:
    """The file's bytes, mapped once for the life of the process: reading costs more than sending."""
    with path.open("rb") as file:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _make(root: Path, tools: Tools) -> None:
    """Make everything in a folder beside `root`, then rename it. The caller holds the lock."""
    aside = root.with_name(f"{root.name}.tmp")
    # What a killed process left: nobody else works here while we hold the lock.
    shutil.rmtree(aside, ignore_errors=True)
    for name in recipes.FOLDERS:
        (aside / name).mkdir(parents=True)
    (aside / "garbage.mp4").write_bytes(random.Random(0).randbytes(100_000))
    (aside / "hls/aes/key.bin").write_bytes(recipes.AES_KEY)
    (aside / "hls/aes/key.info").write_text("key.bin\nhls/aes/key.bin\n")

    _run_all(recipes.encodes(), aside, tools)
    _run_all(recipes.copies({path.name: path.stat().st_size for path in aside.glob("*.mp4")}), aside, tools)
    for raw in recipes.RAW:
        (aside / raw).unlink()

    aside.rename(root)


def _run_all(commands: Iterable[str], folder: Path, tools: Tools) -> None:
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 2) as pool:
        for _ in pool.map(lambda command: _run(tools.ffmpeg, command, folder), commands):
            pass


def _run(ffmpeg: Path, command: str, folder: Path) -> None:
    words = [str(ffmpeg), "-nostdin", "-v", "error", "-y", *shlex.split(command)]
    done = subprocess.run(
        words, cwd=folder, capture_output=True, text=True, timeout=COMMAND_SEC_MAX, check=False
    )
    if done.returncode:
        raise RuntimeError(f"ffmpeg ended with {done.returncode}: {shlex.join(words)}: {done.stderr.strip()}")
