"""Waits inside an attempt for an item that has yet to begin."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from umd.engine.params import WAIT_STEP_SEC_MAX
from umd.engine.reports import Reporter

_now = time.monotonic  # noqa: TID251 - a worker's own pace; nothing of it is ever replayed
_wall = time.time  # noqa: TID251 - what a site says of its beginning is wall time


class NotBegun(Exception):
    """The time to wait is used up, and there is still nothing to download."""


class Patience:
    """At most so many seconds of waiting, over all the times that the site is asked."""

    def __init__(
        self,
        wait_sec: float,
        now: Callable[[], float] = _now,
        wall: Callable[[], float] = _wall,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._wait_sec = wait_sec
        self._now, self._wall, self._sleep = now, wall, sleep
        self._until: float | None = None

    def wait(self, info: Mapping[str, Any], reporter: Reporter | None) -> None:
        """Until the item should have begun, or for a minute. Raises `NotBegun` when no time is left.

        It ticks each second: without a sign of life the service would take the attempt for stalled.
        """
        if self._until is None:
            self._until = self._now() + self._wait_sec
        end = min(self._until, self._now() + self._step_sec(info))
        if end <= self._now():
            raise NotBegun
        if reporter is not None:
            reporter.say("info", f"Waiting {end - self._now():.0f} s for the item to begin")
        while (left := end - self._now()) > 0:
            if reporter is not None:
                reporter.tick()
            self._sleep(min(1.0, left))

    def _step_sec(self, info: Mapping[str, Any]) -> float:
        begins = info.get("release_timestamp")
        left = begins - self._wall() if isinstance(begins, int | float) else float(WAIT_STEP_SEC_MAX)
        return min(max(left, 1.0), float(WAIT_STEP_SEC_MAX))
