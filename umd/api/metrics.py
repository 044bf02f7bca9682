"""`GET /metrics`: a reading of everything that is counted, for Prometheus."""

import asyncio
from collections import Counter
from collections.abc import Iterable
from typing import get_args

from aiohttp import web

from umd import __version__
from umd.api.context import CONTEXT, Context
from umd.api.problems import CODES
from umd.api.sse import HUB, Hub
from umd.clock import SECOND
from umd.domain.events import DeletionReason
from umd.domain.faults import RETRYABLE
from umd.domain.job import ACTIVE
from umd.engine.sandbox import LEVELS
from umd.projections.statistics import EVENT_TYPES, OTHER
from umd.storage.volume import Space
from umd.telemetry.counts import Posting
from umd.telemetry.metrics import Reading, Sample, expose
from umd.telemetry.records import ReadingEnd, Source

ENDINGS = ("completed", "failed", "cancelled")


async def metrics(request: web.Request) -> web.Response:
    """The reading, in the form that is asked for."""
    context = request.app[CONTEXT]
    space = await asyncio.to_thread(context.volume.space)
    body, content_type = expose(
        reading(context, request.app[HUB], space), ",".join(request.headers.getall("Accept", ()))
    )
    headers = {"Content-Type": content_type, "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return web.Response(body=body, headers=headers)


def reading(context: Context, hub: Hub, space: Space) -> Reading:
    """Every metric as it is now. Names of closed sets are all there from the start, at 0."""
    totals, counts, vitals = context.statistics, context.counts, context.vitals()
    return {
        "jobs_total": _each(totals.ended, ENDINGS),
        "jobs_duration_seconds": [((), totals.durations)],
        "bytes_uploaded_total": _one(totals.downloaded_bytes),
        "jobs_in_flight": _one(context.jobs.count(*ACTIVE)),
        "storage_bytes_used": _one(totals.stored_bytes),
        "umd_build_info": [((__version__, vitals.ytdlp_version), 1)],
        "umd_start_time_seconds": _one(context.readiness.started_at / SECOND),
        "umd_ready": _one(context.readiness.phase == "ready"),
        "umd_jobs_accepted_total": _one(totals.accepted),
        "umd_job_attempts_total": _one(totals.attempts),
        "umd_job_errors_total": _each(totals.errors, (*RETRYABLE, OTHER)),
        "umd_queue_depth": _one(context.admission.waiting),
        "umd_queue_limit": _one(context.admission.queue_max),
        "umd_queue_latency_seconds": [((), totals.latencies)],
        "umd_slots": _one(context.settings.max_concurrent_downloads),
        "umd_event_log_position": _one(context.log.head),
        "umd_event_log_floor": _one(context.log.floor),
        "umd_event_log_snapshot_position": _one(vitals.snapshot_position),
        "umd_event_log_bytes": [((file,), size) for file, size in vitals.log_bytes.items()],
        "umd_event_log_events_total": _each(totals.events, (*sorted(EVENT_TYPES), OTHER)),
        "umd_event_log_append_seconds": [((), counts.appends)],
        "umd_storage_bytes_free": _one(space.free_bytes),
        "umd_storage_bytes_size": _one(space.size_bytes),
        "umd_sse_subscribers": _one(hub.subscribers),
        "umd_sse_frames_total": _one(hub.frames_sent),
        "umd_sse_ticks_skipped_total": _one(hub.ticks_skipped),
        "umd_sse_cut_total": _one(hub.cut),
        "umd_worker_events_total": _each(counts.workers, vitals.worker_events),
        "umd_worker_crashes_total": _one(counts.worker_crashes),
        "umd_sandbox_level": [((level,), level == vitals.sandbox_level) for level in LEVELS],
        "umd_actor_restarts_total": [((name,), count) for name, count in vitals.restarts.items()],
        "umd_http_request_duration_seconds": list(counts.requests.items()),
        "umd_http_problems_total": _each(counts.problems, sorted(CODES)),
        "umd_cleanup_deletions_total": _each(totals.deletions, get_args(DeletionReason)),
        "umd_cleanup_overdue_seconds": _one(vitals.cleanup_overdue_sec),
        "umd_webhook_attempts_total": _each(counts.webhooks, get_args(Posting)),
        "umd_webhook_attempt_seconds": [((), counts.webhook_posts)],
        "umd_webhooks_pending": _one(vitals.webhooks_pending),
        "umd_webhooks_in_flight": _one(vitals.webhooks_in_flight),
        "umd_probe_requests_total": _each(counts.probes_asked, get_args(Source)),
        "umd_probe_readings_total": _each(counts.probes_ended, get_args(ReadingEnd)),
        "umd_probe_reading_seconds": [((), counts.probe_readings)],
        "umd_probes_in_flight": _one(context.probes.under_way),
        "umd_event_loop_tasks": _one(len(asyncio.all_tasks())),
    }


def _one(value: float) -> list[Sample]:
    return [((), value)]


def _each(counter: Counter[str], names: Iterable[str]) -> list[Sample]:
    return [((name,), counter[name]) for name in names]
