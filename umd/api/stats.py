"""`GET /stats`: the service's numbers, from the projections and so true after a restart."""

import asyncio
import platform

import msgspec
from aiohttp import web

from umd.api import answers, views
from umd.api.context import CONTEXT
from umd.api.decoding import NoQuery, read_query
from umd.clock import SECOND, rfc3339
from umd.domain.job import ACTIVE


class StatsResponse(msgspec.Struct, frozen=True, kw_only=True):
    """All downloads that the log knows, whosever they are: any key may read totals, that name nobody.

    Rates and averages are null where there is nothing to judge by.

    `jobs` counts them by status as they are now; `success_rate` is the share of completed among those that
    completed or failed; `p95_queue_latency` looks at the newest 1,000 starts; `storage_quota_bytes` is 0
    for none. `requests_per_minute` counts the last minute of this process.
    """

    jobs: dict[views.Status, int]
    success_rate: float | None
    average_download_time: float | None
    p95_queue_latency: float | None
    queue_depth: int
    active_downloads: int
    total_bytes_downloaded: int
    storage_used_bytes: int
    storage_available_bytes: int
    storage_quota_bytes: int
    events_total: int
    last_position: int
    errors_by_code: dict[str, int]
    requests_per_minute: int
    uptime_seconds: float
    ytdlp_version: str
    python_version: str
    timestamp: str


async def stats(request: web.Request) -> web.Response:
    """Everything at a glance."""
    context = request.app[CONTEXT]
    read_query(request, NoQuery)
    totals = context.statistics
    space = await asyncio.to_thread(context.volume.space)
    now = context.clock.now()
    body = StatsResponse(
        jobs=views.count_by_status(context.jobs),
        success_rate=_rounded(totals.success_rate),
        average_download_time=_rounded(totals.durations.mean),
        p95_queue_latency=_rounded(totals.p95_latency_sec),
        queue_depth=context.admission.waiting,
        active_downloads=context.jobs.count(*ACTIVE),
        total_bytes_downloaded=totals.downloaded_bytes,
        storage_used_bytes=totals.stored_bytes,
        storage_available_bytes=space.free_bytes,
        storage_quota_bytes=context.settings.storage_quota_bytes,
        events_total=totals.events.total(),
        last_position=context.log.head,
        errors_by_code=dict(sorted(totals.errors.items())),
        requests_per_minute=context.counts.requests_per_minute,
        uptime_seconds=max(0.0, round((now - context.readiness.started_at) / SECOND, 3)),
        ytdlp_version=context.vitals().ytdlp_version,
        python_version=platform.python_version(),
        timestamp=rfc3339(now),
    )
    return answers.answer(body)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
