"""Progress while ffmpeg downloads, as it does with live streams: yt-dlp waits for it and says nothing.

The size of the growing file is looked at by a timer's signal: a second thread would have to be kept out of
everything that the first one does.
"""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from typing import Any

BEAT_SEC = 0.5


@contextlib.contextmanager
def beating(beat: Callable[[], None]) -> Iterator[None]:
    """Call `beat` now and then while the block runs, between two steps of it. For the main thread only."""
    before = signal.signal(signal.SIGALRM, lambda *_: beat())
    signal.setitimer(signal.ITIMER_REAL, BEAT_SEC, BEAT_SEC)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Growth:
    """Tells the size of a file as yt-dlp's progress hook would."""

    def __init__(self, path: str, info: Mapping[str, Any], hook: Callable[[Mapping[str, Any]], None]) -> None:
        self._path, self._info, self._hook = path, info, hook
        self._size = 0

    def __call__(self) -> None:
        with contextlib.suppress(OSError):
            size = os.stat(self._path).st_size
            speed = max(0, size - self._size) / BEAT_SEC
            self._size = size
            state = {
                "status": "downloading",
                "downloaded_bytes": size,
                "speed": speed,
                "info_dict": self._info,
            }
            self._hook(state)
