"""The facts of a job's life, a batch's, the engine's and the volume's, as they stand in the event log.

Events are for ever: a new field has a default, no field changes its type or its meaning. What must
change becomes a new version of the type, lifted on reading by `umd.log.codec`. The wire shows these very
fields: an SSE message's `data:` is the stored event.
"""

from datetime import datetime
from typing import Annotated, Literal

import msgspec

from umd.domain.options import BatchOrder, DownloadRequest

Instant = Annotated[datetime, msgspec.Meta(tz=True)]
"""A time that the wire shows, as it stands in the event: RFC 3339."""

Phase = Literal["extracting", "downloading", "processing", "finished"]
FileKind = Literal[
    "media", "subtitle", "thumbnail", "info_json", "description", "comments", "chapter", "other"
]
LogLevel = Literal["debug", "info", "warning", "error"]
BatchStopReason = Literal["cancel", "error"]
StopIntent = Literal["cancel", "pause"]
DeletionReason = Literal["retention", "quota", "space", "request", "missing"]
"""`missing`: they were found to be gone, and not by the service's doing."""
SweepReason = Literal["orphaned"]

SWEPT_MAX = 100
"""So many files are told in one event."""


class Fault(msgspec.Struct, frozen=True):
    """Why an attempt failed: a stable code (`umd.domain.faults`), a sentence, and whether to try again.

    `hint` is what a person can do; `retry_after_sec` is what the site asked for.
    """

    code: str
    message: str
    retryable: bool
    hint: str = ""
    retry_after_sec: int | None = None


class Limits(msgspec.Struct, frozen=True):
    """A job's limits, with the server's defaults filled in when it was accepted, so that a replay agrees."""

    timeout_sec: int
    retries: int
    retry_base_sec: int
    retention_sec: int | None


class Progress(msgspec.Struct, frozen=True):
    """How far an attempt is. What is not known is None; speed is bytes a second, eta is seconds."""

    phase: Phase
    percent: float | None = None
    downloaded_bytes: int = 0
    total_bytes: int | None = None
    speed: float | None = None
    eta: float | None = None
    fragment_index: int | None = None
    fragment_count: int | None = None


class Chapter(msgspec.Struct, frozen=True):
    """A chapter of a video; times are seconds from its start."""

    title: str
    start_time: float
    end_time: float | None = None


class Metadata(msgspec.Struct, frozen=True):
    """What the site says of an item, trimmed and typed. `upload_date` is `YYYYMMDD`."""

    id: str
    title: str
    extractor: str
    webpage_url: str | None = None
    description: str | None = None
    uploader: str | None = None
    uploader_id: str | None = None
    channel: str | None = None
    channel_id: str | None = None
    upload_date: str | None = None
    duration: float | None = None
    view_count: int | None = None
    like_count: int | None = None
    comment_count: int | None = None
    width: int | None = None
    height: int | None = None
    fps: float | None = None
    vcodec: str | None = None
    acodec: str | None = None
    thumbnail: str | None = None
    playlist: str | None = None
    playlist_index: int | None = None
    categories: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    chapters: tuple[Chapter, ...] = ()
    is_live: bool = False
    age_limit: int | None = None


class LogLine(msgspec.Struct, frozen=True):
    """One line that an attempt had to say."""

    at: Instant
    level: LogLevel
    message: str


class File(msgspec.Struct, frozen=True, gc=False):
    """A file of the result. `path` is relative to the storage root; `format` is its extension."""

    path: str
    size_bytes: int
    sha256: str
    mime_type: str
    format: str
    kind: FileKind


class Membership(msgspec.Struct, frozen=True):
    """What a job is in its batch: what the listing says and the item's own page does not."""

    playlist: str | None = None
    playlist_index: int | None = None
    uploader: str | None = None


