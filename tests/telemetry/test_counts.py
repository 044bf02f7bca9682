"""What is counted, and that no client can make the counting grow."""

from tests.api.world import HandClock
from umd.clock import SECOND
from umd.telemetry.counts import Counts
from umd.telemetry.records import (
    Answered,
    Committed,
    ProbeAsked,
    ProbeEnded,
    WebhookPosted,
    WorkerEvent,
)


def test_requests_are_counted_by_closed_sets_of_names() -> None:
    counts = Counts(HandClock())

    for method in ("GET", "GET", "BREW", "PROPFIND"):
        counts.note(Answered(method, "/a/{id}", 404, 0.01, "job_not_found"))

    assert {key: spread.count for key, spread in counts.requests.items()} == {
        ("GET", "/a/{id}", "4xx"): 2,
        ("other", "/a/{id}", "4xx"): 2,
    }
    assert counts.problems == {"job_not_found": 4}


def test_how_long_a_stream_was_open_is_no_response_time() -> None:
    counts = Counts(HandClock())

    counts.note(Answered("GET", "/events", 200, 840.0, stream=True))

    assert not counts.requests
    assert counts.requests_per_minute == 1


def test_the_last_minute_forgets_what_is_older() -> None:
    clock = HandClock()
    counts = Counts(clock)
    for _ in range(200):
        counts.note(Answered("GET", "/a", 200, 0.01))
        clock.at += SECOND

    assert counts.requests_per_minute == 59
    clock.at += 30 * SECOND
    assert counts.requests_per_minute == 29
    clock.at += 3_600 * SECOND
    assert counts.requests_per_minute == 0


def test_appends_and_workers_are_counted() -> None:
    counts = Counts(HandClock())

    counts.note(Committed(5, (0.25, 0.75)))
    counts.note(WorkerEvent("child_started"))
    counts.note(WorkerEvent("child_ended", crashed=True))

    assert (counts.appends.count, counts.appends.sum) == (2, 1.0)
    assert counts.workers == {"child_started": 1, "child_ended": 1}
    assert counts.worker_crashes == 1


def test_webhooks_and_probes_are_counted_by_what_came_of_them() -> None:
    counts = Counts(HandClock())

    for status in (200, 204, 302, 500, 410, None):
        counts.note(WebhookPosted(status, 0.5))
    counts.note(ProbeAsked("site"))
    counts.note(ProbeAsked("kept"))
    counts.note(ProbeEnded("timeout", 30.0))

    assert counts.webhooks == {"delivered": 2, "refused": 2, "gone": 1, "unanswered": 1}
    assert (counts.webhook_posts.count, counts.webhook_posts.sum) == (6, 3.0)
    assert counts.probes_asked == {"site": 1, "kept": 1}
    assert (counts.probes_ended, counts.probe_readings.sum) == ({"timeout": 1}, 30.0)
