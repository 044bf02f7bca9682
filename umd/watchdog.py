"""Ends the process when its event loop hangs: the platform starts it anew, and the log is replayed.

A health check from outside would notice as well, but not every platform asks after the start.
"""

import asyncio
import faulthandler
import os
import sys
import threading
from collections.abc import Callable
from typing import NoReturn

EXIT_HUNG = 70
CHECKS_UNTIL_END = 10


class Watchdog:
    """A thread that looks whether the loop still beats.

    It counts its own looks that found no new beat, not the time: a process that was stopped by a signal or
    a machine that slept is not taken for a loop that hangs. What holds the interpreter's lock holds the
    thread, too, and is not noticed. `stop` may be called twice, and before `start`.
    """

    def __init__(self, hang_sec: float, end: Callable[[], object] | None = None) -> None:
        self._look_sec = hang_sec / CHECKS_UNTIL_END
        self._end = end or _end
        self._beats = 0
        self._timer: asyncio.TimerHandle | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def start(self) -> None:
        """Watch the loop that runs now, until `stop`."""
        self._beat()
        self._thread.start()

    def stop(self) -> None:
        """Watch no longer; the thread is gone when this returns."""
        self._stopped.set()
        if self._timer is not None:
            self._timer.cancel()
        if self._thread.is_alive():
            self._thread.join()

    def _beat(self) -> None:
        self._beats += 1
        self._timer = asyncio.get_running_loop().call_later(self._look_sec / 2, self._beat)

    def _watch(self) -> None:
        seen, missed = self._beats, 0
        while not self._stopped.wait(self._look_sec):
            missed = missed + 1 if self._beats == seen else 0
            seen = self._beats
            if missed >= CHECKS_UNTIL_END:
                self._end()
                return


def _end() -> NoReturn:
    """Say where every thread is, and leave without asking the loop."""
    print("umd: the event loop hangs; the process ends to be started anew.", file=sys.stderr)  # noqa: T201
    faulthandler.dump_traceback(all_threads=True)
    os._exit(EXIT_HUNG)
