"""The answers' types, and how a job becomes one. The field names are the wire contract's."""

from collections.abc import Callable
from typing import Literal

import msgspec

from umd.actors.admission import WaitingFor
from umd.api import links
from umd.api.context import Context
from umd.clock import SECOND, Micros, rfc3339
from umd.domain import deliveries, redaction
from umd.domain.events import Fault, File, FileKind, LogLevel, Metadata, Phase, Progress
from umd.domain.job import ACTIVE, Job, State
from umd.projections.jobs import Entry, Jobs

Status = Literal["queued", "running", "paused", "completed", "failed", "cancelled"]

_STATUS: dict[State, Status] = {
    State.QUEUED: "queued",
    State.RUNNING: "running",
    State.STOPPING: "running",
    State.PAUSED: "paused",
    State.COMPLETED: "completed",
    State.FAILED: "failed",
    State.CANCELLED: "cancelled",
}


class DownloadProgress(msgspec.Struct, frozen=True):
    """How far a job is; `phase` is null until its first attempt begins."""

    percent: float | None
    downloaded_bytes: int
    total_bytes: int | None
    speed: float | None
    eta: float | None
    phase: Phase | None
    fragment_index: int | None
    fragment_count: int | None


class FileInfo(msgspec.Struct, frozen=True):
    """A file of the result; `file_path` is relative to the storage root."""

    filename: str
    file_path: str
    file_url: str
    size_bytes: int
    format: str
    mime_type: str
    sha256: str
    kind: FileKind


class DownloadResponse(msgspec.Struct, frozen=True, kw_only=True):
    """A job. Its id is `request_id`."""

    request_id: str
    url: str
    status: Status
    waiting_for: WaitingFor | None
    retry_at: str | None
    progress: DownloadProgress
    file_info: FileInfo | None
    files: list[FileInfo]
    metadata: Metadata | None
    error: Fault | None
    priority: int
    attempt: int
    batch_id: str | None
    created_at: str
    started_at: str | None
    completed_at: str | None
    duration_sec: float | None
    delete_at: str | None
    files_deleted_at: str | None
    logs_url: str
    events_url: str
    webhook_sent: bool


class DownloadList(msgspec.Struct, frozen=True):
    """Some jobs, newest first; `next` is the cursor of those that follow."""

    items: list[DownloadResponse]
    next: str | None


class LogEntry(msgspec.Struct, frozen=True):
    """A line of a job's log; lines that were stored together share a position."""

    timestamp: str
    level: LogLevel
    message: str
    position: int


class LogsResponse(msgspec.Struct, frozen=True):
    """Lines of a job's log. `truncated` says that there are more, or that the job said more than is kept."""

    request_id: str
    logs: list[LogEntry]
    total_lines: int
    truncated: bool


class CancelResponse(msgspec.Struct, frozen=True):
    """What a cancel came to; `running` means that its processes are still being ended."""

    request_id: str
    status: Status
    cancelled_jobs: int
    message: str
    timestamp: str


FileUrl = Callable[[str], str]
"""The URL of a file, by its path."""


def show(entry: Entry, context: Context, base_url: str) -> DownloadResponse:
    """A job as it is now. In a final state, only what the log holds goes into it."""
    job = entry.job
    tick = context.live.latest(job.job_id) if job.state in ACTIVE else None
    waiting_for = context.admission.waiting_for(entry)
    now = context.clock.now()
    url = file_url(context, job, base_url)
    return response_of(job, tick or job.progress, waiting_for, now, base_url, url)


def show_accepted(job: Job, context: Context, base_url: str) -> DownloadResponse:
    """A job as it was when it was accepted, so that a repeated request gets the same answer."""
    accepted = Job(
        job_id=job.job_id,
        state=State.QUEUED,
        request=job.request,
        limits=job.limits,
        owner=job.owner,
        created_at=job.created_at,
        batch_id=job.batch_id,
        body_hash=job.body_hash,
    )
    now = context.clock.now()
    return response_of(accepted, None, "slot", now, base_url, file_url(context, job, base_url))


