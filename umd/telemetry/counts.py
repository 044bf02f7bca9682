"""Counts what happens in this process from its start on, from requests to webhooks."""

from collections import Counter, deque
from typing import Literal

from umd.clock import SECOND, Clock, Micros
from umd.telemetry.distribution import Distribution
from umd.telemetry.records import (
    Answered,
    Committed,
    ProbeAsked,
    ProbeEnded,
    Record,
    WebhookPosted,
    WorkerEvent,
)

REQUEST_BOUNDS_SEC = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
APPEND_BOUNDS_SEC = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
OUTSIDE_BOUNDS_SEC = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
WINDOW_SEC = 60
GONE = 410

Posting = Literal["delivered", "refused", "gone", "unanswered"]


class Counts:
    """The one listener: `note` takes every record. What a client may choose freely never becomes a label."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.requests: dict[tuple[str, str, str], Distribution] = {}
        self.problems: Counter[str] = Counter()
        self.appends = Distribution(APPEND_BOUNDS_SEC)
        self.workers: Counter[str] = Counter()
        self.worker_crashes = 0
        self.webhooks: Counter[str] = Counter()
        self.webhook_posts = Distribution(OUTSIDE_BOUNDS_SEC)
        self.probes_asked: Counter[str] = Counter()
        self.probes_ended: Counter[str] = Counter()
        self.probe_readings = Distribution(OUTSIDE_BOUNDS_SEC)
        self._minute: deque[tuple[int, int]] = deque(maxlen=WINDOW_SEC + 1)

    def note(self, record: Record) -> None:
        """Count what happened."""
        match record:
            case Answered():
                self._answered(record)
            case Committed(waited_sec=waits):
                for waited_sec in waits:
                    self.appends.observe(waited_sec)
            case WorkerEvent(what, crashed):
                self.workers[what] += 1
                self.worker_crashes += crashed
            case WebhookPosted(status, duration_sec):
                self.webhooks[_posting(status)] += 1
                self.webhook_posts.observe(duration_sec)
            case ProbeAsked(source):
                self.probes_asked[source] += 1
            case ProbeEnded(outcome, duration_sec):
                self.probes_ended[outcome] += 1
                self.probe_readings.observe(duration_sec)

    @property
    def requests_per_minute(self) -> int:
        """How many requests were answered in the last minute."""
        since = _second(self._clock.now()) - WINDOW_SEC
        return sum(count for second, count in self._minute if second > since)

    def _answered(self, record: Answered) -> None:
        self._count_second(_second(self._clock.now()))
        if record.code is not None:
            self.problems[record.code] += 1
        if record.stream:
            return
        method = record.method if record.method in METHODS else "other"
        key = (method, record.route, f"{record.status // 100}xx")
        if key not in self.requests:
            self.requests[key] = Distribution(REQUEST_BOUNDS_SEC)
        self.requests[key].observe(record.duration_sec)

    def _count_second(self, second: int) -> None:
        if self._minute and self._minute[-1][0] == second:
            self._minute.append((second, self._minute.pop()[1] + 1))
        else:
            self._minute.append((second, 1))


def _posting(status: int | None) -> Posting:
    if status is None:
        return "unanswered"
    if status == GONE:
        return "gone"
    return "delivered" if status // 100 == 2 else "refused"  # noqa: PLR2004  # what HTTP calls successful


def _second(at: Micros) -> int:
    return at // SECOND
