"""The service's totals: folded from the log, and so the same before and after a restart."""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from typing import Any, get_args

import msgspec

from umd.clock import SECOND, Micros, micros
from umd.domain import events as e
from umd.domain.faults import RETRYABLE
from umd.log import Fact
from umd.telemetry.distribution import Distribution

DURATION_BOUNDS_SEC = (1, 5, 15, 60, 300, 1_800, 7_200)
LATENCY_BOUNDS_SEC = (0.01, 0.05, 0.1, 0.5, 1, 5, 30, 60, 300, 1_800)
RECENT_MAX = 1_000
"""The newest starts, of which the percentile of the queue's latency is taken."""

OTHER = "other"
"""Stands for a type or a code of a newer release: what is counted has a closed list of names."""

EVENT_TYPES = frozenset(str(kind.__struct_config__.tag) for kind in get_args(e.Event))


class Course(msgspec.Struct):
    """What has to be remembered of a job that has not ended."""

    waiting_since: Micros | None
    started_at: Micros | None = None
    bytes_found: int = 0


class Spread(msgspec.Struct, frozen=True):
    """A distribution, put by."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    sum: float

    @classmethod
    def of(cls, distribution: Distribution) -> "Spread":
        return cls(distribution.bounds, distribution.counts, distribution.sum)


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """The sums, put by."""

    events: dict[str, int]
    ended: dict[str, int]
    errors: dict[str, int]
    deletions: dict[str, int]
    accepted: int
    attempts: int
    downloaded_bytes: int
    stored_bytes: int
    durations: Spread
    latencies: Spread
    recent: tuple[float, ...]


class Statistics:
    """Sums over all jobs of the log.

    A job that is retried and ends again is counted again, so that every number only grows, but for
    `stored_bytes`: what the files of completed jobs take that were not deleted.
    """

    def __init__(self) -> None:
        self.events: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.deletions: Counter[str] = Counter()
        self.accepted = 0
        self.attempts = 0
        self.downloaded_bytes = 0
        self.stored_bytes = 0
        self.durations = Distribution(DURATION_BOUNDS_SEC)
        self.latencies = Distribution(LATENCY_BOUNDS_SEC)
        self._recent: deque[float] = deque(maxlen=RECENT_MAX)
        self._courses: dict[str, Course] = {}
        self._stored: dict[str, int] = {}
        self._handlers: dict[type, Callable[[str, Any, Micros], None]] = {
            e.JobQueued: self._queued,
            e.JobStarted: self._started,
            e.JobFile: self._file,
            e.JobCompleted: self._completed,
            e.JobFailed: self._failed,
            e.JobCancelled: self._cancelled,
            e.JobRetrying: self._retrying,
            e.JobInterrupted: self._waits_again,
            e.JobResumed: self._waits_again,
            e.JobFilesDeleted: self._deleted,
        }

    def apply(self, facts: Sequence[Fact]) -> None:
        """Follow the log."""
        types = Counter([fact.record.type for fact in facts if fact.record.kind == "event"])
        for name, count in types.items():
            self.events[name if name in EVENT_TYPES else OTHER] += count
        for fact in facts:
            handler = self._handlers.get(type(fact.event))
            if handler is not None:
                handler(fact.record.stream, fact.event, fact.record.at)

    def put_by(self) -> tuple[Totals, Iterator[tuple[str, Course]], Iterator[tuple[str, int]]]:
        """What is known now: the sums, the jobs that have not ended, and what the others' files take."""
        totals = Totals(
            events=dict(self.events),
            ended=dict(self.ended),
            errors=dict(self.errors),
            deletions=dict(self.deletions),
            accepted=self.accepted,
            attempts=self.attempts,
            downloaded_bytes=self.downloaded_bytes,
            stored_bytes=self.stored_bytes,
            durations=Spread.of(self.durations),
            latencies=Spread.of(self.latencies),
            recent=tuple(self._recent),
        )
        courses = [(stream, copy(course)) for stream, course in self._courses.items()]
        return totals, iter(courses), iter(self._stored.copy().items())

    def fill(self, totals: Totals) -> None:
        """Take in the sums that were put by."""
        for mine, put_by in (
            (self.events, totals.events),
            (self.ended, totals.ended),
            (self.errors, totals.errors),
            (self.deletions, totals.deletions),
        ):
            mine.update(put_by)
        self.accepted += totals.accepted
        self.attempts += totals.attempts
        self.downloaded_bytes += totals.downloaded_bytes
        self.stored_bytes += totals.stored_bytes
        for spread, values in ((self.durations, totals.durations), (self.latencies, totals.latencies)):
            spread.add(values.bounds, values.counts, values.sum)
        self._recent.extend(totals.recent)

    def fill_courses(self, courses: Sequence[tuple[str, Course]]) -> None:
        """Take in the jobs that had not ended."""
        self._courses.update(courses)

    def fill_stored(self, stored: Sequence[tuple[str, int]]) -> None:
        """Take in what the files of the ended jobs take."""
        self._stored.update(stored)

    @property
    def success_rate(self) -> float | None:
        """The share of completed jobs among those that were not cancelled, None where none has ended."""
        judged = self.ended["completed"] + self.ended["failed"]
        return self.ended["completed"] / judged if judged else None

    @property
    def p95_latency_sec(self) -> float | None:
        """The time within which 95 of 100 of the newest starts came after their job could have started."""
        waits = sorted(self._recent)
        return waits[max(0, -(-95 * len(waits) // 100) - 1)] if waits else None

    def _queued(self, stream: str, _event: e.JobQueued, at: Micros) -> None:
        self.accepted += 1
        self._courses[stream] = Course(at)

    def _started(self, stream: str, _event: e.JobStarted, at: Micros) -> None:
        self.attempts += 1
        course = self._course(stream)
        if course.waiting_since is not None:
            waited = max(0, at - course.waiting_since) / SECOND
            self.latencies.observe(waited)
            self._recent.append(waited)
        course.waiting_since = None
        course.started_at = course.started_at or at
        course.bytes_found = 0

    def _file(self, stream: str, event: e.JobFile, _at: Micros) -> None:
        self._course(stream).bytes_found += event.file.size_bytes

    def _completed(self, stream: str, _event: e.JobCompleted, at: Micros) -> None:
        self.ended["completed"] += 1
        course = self._courses.pop(stream, Course(None))
        if course.started_at is not None:
            self.durations.observe(max(0, at - course.started_at) / SECOND)
        self.downloaded_bytes += course.bytes_found
        self.stored_bytes += course.bytes_found
        self._stored[stream] = course.bytes_found

    def _failed(self, stream: str, event: e.JobFailed, _at: Micros) -> None:
        self.ended["failed"] += 1
        self._count_error(event.error)
        self._courses.pop(stream, None)

    def _cancelled(self, stream: str, _event: e.JobCancelled, _at: Micros) -> None:
        self.ended["cancelled"] += 1
        self._courses.pop(stream, None)

    def _retrying(self, stream: str, event: e.JobRetrying, _at: Micros) -> None:
        if event.error is not None and not event.requested:
            self._count_error(event.error)
        self._course(stream).waiting_since = micros(event.retry_at)

    def _waits_again(self, stream: str, _event: e.JobInterrupted | e.JobResumed, at: Micros) -> None:
        self._course(stream).waiting_since = at

    def _deleted(self, stream: str, event: e.JobFilesDeleted, _at: Micros) -> None:
        self.deletions[event.reason] += 1
        self.stored_bytes -= self._stored.pop(stream, 0)

    def _course(self, stream: str) -> Course:
        return self._courses.setdefault(stream, Course(None))

    def _count_error(self, error: e.Fault) -> None:
        self.errors[error.code if error.code in RETRYABLE else OTHER] += 1