class ListedItem(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """An item as a list tells of it; what the list does not tell is None. `index` is its place, from 1."""

    url: str
    index: int
    id: str | None = None
    title: str | None = None
    extractor: str | None = None
    duration: float | None = None
    upload_date: str | None = None
    view_count: int | None = None
    uploader: str | None = None
    thumbnail: str | None = None


class BatchItem(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """An item of a batch and its job: its own, or where it is skipped the earlier one that has it already."""

    job_id: str
    item: ListedItem
    skipped: bool = False


class Tally(msgspec.Struct, frozen=True):
    """How the items of a batch ended."""

    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    skipped: int = 0


class JobEvent(msgspec.Struct, frozen=True, tag_field="type"):
    """Anything that can happen to a job."""


class JobQueued(JobEvent, frozen=True, tag="job.queued"):
    """A download was accepted."""

    job_id: str
    request: DownloadRequest
    limits: Limits
    owner: str
    batch_id: str | None = None
    body_hash: str | None = None
    member: Membership | None = None


class JobStarted(JobEvent, frozen=True, tag="job.started"):
    """Attempt number `attempt` began, with this release of yt-dlp."""

    attempt: int
    ytdlp_version: str


class JobMetadata(JobEvent, frozen=True, tag="job.metadata"):
    """The site told what the item is."""

    attempt: int
    metadata: Metadata


class JobPhase(JobEvent, frozen=True, tag="job.phase"):
    """The attempt entered another phase; `step` names a postprocessor."""

    attempt: int
    progress: Progress
    step: str | None = None


class JobLog(JobEvent, frozen=True, tag="job.log"):
    """Some log lines, in the order in which they were said. `dropped` counts what the limit cut off."""

    attempt: int
    lines: tuple[LogLine, ...]
    dropped: int = 0


class JobFile(JobEvent, frozen=True, tag="job.file"):
    """A file of the result lies in its place."""

    attempt: int
    file: File


class JobCompleted(JobEvent, frozen=True, tag="job.completed"):
    """The result is whole. `delete_at` is when its files go, None where they stay."""

    attempt: int
    progress: Progress
    delete_at: Instant | None


class JobFailed(JobEvent, frozen=True, tag="job.failed"):
    """The job is given up."""

    attempt: int
    error: Fault
    progress: Progress | None = None


class JobRetrying(JobEvent, frozen=True, tag="job.retrying"):
    """The job goes back to the queue and may start at `retry_at`: by itself, or because a client asked."""

    attempt: int
    retry_at: Instant
    error: Fault | None = None
    requested: bool = False
    progress: Progress | None = None


class JobInterrupted(JobEvent, frozen=True, tag="job.interrupted"):
    """The service's own end cut the attempt short. It goes on from the queue and uses up no retry."""

    attempt: int
    reason: str


class JobStopping(JobEvent, frozen=True, tag="job.stopping"):
    """A cancel or a pause was accepted while an attempt ran; its processes are being ended."""

    intent: StopIntent


class JobCancelled(JobEvent, frozen=True, tag="job.cancelled"):
    """The job was cancelled and none of its processes is left."""

    progress: Progress | None = None


class JobPaused(JobEvent, frozen=True, tag="job.paused"):
    """The job rests, its partial files are kept."""

    progress: Progress | None = None


class JobResumed(JobEvent, frozen=True, tag="job.resumed"):
    """A paused job is back in the queue."""


class JobDeletionScheduled(JobEvent, frozen=True, tag="job.deletion_scheduled"):
    """The files go at another time than was said when they were complete; None: they stay."""

    delete_at: Instant | None


class JobFilesDeleted(JobEvent, frozen=True, tag="job.files_deleted"):
    """The files of a completed job are gone."""

    reason: DeletionReason


class JobFilesMissing(JobEvent, frozen=True, tag="job.files_missing"):
    """Files of a completed job are no longer on the volume, and it was not the service that deleted them."""

    paths: tuple[str, ...]


class DeliveryEvent(msgspec.Struct, frozen=True, tag_field="type"):
    """Anything that can happen to a webhook: in the stream of the job, or of the batch, that it tells of."""


class WebhookDelivered(DeliveryEvent, frozen=True, tag="webhook.delivered"):
    """Attempt number `attempt` at the stream's delivery number `delivery` was answered with 2xx."""

    delivery: int
    attempt: int
    status: int
    duration_ms: int


class WebhookFailed(DeliveryEvent, frozen=True, tag="webhook.failed"):
    """An attempt failed. `retry_at` is null after the last; `gone`: the receiver wants no more."""

    delivery: int
    attempt: int
    reason: str
    duration_ms: int
    status: int | None = None
    retry_at: Instant | None = None
    gone: bool = False


class WebhookRequeued(DeliveryEvent, frozen=True, tag="webhook.requeued"):
    """A delivery is to be made again, because a client asked."""

    delivery: int


WebhookEvents = WebhookDelivered | WebhookFailed | WebhookRequeued

AnyJobEvent = (
    JobQueued
    | JobStarted
    | JobMetadata
    | JobPhase
    | JobLog
    | JobFile
    | JobCompleted
    | JobFailed
    | JobRetrying
    | JobInterrupted
    | JobStopping
    | JobCancelled
    | JobPaused
    | JobResumed
    | JobDeletionScheduled
    | JobFilesDeleted
    | WebhookDelivered
    | WebhookFailed
    | WebhookRequeued
    | JobFilesMissing
)


class BatchEvent(msgspec.Struct, frozen=True, tag_field="type"):
    """Anything that can happen to a batch."""


class BatchQueued(BatchEvent, frozen=True, tag="batch.queued"):
    """A batch was accepted; nobody has been asked for anything yet."""

    batch_id: str
    order: BatchOrder
    limits: Limits
    owner: str
    body_hash: str | None = None


class BatchStarted(BatchEvent, frozen=True, tag="batch.started"):
    """Work on it began."""


class BatchListed(BatchEvent, frozen=True, tag="batch.listed"):
    """Some more of its items; `title` is the list's."""

    items: tuple[BatchItem, ...]
    title: str | None = None


class BatchExpanded(BatchEvent, frozen=True, tag="batch.expanded"):
    """All its items are known, or `error` says why no more will be. `left_out` had no usable address."""

    error: Fault | None = None
    left_out: int = 0


class BatchStopping(BatchEvent, frozen=True, tag="batch.stopping"):
    """A cancel was accepted, or an item failed that stops all: what has not ended is being cancelled."""

    reason: BatchStopReason


class BatchCompleted(BatchEvent, frozen=True, tag="batch.completed"):
    """Every item has come to its end."""

    tally: Tally


class BatchFailed(BatchEvent, frozen=True, tag="batch.failed"):
    """Every item has come to its end, and the whole counts as failed."""

    error: Fault
    tally: Tally


class BatchCancelled(BatchEvent, frozen=True, tag="batch.cancelled"):
    """The batch was cancelled, and none of its downloads is under way any more."""

    tally: Tally


class BatchRetrying(BatchEvent, frozen=True, tag="batch.retrying"):
    """What failed or was cancelled is tried again, because a client asked."""


AnyBatchEvent = (
    BatchQueued
    | BatchStarted
    | BatchListed
    | BatchExpanded
    | BatchStopping
    | BatchCompleted
    | BatchFailed
    | BatchCancelled
    | BatchRetrying
    | WebhookDelivered
    | WebhookFailed
    | WebhookRequeued
)


class EngineEvent(msgspec.Struct, frozen=True, tag_field="type"):
    """Anything that can happen to the release of yt-dlp that is in use."""


class EngineUpdated(EngineEvent, frozen=True, tag="engine.updated"):
    """New attempts run on release `version` from now on; it has passed its self-test.

    `previous` ran before. `own` is the release that came with the umd of that time.
    """

    version: str
    previous: str
    own: str


class EngineUpdateFailed(EngineEvent, frozen=True, tag="engine.update_failed"):
    """A release was not taken, and nothing has changed. No `version`: none could be had."""

    reason: str
    version: str | None = None


class EngineRolledBack(EngineEvent, frozen=True, tag="engine.rolled_back"):
    """Release `failed` was given up: new attempts run on `version`.

    `faults` of the `judged` downloads that ended on it failed in a way that a release is to blame for; both
    are 0 where it did not start.
    """

    version: str
    failed: str
    reason: str
    judged: int = 0
    faults: int = 0


AnyEngineEvent = EngineUpdated | EngineUpdateFailed | EngineRolledBack


class SweptFile(msgspec.Struct, frozen=True):
    """A file that no job knew. In `path`, a byte that is not UTF-8 is written as hex behind a backslash."""

    path: str
    size_bytes: int


SweptFiles = Annotated[tuple[SweptFile, ...], msgspec.Meta(max_length=SWEPT_MAX)]


class FilesSwept(msgspec.Struct, frozen=True, tag_field="type", tag="storage.files_swept"):
    """Files of no job were deleted. `orphaned`: no job knew them for as long as the grace."""

    files: SweptFiles
    reason: SweepReason = "orphaned"


Event = AnyJobEvent | AnyBatchEvent | AnyEngineEvent | FilesSwept
"""Every event of this release."""