def show_past(job: Job, at: Micros, base_url: str, url: FileUrl) -> DownloadResponse:
    """A job as the log knew it at an earlier time; a job in a final state reads as it does now."""
    waiting_for: WaitingFor | None = None
    if job.state is State.QUEUED:
        waiting_for = "retry" if job.retry_at is not None and job.retry_at > at else "slot"
    return response_of(job, job.progress, waiting_for, at, base_url, url)


def file_url(context: Context, job: Job, base_url: str) -> FileUrl:
    """How a client is told of a job's file: by a link that opens it, until it expires."""
    now = context.clock.now()
    return lambda path: context.gate.links.url(base_url, path, job.job_id, now)


def encode_download(entry: Entry, context: Context, base_url: str) -> bytes:
    """The JSON of a job as its GET answers it."""
    return msgspec.json.encode(show(entry, context, base_url))


def status(job: Job) -> Status:
    return _STATUS[job.state]


def count_by_status(jobs: Jobs) -> dict[Status, int]:
    """How many jobs have each status now."""
    counts: dict[Status, int] = dict.fromkeys(_STATUS.values(), 0)
    for state, name in _STATUS.items():
        counts[name] += jobs.count(state)
    return counts


def states(wanted: tuple[Status, ...]) -> frozenset[State] | None:
    """The states that the wire calls by these names; None, for all, where it names none."""
    return frozenset(state for state, name in _STATUS.items() if name in wanted) if wanted else None


def response_of(
    job: Job,
    progress: Progress | None,
    waiting_for: WaitingFor | None,
    now: Micros,
    base_url: str,
    url: FileUrl,
) -> DownloadResponse:
    files = [show_file(file, url(file.path)) for file in job.files]
    return DownloadResponse(
        request_id=job.job_id,
        url=redaction.shown_url(job.request.url),
        status=_STATUS[job.state],
        waiting_for=waiting_for,
        retry_at=show_time(job.retry_at if job.state is State.QUEUED else None),
        progress=show_progress(progress),
        file_info=files[0] if files else None,
        files=files,
        metadata=_metadata(job.metadata),
        error=job.error,
        priority=job.request.priority,
        attempt=job.attempt,
        batch_id=job.batch_id,
        created_at=rfc3339(job.created_at),
        started_at=show_time(job.started_at),
        completed_at=show_time(job.ended_at),
        duration_sec=_duration(job, now),
        delete_at=show_time(job.delete_at),
        files_deleted_at=show_time(job.files_deleted_at),
        logs_url=links.logs(base_url, job.job_id),
        events_url=links.events(base_url, job.job_id),
        webhook_sent=deliveries.all_sent(job.deliveries),
    )


NOTHING_YET = DownloadProgress(None, 0, None, None, None, None, None, None)


def show_progress(progress: Progress | None) -> DownloadProgress:
    if progress is None:
        return NOTHING_YET
    return DownloadProgress(
        progress.percent,
        progress.downloaded_bytes,
        progress.total_bytes,
        progress.speed,
        progress.eta,
        progress.phase,
        progress.fragment_index,
        progress.fragment_count,
    )


def show_file(file: File, url: str) -> FileInfo:
    return FileInfo(
        filename=file.path.rpartition("/")[2],
        file_path=file.path,
        file_url=url,
        size_bytes=file.size_bytes,
        format=file.format,
        mime_type=file.mime_type,
        sha256=file.sha256,
        kind=file.kind,
    )


def _metadata(metadata: Metadata | None) -> Metadata | None:
    if metadata is None or metadata.webpage_url is None:
        return metadata
    return msgspec.structs.replace(metadata, webpage_url=redaction.shown_url(metadata.webpage_url))


def _duration(job: Job, now: Micros) -> float | None:
    if job.started_at is None:
        return None
    end = now if job.ended_at is None else job.ended_at
    return round((end - job.started_at) / SECOND, 3)


def show_time(at: Micros | None) -> str | None:
    return None if at is None else rfc3339(at)
