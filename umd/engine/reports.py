"""The child's voice: writes reports on its descriptor, ticks no more often than anybody needs them."""

import os
import time
from collections.abc import Callable
from typing import Literal

import msgspec

from umd.domain.events import Phase, Progress
from umd.engine.progress import Tally
from umd.engine.protocol import AnyReport, Entered, Said, Tick
from umd.engine.wording import lines

TICK_SEC_MIN = 0.25
LINES_MAX = 1_000
"""Log lines of one attempt; a plugin may be talkative."""
_now = time.monotonic  # noqa: TID251 - a worker's own pace; nothing of it is ever replayed


class Reporter:
    """Writes to a pipe whose reader is the service. A full pipe makes the child wait, and nothing is lost."""

    def __init__(self, descriptor: int, now: Callable[[], float] = _now) -> None:
        self.tally = Tally()
        self.phase: Phase = "extracting"
        self._descriptor = descriptor
        self._encode = msgspec.json.Encoder().encode
        self._now = now
        self._sending = False
        """A tick may come from a signal's handler, in the middle of another report."""
        self._tick_due = 0.0
        self._tick_unsent = False
        self._step: str | None = None
        self._lines_left = LINES_MAX

    def send(self, report: AnyReport) -> None:
        data = memoryview(self._encode(report) + b"\n")
        self._sending = True
        while data:
            data = data[os.write(self._descriptor, data) :]
        self._sending = False

    def enter(self, phase: Phase, step: str | None = None) -> None:
        """Tell the phase, once; the newest progress goes with it."""
        if (phase, step) != (self.phase, self._step):
            self.phase, self._step = phase, step
            self._tick_unsent = False
            self.send(Entered(self._progress(), step))

    def tick(self) -> None:
        """Tell the progress, if the last time is a quarter of a second ago."""
        now = self._now()
        self._tick_unsent = now < self._tick_due or self._sending
        if not self._tick_unsent:
            self._tick_due = now + TICK_SEC_MIN
            self.send(Tick(self._progress()))

    def flush(self) -> None:
        """Tell the newest progress, if it was held back."""
        if self._tick_unsent:
            self._tick_unsent = False
            self.send(Tick(self._progress()))

    def say(self, level: Literal["info", "warning", "error"], message: str) -> None:
        """Pass on what yt-dlp says, line by line."""
        for text in lines(message):
            if self._lines_left == 0:
                return
            self._lines_left -= 1
            last = "" if self._lines_left else " (Further lines are left out.)"
            self.send(Said(level, text + last))

    def _progress(self) -> Progress:
        return self.tally.progress(self.phase)
