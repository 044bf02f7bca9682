"""The rules of one job: which command leads to which events, and what the job is after them.

                        ┌──────────── RetryDownload ───────────────┐
                        ▼                                          │
    SubmitDownload ─▶ queued ── StartAttempt ─▶ running ──▶ completed, failed, cancelled
                      ▲ ▲  │                     │    │            ▲
                      │ │  └─ PauseDownload ─▶ paused │            │
                      │ │                        ▲    ▼            │
                      │ └── ResumeDownload ──────┤  stopping ──── ConfirmStopped
                      └── a retry, an interruption (from running)

`decide` and `evolve` are plain functions: no clock, no I/O, so a replay of the log gives the same answer
for ever. Every command is either decided or refused in every state; `tests/domain` goes through all pairs.
"""

from enum import StrEnum

import msgspec
from msgspec.structs import replace

from umd.clock import SECOND, Micros, instant, micros
from umd.domain import commands as c
from umd.domain import deliveries, retry
from umd.domain import events as e
from umd.domain.deliveries import Deliveries, Delivery, DeliveryState
from umd.domain.options import DownloadRequest, WebhookEvent
from umd.errors import IdempotencyKeyReused, InvalidState, NotFound, StaleAttempt


class State(StrEnum):
    """Where a job is. The wire shows `stopping` as `running`."""

    QUEUED = "queued"
    RUNNING = "running"
    STOPPING = "stopping"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


FINAL = frozenset({State.COMPLETED, State.FAILED, State.CANCELLED})
ACTIVE = frozenset({State.RUNNING, State.STOPPING})


