"""How a batch becomes an answer. The field names are the wire contract's."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from umd.api import views
from umd.api.context import Context
from umd.clock import SECOND, Micros, rfc3339
from umd.domain.batch import FINAL, Batch, BatchState
from umd.domain.events import BatchItem, Fault
from umd.domain.job import ACTIVE, Job, State
from umd.domain.options import BatchKind
from umd.live import Live
from umd.projections.batches import BatchEntry, Batches
from umd.projections.jobs import Jobs

BatchStatus = Literal["queued", "running", "completed", "failed", "cancelled"]
ItemStatus = views.Status | Literal["skipped"]


class BatchJob(msgspec.Struct, frozen=True):
    """An item of a batch. Where it is skipped, `job_id` names the earlier download that has its files."""

    job_id: str
    url: str
    status: ItemStatus
    title: str | None
    progress: views.DownloadProgress
    file_info: views.FileInfo | None
    error: Fault | None
    created_at: str | None
    completed_at: str | None


class BatchSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A batch as lists show it: without its single jobs."""

    batch_id: str
    kind: BatchKind
    title: str | None
    status: BatchStatus
    total_jobs: int
    completed_jobs: int
    failed_jobs: int
    running_jobs: int
    queued_jobs: int
    cancelled_jobs: int
    skipped_jobs: int
    progress_percent: float | None
    created_at: str
    started_at: str | None
    completed_at: str | None
    duration_sec: float | None
    error: Fault | None


class BatchDownloadResponse(BatchSummary, frozen=True, kw_only=True):
    """A batch with each of its jobs. Until a list has been read to its end, `total_jobs` grows."""

    jobs: list[BatchJob]


class BatchList(msgspec.Struct, frozen=True):
    """Some batches, newest first; `next` is the cursor of those that follow."""

    items: list[BatchSummary]
    next: str | None


@dataclass(frozen=True)
class Known:
    """What a batch is shown from: what is known now, or was known at an earlier time, without its ticks."""

    batches: Batches
    jobs: Jobs
    at: Micros
    url: Callable[[Job], views.FileUrl]
    live: Live = field(default_factory=Live)


def known_now(context: Context, base_url: str) -> Known:
    """What is known now."""
    return Known(
        context.batches,
        context.jobs,
        context.clock.now(),
        lambda job: views.file_url(context, job, base_url),
        context.live,
    )


def show(entry: BatchEntry, known: Known) -> BatchDownloadResponse:
    """A batch with each of its jobs."""
    batch = entry.batch
    is_over = batch.state in FINAL
    jobs = [_job(one, known, is_over=is_over) for one in batch.items]
    summary = summarize(entry, known)
    return BatchDownloadResponse(
        **{name: getattr(summary, name) for name in BatchSummary.__struct_fields__}, jobs=jobs
    )


def summarize(entry: BatchEntry, known: Known) -> BatchSummary:
    """A batch without its jobs."""
    batch = entry.batch
    counts = known.batches.counts(batch.batch_id)
    without_job = len(batch.items) - batch.skipped - counts.total()
    is_over = batch.state in FINAL
    return BatchSummary(
        batch_id=batch.batch_id,
        kind=batch.order.kind,
        title=batch.title,
        status=status(batch),
        total_jobs=len(batch.items),
        completed_jobs=counts[State.COMPLETED],
        failed_jobs=counts[State.FAILED],
        running_jobs=counts[State.RUNNING] + counts[State.STOPPING],
        queued_jobs=counts[State.QUEUED] + counts[State.PAUSED] + (0 if is_over else without_job),
        cancelled_jobs=counts[State.CANCELLED] + (without_job if is_over else 0),
        skipped_jobs=batch.skipped,
        progress_percent=_percent(batch, known),
        created_at=rfc3339(batch.created_at),
        started_at=views.show_time(batch.started_at),
        completed_at=views.show_time(batch.ended_at),
        duration_sec=_duration(batch, known.at),
        error=batch.error,
    )


def show_accepted(batch: Batch) -> BatchDownloadResponse:
    """A batch as it was when it was accepted, so that a repeated request gets the same answer."""
    addresses = batch.items if batch.order.kind == "batch" else ()
    return BatchDownloadResponse(
        batch_id=batch.batch_id,
        kind=batch.order.kind,
        title=None,
        status="queued",
        total_jobs=len(addresses),
        completed_jobs=0,
        failed_jobs=0,
        running_jobs=0,
        queued_jobs=len(addresses),
        cancelled_jobs=0,
        skipped_jobs=0,
        progress_percent=0.0 if addresses else None,
        jobs=[_without_job(one, "queued") for one in addresses],
        created_at=rfc3339(batch.created_at),
        started_at=None,
        completed_at=None,
        duration_sec=None,
        error=None,
    )


def status(batch: Batch) -> BatchStatus:
    """What the wire calls the state."""
    match batch.state:
        case BatchState.COMPLETED:
            return "completed"
        case BatchState.FAILED:
            return "failed"
        case BatchState.CANCELLED:
            return "cancelled"
        case BatchState.EXPANDING | BatchState.RUNNING | BatchState.STOPPING:
            return "queued" if batch.started_at is None else "running"


def _job(one: BatchItem, known: Known, *, is_over: bool) -> BatchJob:
    entry = known.jobs.get(one.job_id)
    if entry is None:
        return _without_job(one, "cancelled" if is_over else "queued")
    job = entry.job
    tick = known.live.latest(job.job_id) if job.state in ACTIVE else None
    title = job.metadata.title if job.metadata is not None else one.item.title
    return BatchJob(
        job_id=one.job_id,
        url=one.item.url,
        status="skipped" if one.skipped else views.status(job),
        title=title,
        progress=views.show_progress(tick or job.progress),
        file_info=_main_file(job, known),
        error=job.error,
        created_at=rfc3339(job.created_at),
        completed_at=views.show_time(job.ended_at),
    )


def _main_file(job: Job, known: Known) -> views.FileInfo | None:
    if not job.files:
        return None
    main = job.files[0]
    return views.show_file(main, known.url(job)(main.path))


def _without_job(one: BatchItem, status: Literal["queued", "cancelled"]) -> BatchJob:
    """An item whose turn has not come; its job will have this id."""
    return BatchJob(
        one.job_id, one.item.url, status, one.item.title, views.NOTHING_YET, None, None, None, None
    )


def _percent(batch: Batch, known: Known) -> float | None:
    """Over all items that are known, those that have ended as a whole each."""
    if not batch.items:
        return 100.0 if batch.state is BatchState.COMPLETED else None
    counts = known.batches.counts(batch.batch_id)
    ended = counts[State.COMPLETED] + counts[State.FAILED] + counts[State.CANCELLED] + batch.skipped
    if batch.state in FINAL:
        ended = len(batch.items)
    parts = (
        _part(entry.job, known)
        for job_id in known.batches.unended(batch.batch_id)
        if (entry := known.jobs.get(job_id)) is not None
    )
    return round(min(100.0, (100.0 * ended + sum(parts)) / len(batch.items)), 1)


def _part(job: Job, known: Known) -> float:
    progress = known.live.latest(job.job_id) or job.progress
    return 0.0 if progress is None or progress.percent is None else progress.percent


def _duration(batch: Batch, now: Micros) -> float | None:
    if batch.started_at is None:
        return None
    return round(((now if batch.ended_at is None else batch.ended_at) - batch.started_at) / SECOND, 3)
