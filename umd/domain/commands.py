"""What can be asked of a job, a batch, the engine or the volume: intents, which `umd.domain` decides."""

import msgspec

from umd.domain.events import (
    BatchItem,
    DeletionReason,
    Fault,
    File,
    Instant,
    Limits,
    LogLine,
    Membership,
    Metadata,
    Progress,
    SweptFiles,
    Tally,
)
from umd.domain.options import BatchOrder, DownloadRequest


class JobCommand(msgspec.Struct, frozen=True, tag_field="type"):
    """Anything that can be asked of one job."""

    job_id: str


class SubmitDownload(JobCommand, frozen=True, kw_only=True, tag="SubmitDownload"):
    """Accept a download. `body_hash` is set where the client sent an `Idempotency-Key`."""

    request: DownloadRequest
    limits: Limits
    owner: str
    batch_id: str | None = None
    body_hash: str | None = None
    member: Membership | None = None


class StartAttempt(JobCommand, frozen=True, tag="StartAttempt"):
    """Begin the next attempt."""

    ytdlp_version: str


class Report(JobCommand, frozen=True):
    """Anything that an attempt has to report; only the current attempt is heard."""

    attempt: int


class RecordMetadata(Report, frozen=True, tag="RecordMetadata"):
    """Keep what the site said of the item."""

    metadata: Metadata


class EnterPhase(Report, frozen=True, tag="EnterPhase"):
    """Note that the attempt came into another phase."""

    progress: Progress
    step: str | None = None


class RecordLog(Report, frozen=True, tag="RecordLog"):
    """Keep some of the attempt's log lines."""

    lines: tuple[LogLine, ...]
    dropped: int = 0


class CompleteAttempt(Report, frozen=True, tag="CompleteAttempt"):
    """The attempt ended well, and its files lie in their places.

    `live_ended` tells that a pause ended a live recording: there is nothing to go on with, and what was
    recorded is the result.
    """

    files: tuple[File, ...]
    progress: Progress
    live_ended: bool = False


class FailAttempt(Report, frozen=True, tag="FailAttempt"):
    """The attempt ended with a fault."""

    error: Fault
    progress: Progress | None = None


class InterruptAttempt(Report, frozen=True, tag="InterruptAttempt"):
    """The attempt was cut short by the service's own end."""

    reason: str


class CancelDownload(JobCommand, frozen=True, tag="CancelDownload"):
    """End the job and throw away what it has."""


class PauseDownload(JobCommand, frozen=True, tag="PauseDownload"):
    """Let the job rest and keep its partial files."""


class ResumeDownload(JobCommand, frozen=True, tag="ResumeDownload"):
    """Put a paused job back into the queue."""


class RetryDownload(JobCommand, frozen=True, tag="RetryDownload"):
    """Put a failed or cancelled job back into the queue."""


class ConfirmStopped(Report, frozen=True, tag="ConfirmStopped"):
    """No process of the attempt is left: the cancel or the pause is done."""

    progress: Progress | None = None


class ScheduleDeletion(JobCommand, frozen=True, tag="ScheduleDeletion"):
    """Let the job's files go at another time; None keeps them."""

    delete_at: Instant | None


class RecordFilesDeleted(JobCommand, frozen=True, tag="RecordFilesDeleted"):
    """The job's files were deleted."""

    reason: DeletionReason


class RecordFilesMissing(JobCommand, frozen=True, tag="RecordFilesMissing"):
    """Some of the job's files were found to be gone."""

    paths: tuple[str, ...]


class RecordDelivered(JobCommand, frozen=True, tag="RecordDelivered"):
    """A webhook was answered with 2xx."""

    delivery: int
    attempt: int
    status: int
    duration_ms: int


class RecordDeliveryFailed(JobCommand, frozen=True, tag="RecordDeliveryFailed"):
    """A webhook was not delivered. No `retry_at`: that was the last attempt; `gone`: of all others, too."""

    delivery: int
    attempt: int
    reason: str
    duration_ms: int
    status: int | None = None
    retry_at: Instant | None = None
    gone: bool = False


class RequeueDelivery(JobCommand, frozen=True, tag="RequeueDelivery"):
    """Deliver a webhook again, whatever came of it."""

    delivery: int