class Job(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """All that is known of a job: the fold of its events."""

    job_id: str
    state: State
    request: DownloadRequest
    limits: e.Limits
    owner: str
    created_at: Micros
    batch_id: str | None = None
    body_hash: str | None = None
    member: e.Membership | None = None
    attempt: int = 0
    failures: int = 0
    failed_with: str | None = None
    spent: Micros = 0
    started_at: Micros | None = None
    attempt_started_at: Micros | None = None
    ended_at: Micros | None = None
    stop_intent: e.StopIntent | None = None
    retry_at: Micros | None = None
    ytdlp_version: str | None = None
    progress: e.Progress | None = None
    metadata: e.Metadata | None = None
    files: tuple[e.File, ...] = ()
    error: e.Fault | None = None
    delete_at: Micros | None = None
    files_deleted_at: Micros | None = None
    deliveries: Deliveries = ()
    receiver_gone: bool = False
    missing: frozenset[str] = frozenset()


PREFIX = "job-"
"""The beginning of the name of every job's stream."""


def stream(job_id: str) -> str:
    """The name of a job's stream in the log."""
    return f"{PREFIX}{job_id}"


def time_left(job: Job) -> float:
    """Seconds that the job's timeout leaves for the attempt that starts now."""
    return job.limits.timeout_sec - job.spent / SECOND


def decide(job: Job | None, command: c.AnyJobCommand, at: Micros) -> tuple[e.AnyJobEvent, ...]:
    """What comes of a command. No events means that it is done already.

    Raises a `Refused` error when the state does not allow it.
    """
    if isinstance(command, c.SubmitDownload):
        return _submit(job, command)
    if job is None:
        raise NotFound("job", command.job_id)
    if isinstance(command, c.Report):
        _hold_current(job, command)
    match command:
        case c.StartAttempt():
            return _start(job, command)
        case c.CancelDownload():
            return _cancel(job)
        case c.PauseDownload():
            return _pause(job)
        case c.ResumeDownload():
            return _resume(job)
        case c.RetryDownload():
            return _retry(job, at)
        case c.ScheduleDeletion():
            return _schedule_deletion(job, command, at)
        case c.RecordFilesDeleted():
            return _files_deleted(job, command)
        case c.RecordFilesMissing():
            return _files_missing(job, command)
        case c.RecordMetadata():
            return (e.JobMetadata(command.attempt, _as_member(job, command.metadata)),)
        case c.EnterPhase():
            return (e.JobPhase(command.attempt, command.progress, command.step),)
        case c.RecordLog():
            return (e.JobLog(command.attempt, command.lines, command.dropped),)
        case c.CompleteAttempt():
            return _complete(job, command, at)
        case c.FailAttempt():
            return _fail(job, command, at)
        case c.InterruptAttempt():
            return _interrupt(job, command)
        case c.ConfirmStopped():
            return _confirm_stopped(job, command)
        case c.RecordDelivered() | c.RecordDeliveryFailed() | c.RequeueDelivery():
            return deliveries.decide(job.deliveries, job.job_id, command)


def _submit(job: Job | None, command: c.SubmitDownload) -> tuple[e.AnyJobEvent, ...]:
    if job is None:
        return (
            e.JobQueued(
                command.job_id,
                command.request,
                command.limits,
                command.owner,
                command.batch_id,
                command.body_hash,
                command.member,
            ),
        )
    if job.body_hash is None or job.body_hash != command.body_hash:
        raise IdempotencyKeyReused("This Idempotency-Key was used with another request.")
    return ()


def _as_member(job: Job, metadata: e.Metadata) -> e.Metadata:
    """An item's own page does not know the list that it was found in."""
    if job.member is None:
        return metadata
    return replace(
        metadata,
        playlist=metadata.playlist or job.member.playlist,
        playlist_index=metadata.playlist_index or job.member.playlist_index,
        uploader=metadata.uploader or metadata.channel or job.member.uploader,
    )


def _start(job: Job, command: c.StartAttempt) -> tuple[e.AnyJobEvent, ...]:
    if job.state is not State.QUEUED:
        raise _refused(job, "start")
    return (e.JobStarted(job.attempt + 1, command.ytdlp_version),)


def _cancel(job: Job) -> tuple[e.AnyJobEvent, ...]:
    match job.state:
        case State.QUEUED | State.PAUSED:
            return (e.JobCancelled(job.progress),)
        case State.RUNNING:
            return (e.JobStopping("cancel"),)
        case State.STOPPING:
            return () if job.stop_intent == "cancel" else (e.JobStopping("cancel"),)
        case State.CANCELLED:
            return ()
        case State.COMPLETED | State.FAILED:
            raise _refused(job, "be cancelled")


def _pause(job: Job) -> tuple[e.AnyJobEvent, ...]:
    match job.state:
        case State.QUEUED:
            return (e.JobPaused(job.progress),)
        case State.RUNNING:
            return (e.JobStopping("pause"),)
        case State.PAUSED:
            return ()
        case State.STOPPING if job.stop_intent == "pause":
            return ()
        case State.STOPPING | State.COMPLETED | State.FAILED | State.CANCELLED:
            raise _refused(job, "be paused")


def _resume(job: Job) -> tuple[e.AnyJobEvent, ...]:
    match job.state:
        case State.PAUSED:
            return (e.JobResumed(),)
        case State.QUEUED | State.RUNNING:
            return ()
        case State.STOPPING | State.COMPLETED | State.FAILED | State.CANCELLED:
            raise _refused(job, "be resumed")


def _retry(job: Job, at: Micros) -> tuple[e.AnyJobEvent, ...]:
    match job.state:
        case State.FAILED | State.CANCELLED:
            return (e.JobRetrying(job.attempt, instant(at), requested=True),)
        case State.QUEUED:
            return ()
        case State.RUNNING | State.STOPPING | State.PAUSED | State.COMPLETED:
            raise _refused(job, "be retried")


def _schedule_deletion(job: Job, command: c.ScheduleDeletion, at: Micros) -> tuple[e.AnyJobEvent, ...]:
    if job.state is not State.COMPLETED or job.files_deleted_at is not None:
        raise _refused(job, "have its files' deletion changed, for it has none")
    wanted = None if command.delete_at is None else max(micros(command.delete_at), at)
    if wanted == job.delete_at:
        return ()
    return (e.JobDeletionScheduled(None if wanted is None else instant(wanted)),)


def _files_deleted(job: Job, command: c.RecordFilesDeleted) -> tuple[e.AnyJobEvent, ...]:
    if job.state is not State.COMPLETED:
        raise _refused(job, "have its files deleted")
    return () if job.files_deleted_at is not None else (e.JobFilesDeleted(command.reason),)


def _files_missing(job: Job, command: c.RecordFilesMissing) -> tuple[e.AnyJobEvent, ...]:
    """What is missing is said once; with the last of them, the files are gone."""
    if job.state is not State.COMPLETED:
        raise _refused(job, "miss its files")
    stored = [file.path for file in job.files if file.path not in job.missing]
    news = tuple(path for path in stored if path in command.paths)
    if job.files_deleted_at is not None or not news:
        return ()
    missing = e.JobFilesMissing(news)
    return (missing, e.JobFilesDeleted("missing")) if len(news) == len(stored) else (missing,)


def _complete(job: Job, command: c.CompleteAttempt, at: Micros) -> tuple[e.AnyJobEvent, ...]:
    if job.state is State.STOPPING and not (command.live_ended and job.stop_intent == "pause"):
        return _stopped(job, command.progress)
    retention = job.limits.retention_sec
    delete_at = None if retention is None else instant(at + retention * SECOND)
    files = tuple(e.JobFile(command.attempt, file) for file in command.files)
    return (*files, e.JobCompleted(command.attempt, command.progress, delete_at))


def _fail(job: Job, command: c.FailAttempt, at: Micros) -> tuple[e.AnyJobEvent, ...]:
    if job.state is State.STOPPING:
        return _stopped(job, command.progress)
    if retry.is_worth_it(command.error, job.failed_with) and job.failures < job.limits.retries:
        wait = retry.wait(job.job_id, job.failures + 1, job.limits.retry_base_sec, command.error)
        return (e.JobRetrying(command.attempt, instant(at + wait), command.error, progress=command.progress),)
    return (e.JobFailed(command.attempt, command.error, command.progress),)


def _interrupt(job: Job, command: c.InterruptAttempt) -> tuple[e.AnyJobEvent, ...]:
    if job.state is State.STOPPING:
        return _stopped(job, job.progress)
    return (e.JobInterrupted(command.attempt, command.reason),)


def _confirm_stopped(job: Job, command: c.ConfirmStopped) -> tuple[e.AnyJobEvent, ...]:
    if job.state is not State.STOPPING:
        raise _refused(job, "have stopped")
    return _stopped(job, command.progress)


def _stopped(job: Job, progress: e.Progress | None) -> tuple[e.AnyJobEvent, ...]:
    """A stop that was accepted is carried out, however the attempt came to its end."""
    return (e.JobCancelled(progress),) if job.stop_intent == "cancel" else (e.JobPaused(progress),)


def _hold_current(job: Job, command: c.Report) -> None:
    """Only the attempt that runs now may report."""
    if job.state not in ACTIVE or command.attempt != job.attempt:
        raise StaleAttempt(f"Attempt {command.attempt} of job {job.job_id} is over; the job is {job.state}.")


def _refused(job: Job, what: str) -> InvalidState:
    return InvalidState(f"Job {job.job_id} is {job.state} and cannot {what}.")


def evolve(job: Job | None, event: e.AnyJobEvent, at: Micros) -> Job:
    """The job after an event. Total over all events that `decide` can give."""
    if type(event) is e.JobQueued:
        return _queued(event, at)
    assert job is not None, "a stream begins with job.queued"  # noqa: S101  # an invariant of the log

    after = _evolve(job, event, at)
    return _announce(job, after, event, at) if type(event) in _ANNOUNCED else after


def _evolve(job: Job, event: e.AnyJobEvent, at: Micros) -> Job:
    # Those that a replay of the log meets most come first: each `case` that does not fit takes 0.3 µs.
    match event:
        case e.JobPhase():
            return replace(job, progress=event.progress)
        case e.JobLog():
            return job
        case e.JobMetadata():
            return replace(job, metadata=event.metadata)
        case e.JobStarted():
            return _started(job, event, at)
        case e.JobFile():
            return replace(job, files=(*job.files, event.file))
        case e.JobCompleted():
            return _completed(job, event, at)
        case e.JobQueued():
            return job
        case e.JobFailed():
            return _failed(job, event, at)
        case e.JobRetrying():
            return _retrying(job, event, at)
        case e.JobInterrupted():
            return replace(job, state=State.QUEUED, stop_intent=None)
        case e.JobStopping():
            return replace(job, state=State.STOPPING, stop_intent=event.intent)
        case e.JobCancelled():
            stopped = _at_rest(job, State.CANCELLED, event.progress)
            return replace(stopped, error=None, ended_at=at)
        case e.JobPaused():
            return replace(_at_rest(job, State.PAUSED, event.progress), spent=_spent(job, at))
        case e.JobResumed():
            return replace(job, state=State.QUEUED)
        case e.JobDeletionScheduled():
            return replace(job, delete_at=None if event.delete_at is None else micros(event.delete_at))
        case e.JobFilesDeleted():
            return replace(job, files_deleted_at=at)
        case e.JobFilesMissing():
            return replace(job, missing=job.missing | frozenset(event.paths))
        case e.WebhookDelivered() | e.WebhookFailed() | e.WebhookRequeued():
            gone = job.receiver_gone or (isinstance(event, e.WebhookFailed) and event.gone)
            noted = deliveries.evolve(job.deliveries, event, at)
            return replace(job, deliveries=noted, receiver_gone=gone)


def _announce(before: Job, job: Job, event: e.AnyJobEvent, at: Micros) -> Job:
    """The job with the webhook that the event calls for, if its request wants it."""
    kind = _webhook(before, event)
    if kind is None or not deliveries.wants(job.request, kind):
        return job
    delivery = Delivery(
        number=len(job.deliveries) + 1,
        event=kind,
        at=at,
        status=job.state,
        attempt=job.attempt,
        files=job.files if kind != "download.started" else (),
        error=job.error,
        reason=event.reason if isinstance(event, e.JobFilesDeleted) else None,
        state=DeliveryState.DISABLED if job.receiver_gone else DeliveryState.PENDING,
        due_at=at,
    )
    return replace(job, deliveries=(*job.deliveries, delivery))


_ANNOUNCED = frozenset({e.JobStarted, e.JobCompleted, e.JobFailed, e.JobCancelled, e.JobFilesDeleted})
"""Looked at first, and by type: most events call for no webhook, and a replay has millions."""


def _webhook(before: Job, event: e.Event) -> WebhookEvent | None:
    match event:
        case e.JobStarted():
            return "download.started" if before.started_at is None else None
        case e.JobCompleted():
            return "download.completed"
        case e.JobFailed():
            return "download.failed"
        case e.JobCancelled():
            return "download.cancelled"
        case e.JobFilesDeleted():
            return "download.files_deleted"
        case _:
            return None


def _queued(event: e.JobQueued, at: Micros) -> Job:
    return Job(
        job_id=event.job_id,
        state=State.QUEUED,
        request=event.request,
        limits=event.limits,
        owner=event.owner,
        created_at=at,
        batch_id=event.batch_id,
        body_hash=event.body_hash,
        member=event.member,
    )


def _started(job: Job, event: e.JobStarted, at: Micros) -> Job:
    return replace(
        job,
        state=State.RUNNING,
        attempt=event.attempt,
        ytdlp_version=event.ytdlp_version,
        started_at=job.started_at or at,
        attempt_started_at=at,
        ended_at=None,
        retry_at=None,
        error=None,
        progress=e.Progress("extracting"),
        files=(),
    )


def _completed(job: Job, event: e.JobCompleted, at: Micros) -> Job:
    delete_at = None if event.delete_at is None else micros(event.delete_at)
    return replace(
        job,
        state=State.COMPLETED,
        stop_intent=None,
        progress=event.progress,
        delete_at=delete_at,
        ended_at=at,
    )


def _failed(job: Job, event: e.JobFailed, at: Micros) -> Job:
    return replace(
        job,
        state=State.FAILED,
        error=event.error,
        progress=event.progress or job.progress,
        failures=job.failures + 1,
        ended_at=at,
    )


def _retrying(job: Job, event: e.JobRetrying, at: Micros) -> Job:
    """Back in the queue. What a client asks for begins to count anew."""
    return replace(
        job,
        state=State.QUEUED,
        error=event.error,
        retry_at=micros(event.retry_at),
        failures=0 if event.requested else job.failures + 1,
        failed_with=None if event.requested or event.error is None else event.error.code,
        spent=0 if event.requested else _spent(job, at),
        progress=event.progress or job.progress,
        stop_intent=None,
        ended_at=None,
    )


def _at_rest(job: Job, state: State, progress: e.Progress | None) -> Job:
    return replace(job, state=state, stop_intent=None, progress=progress or job.progress, retry_at=None)


def _spent(job: Job, at: Micros) -> Micros:
    """Running time used up so far; an attempt that the service's end cut short does not count."""
    running = job.attempt_started_at if job.state in ACTIVE else None
    return job.spent + (at - running if running is not None else 0)
