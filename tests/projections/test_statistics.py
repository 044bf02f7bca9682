"""The totals, given the rows of the log."""

from itertools import count

import pytest

from tests.domain.builders import DONE, LIMITS, QUEUED
from umd.clock import SECOND, Micros, instant
from umd.domain import events as e
from umd.log import Fact, Record, Unknown
from umd.projections.statistics import Statistics

FAULT = e.Fault("network", "Broken.", True)
FILE = e.File("videos/a.mp4", 100, "0", "video/mp4", "mp4", "media")
START: Micros = 1_700_000_000 * SECOND


class Story:
    """Events one after the other, told to a projection."""

    def __init__(self) -> None:
        self.statistics = Statistics()
        self._positions = count(1)

    def tell(self, at_sec: float, event: e.Event | Unknown, job: str = "a") -> "Story":
        kind = event.type if isinstance(event, Unknown) else str(event.__struct_config__.tag)
        at = START + round(at_sec * SECOND)
        record = Record(next(self._positions), f"job-{job}", 1, "event", kind, 1, at, "", None, b"", b"")
        self.statistics.apply([Fact(record, event)])
        return self

    def queued(self, at_sec: float, job: str = "a") -> "Story":
        return self.tell(at_sec, e.JobQueued(job, QUEUED.request, LIMITS, "anonymous"), job)

    def started(self, at_sec: float, attempt: int = 1, job: str = "a") -> "Story":
        return self.tell(at_sec, e.JobStarted(attempt, "2026.10.26"), job)

    def completed(self, at_sec: float, attempt: int = 1, job: str = "a") -> "Story":
        self.tell(at_sec, e.JobFile(attempt, FILE), job)
        return self.tell(at_sec, e.JobCompleted(attempt, DONE, None), job)


def test_a_completed_job_counts_its_bytes_its_time_and_its_wait() -> None:
    statistics = Story().queued(0).started(2).completed(12).statistics

    assert (statistics.accepted, statistics.attempts, statistics.ended["completed"]) == (1, 1, 1)
    assert (statistics.downloaded_bytes, statistics.stored_bytes) == (100, 100)
    assert (statistics.durations.mean, statistics.latencies.mean) == (10.0, 2.0)
    assert (statistics.success_rate, statistics.p95_latency_sec) == (1.0, 2.0)
    assert statistics.events.total() == 4


def test_deleted_files_take_no_space_and_stay_downloaded() -> None:
    statistics = Story().queued(0).started(0).completed(1).tell(9, e.JobFilesDeleted("retention")).statistics

    assert (statistics.downloaded_bytes, statistics.stored_bytes) == (100, 0)
    assert statistics.deletions["retention"] == 1


def test_the_wait_for_a_retry_is_no_latency_and_its_fault_is_counted() -> None:
    retry = e.JobRetrying(1, instant(START + 30 * SECOND), FAULT)

    statistics = Story().queued(0).started(0).tell(1, retry).started(31, 2).completed(40, 2).statistics

    assert statistics.latencies.sum == 1.0
    assert statistics.durations.mean == 40.0
    assert statistics.errors == {"network": 1}
    assert statistics.success_rate == 1.0


def test_an_attempt_that_was_cut_short_waits_anew_and_its_files_do_not_count_twice() -> None:
    story = Story().queued(0).started(0).tell(3, e.JobFile(1, FILE))

    statistics = story.tell(5, e.JobInterrupted(1, "stop")).started(6, 2).completed(8, 2).statistics

    assert statistics.latencies.sum == 1.0
    assert statistics.downloaded_bytes == 100


def test_failed_and_cancelled_jobs_are_told_apart() -> None:
    story = Story().queued(0).started(0).tell(1, e.JobFailed(1, FAULT))
    story.queued(0, "b").tell(1, e.JobCancelled(), "b")

    statistics = story.queued(0, "c").started(0, job="c").completed(1, job="c").statistics

    assert statistics.ended == {"failed": 1, "cancelled": 1, "completed": 1}
    assert statistics.success_rate == 0.5
    assert statistics.durations.count == 1


def test_names_of_a_newer_release_do_not_widen_the_set() -> None:
    story = Story().queued(0).tell(1, Unknown("job.sung", b"{}"))

    statistics = story.tell(2, e.JobFailed(1, e.Fault("sung_badly", "?", False))).statistics

    assert statistics.events["other"] == 1
    assert statistics.errors == {"other": 1}


def test_nothing_known_has_no_rates() -> None:
    statistics = Statistics()

    assert (statistics.success_rate, statistics.p95_latency_sec, statistics.durations.mean) == (None,) * 3


@pytest.mark.parametrize(("waits", "p95"), [(1, 0), (20, 18), (100, 94), (2_000, 1_949)])
def test_the_percentile_is_of_the_newest_starts(waits: int, p95: int) -> None:
    story = Story()
    for wait in range(waits):
        story.queued(0, str(wait)).started(wait, job=str(wait))

    assert story.statistics.p95_latency_sec == p95