AnyJobCommand = (
    SubmitDownload
    | StartAttempt
    | RecordMetadata
    | EnterPhase
    | RecordLog
    | CompleteAttempt
    | FailAttempt
    | InterruptAttempt
    | CancelDownload
    | PauseDownload
    | ResumeDownload
    | RetryDownload
    | ConfirmStopped
    | ScheduleDeletion
    | RecordFilesDeleted
    | RecordDelivered
    | RecordDeliveryFailed
    | RequeueDelivery
    | RecordFilesMissing
)


class BatchCommand(msgspec.Struct, frozen=True, tag_field="type"):
    """Anything that can be asked of one batch."""

    batch_id: str


class SubmitBatch(BatchCommand, frozen=True, kw_only=True, tag="SubmitBatch"):
    """Accept a batch. `body_hash` is set where the client sent an `Idempotency-Key`."""

    order: BatchOrder
    limits: Limits
    owner: str
    body_hash: str | None = None


class StartBatch(BatchCommand, frozen=True, tag="StartBatch"):
    """Begin to work on it."""


class RecordItems(BatchCommand, frozen=True, tag="RecordItems"):
    """Keep some more of its items; those that are known already are left out."""

    items: tuple[BatchItem, ...]
    title: str | None = None


class EndListing(BatchCommand, frozen=True, tag="EndListing"):
    """There will be no more items, because these were all or because of an error."""

    error: Fault | None = None
    left_out: int = 0


class CancelBatch(BatchCommand, frozen=True, tag="CancelBatch"):
    """End what has not ended."""


class StopBatch(BatchCommand, frozen=True, tag="StopBatch"):
    """An item failed in a batch that is to stop then."""


class EndBatch(BatchCommand, frozen=True, tag="EndBatch"):
    """Every item has come to its end. `first_error` is that of the first item that failed."""

    tally: Tally
    first_error: Fault | None = None


class RetryBatch(BatchCommand, frozen=True, tag="RetryBatch"):
    """Try again what failed or was cancelled."""


class RecordBatchDelivered(BatchCommand, frozen=True, tag="RecordBatchDelivered"):
    """The same as `RecordDelivered`, of a batch's webhook."""

    delivery: int
    attempt: int
    status: int
    duration_ms: int


class RecordBatchDeliveryFailed(BatchCommand, frozen=True, tag="RecordBatchDeliveryFailed"):
    """The same as `RecordDeliveryFailed`, of a batch's webhook."""

    delivery: int
    attempt: int
    reason: str
    duration_ms: int
    status: int | None = None
    retry_at: Instant | None = None
    gone: bool = False


class RequeueBatchDelivery(BatchCommand, frozen=True, tag="RequeueBatchDelivery"):
    """The same as `RequeueDelivery`, of a batch's webhook."""

    delivery: int


AnyBatchCommand = (
    SubmitBatch
    | StartBatch
    | RecordItems
    | EndListing
    | CancelBatch
    | StopBatch
    | EndBatch
    | RetryBatch
    | RecordBatchDelivered
    | RecordBatchDeliveryFailed
    | RequeueBatchDelivery
)

DeliveryCommand = (
    RecordDelivered
    | RecordDeliveryFailed
    | RequeueDelivery
    | RecordBatchDelivered
    | RecordBatchDeliveryFailed
    | RequeueBatchDelivery
)


class EngineCommand(msgspec.Struct, frozen=True, tag_field="type"):
    """Anything that can be asked of the engine. `own` is the release of yt-dlp that this umd came with."""

    own: str


class UseRelease(EngineCommand, frozen=True, tag="UseRelease"):
    """Let new attempts run on a release that has passed its self-test."""

    version: str


class RefuseRelease(EngineCommand, frozen=True, tag="RefuseRelease"):
    """Note that a release was not taken. No `version`: none could be had."""

    reason: str
    version: str | None = None


class RollBack(EngineCommand, frozen=True, tag="RollBack"):
    """Give the current release up for another one that has passed its self-test."""

    version: str
    reason: str
    judged: int = 0
    faults: int = 0


AnyEngineCommand = UseRelease | RefuseRelease | RollBack


class RecordSwept(msgspec.Struct, frozen=True, tag_field="type", tag="RecordSwept"):
    """Note that files were deleted that no job knew."""

    files: SweptFiles


Command = AnyJobCommand | AnyBatchCommand | AnyEngineCommand | RecordSwept
"""Every command of this release."""
