"""The metrics by name, and how Prometheus reads them.

Nothing is registered anywhere: a reading, taken when it is asked for, becomes text. Labels have closed
sets of values; no address, host or job ever is one.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Literal, NamedTuple

from prometheus_client import ProcessCollector, exposition
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector, CollectorRegistry

from umd.telemetry.distribution import Distribution

PLAIN = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS_TYPE = "application/openmetrics-text"
OPENMETRICS = f"{OPENMETRICS_TYPE}; version=1.0.0; charset=utf-8"

Value = float | Distribution
Sample = tuple[Sequence[str], Value]
Reading = Mapping[str, Iterable[Sample]]
"""For each metric of `FAMILIES` its samples: the values of its labels, and the value."""


class Family(NamedTuple):
    """A metric's kind, what it tells, and its labels."""

    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()


FAMILIES: Mapping[str, Family] = {
    "jobs_total": Family("counter", "Jobs that ended, by how they did; folded from the log.", ("status",)),
    "jobs_duration_seconds": Family("histogram", "From the first start to the end of completed jobs."),
    "bytes_uploaded_total": Family("counter", "Bytes that downloads brought into storage."),
    "jobs_in_flight": Family("gauge", "Jobs that run now."),
    "storage_bytes_used": Family("gauge", "Bytes of the stored files of completed jobs."),
    "umd_build_info": Family("gauge", "1, with the versions as labels.", ("version", "ytdlp_version")),
    "umd_start_time_seconds": Family("gauge", "When the service started, in seconds since 1970."),
    "umd_ready": Family("gauge", "1 while new work is taken."),
    "umd_jobs_accepted_total": Family("counter", "Jobs that were accepted."),
    "umd_job_attempts_total": Family("counter", "Attempts that were started."),
    "umd_job_errors_total": Family("counter", "Attempts that failed, by code.", ("code",)),
    "umd_queue_depth": Family("gauge", "Jobs that wait for a slot or a retry."),
    "umd_queue_limit": Family("gauge", "Jobs that may wait."),
    "umd_queue_latency_seconds": Family("histogram", "From when a job could start to when it did."),
    "umd_slots": Family("gauge", "Downloads that may run at once."),
    "umd_event_log_position": Family("gauge", "The last durable position."),
    "umd_event_log_floor": Family("gauge", "The last position whose row is pruned; 0 where none is."),
    "umd_event_log_snapshot_position": Family("gauge", "Where the newest snapshot stands."),
    "umd_event_log_bytes": Family("gauge", "Size of the event log's files.", ("file",)),
    "umd_event_log_events_total": Family("counter", "Events in the log, by type.", ("type",)),
    "umd_event_log_append_seconds": Family("histogram", "From an append's call to its durable answer."),
    "umd_storage_bytes_free": Family("gauge", "Bytes left on the volume."),
    "umd_storage_bytes_size": Family("gauge", "Size of the volume."),
    "umd_sse_subscribers": Family("gauge", "Event streams that are open."),
    "umd_sse_frames_total": Family("counter", "Frames written to all event streams."),
    "umd_sse_ticks_skipped_total": Family("counter", "Progress ticks that slow subscribers did not get."),
    "umd_sse_cut_total": Family("counter", "Subscribers that were cut off for being too slow."),
    "umd_worker_events_total": Family("counter", "What happened to worker processes.", ("event",)),
    "umd_worker_crashes_total": Family("counter", "Worker processes that were ended by a signal."),
    "umd_sandbox_level": Family("gauge", "1 for the level at which workers are shut off.", ("level",)),
    "umd_actor_restarts_total": Family("counter", "Actors that crashed and were restarted.", ("supervisor",)),
    "umd_http_request_duration_seconds": Family(
        "histogram", "Requests without event streams, by route template.", ("method", "route", "status")
    ),
    "umd_http_problems_total": Family("counter", "Problems that were answered, by code.", ("code",)),
    "umd_cleanup_deletions_total": Family(
        "counter", "Jobs whose files were deleted, by reason.", ("reason",)
    ),
    "umd_cleanup_overdue_seconds": Family("gauge", "How long the most overdue deletion has been due."),
    "umd_webhook_attempts_total": Family("counter", "Webhooks that were posted, by outcome.", ("outcome",)),
    "umd_webhook_attempt_seconds": Family("histogram", "From a webhook's post to its answer, or to none."),
    "umd_webhooks_pending": Family("gauge", "Webhooks that have yet to arrive, or to be given up."),
    "umd_webhooks_in_flight": Family("gauge", "Webhooks that are being posted."),
    "umd_probe_requests_total": Family(
        "counter", "Looks at a site before a download, by where the answer came from.", ("source",)
    ),
    "umd_probe_readings_total": Family("counter", "Times that a site was asked, by outcome.", ("outcome",)),
    "umd_probe_reading_seconds": Family("histogram", "From a question to all that the site says."),
    "umd_probes_in_flight": Family("gauge", "Sites that are being asked, or are to be."),
    "umd_event_loop_tasks": Family("gauge", "Tasks on the event loop."),
}


def content_type(accept: str) -> str:
    """OpenMetrics for who asks for it, else the plain text that everybody reads."""
    for wanted in accept.lower().split(","):
        media_type, *parameters = (part.strip() for part in wanted.split(";"))
        if media_type == OPENMETRICS_TYPE and not any(part in ("q=0", "q=0.0") for part in parameters):
            return OPENMETRICS
    return PLAIN


def expose(reading: Reading, accept: str = "") -> tuple[bytes, str]:
    """The text of a reading and of this process's resources, and its media type."""
    kind = content_type(accept)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Reader(reading))
    ProcessCollector(registry=registry)
    write = (
        partial(openmetrics.generate_latest, version="1.0.0")
        if kind == OPENMETRICS
        else exposition.generate_latest
    )
    return write(registry), kind


class _Reader(Collector):
    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    def collect(self) -> Iterator[Metric]:
        for name, samples in self._reading.items():
            yield _metric(name, FAMILIES[name], samples)

    def describe(self) -> Iterator[Metric]:
        """Names are unique by construction: they are the keys of one table."""
        return iter(())


def _metric(name: str, family: Family, samples: Iterable[Sample]) -> Metric:
    if family.kind == "histogram":
        histogram = HistogramMetricFamily(name, family.help, labels=family.labels)
        for labels, value in samples:
            assert isinstance(value, Distribution), name  # noqa: S101  # the reading's own promise
            buckets = [(_bound(bound), count) for bound, count in value.cumulative()]
            histogram.add_metric(labels, buckets, value.sum)
        return histogram
    kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    metric = kind(name, family.help, labels=family.labels)
    for labels, value in samples:
        assert not isinstance(value, Distribution), name  # noqa: S101
        metric.add_metric(labels, value)
    return metric


def _bound(bound: float) -> str:
    return "+Inf" if bound == float("inf") else str(float(bound))
