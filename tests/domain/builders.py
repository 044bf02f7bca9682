"""Short ways to say which events were given and which command comes."""

from umd.clock import SECOND, instant
from umd.domain import commands as c
from umd.domain import events as e
from umd.domain.faults import fault
from umd.domain.job import Job, State, evolve
from umd.domain.options import DownloadRequest

AT = 1_700_000_000 * SECOND
JOB_ID = "01hf0000000000000000000000"
LIMITS = e.Limits(timeout_sec=1_800, retries=2, retry_base_sec=5, retention_sec=3_600)
METADATA = e.Metadata(id="v1", title="A title", extractor="generic")
PROGRESS = e.Progress("downloading", 50.0, 500, 1_000)
DONE = e.Progress("finished", 100.0, 1_000, 1_000)
FILE = e.File("videos/a.mp4", 1_000, "00" * 32, "video/mp4", "mp4", "media")
NETWORK = fault("network", "The connection broke.")
PRIVATE = fault("private", "This video is private.")

QUEUED = e.JobQueued(
    JOB_ID, DownloadRequest(url="https://example.com/a"), LIMITS, "anonymous", body_hash="h1"
)
STARTED = e.JobStarted(1, "2026.10.26")

GIVEN: dict[State | None, tuple[e.AnyJobEvent, ...]] = {
    None: (),
    State.QUEUED: (QUEUED,),
    State.RUNNING: (QUEUED, STARTED),
    State.STOPPING: (QUEUED, STARTED, e.JobStopping("cancel")),
    State.PAUSED: (QUEUED, e.JobPaused()),
    State.COMPLETED: (
        QUEUED,
        STARTED,
        e.JobFile(1, FILE),
        e.JobCompleted(1, DONE, instant(AT + 3_600 * SECOND)),
    ),
    State.FAILED: (QUEUED, STARTED, e.JobFailed(1, PRIVATE, PROGRESS)),
    State.CANCELLED: (QUEUED, e.JobCancelled()),
}
"""A history that leads to each state; None is the job that does not exist."""

COMMANDS: dict[type[c.JobCommand], c.AnyJobCommand] = {
    type(command): command
    for command in (
        c.SubmitDownload(JOB_ID, request=QUEUED.request, limits=LIMITS, owner="anonymous", body_hash="h1"),
        c.StartAttempt(JOB_ID, "2026.10.26"),
        c.RecordMetadata(JOB_ID, 1, METADATA),
        c.EnterPhase(JOB_ID, 1, PROGRESS),
        c.RecordLog(JOB_ID, 1, (e.LogLine(instant(AT), "info", "hello"),)),
        c.CompleteAttempt(JOB_ID, 1, (FILE,), DONE),
        c.FailAttempt(JOB_ID, 1, NETWORK, PROGRESS),
        c.InterruptAttempt(JOB_ID, 1, "the service stopped"),
        c.CancelDownload(JOB_ID),
        c.PauseDownload(JOB_ID),
        c.ResumeDownload(JOB_ID),
        c.RetryDownload(JOB_ID),
        c.ConfirmStopped(JOB_ID, 1, PROGRESS),
        c.ScheduleDeletion(JOB_ID, instant(AT + 60 * SECOND)),
        c.RecordFilesDeleted(JOB_ID, "retention"),
        c.RecordDelivered(JOB_ID, 1, 1, 200, 5),
        c.RecordDeliveryFailed(JOB_ID, 1, 1, "no answer", 5),
        c.RequeueDelivery(JOB_ID, 1),
        c.RecordFilesMissing(JOB_ID, (FILE.path,)),
    )
}
"""One command of every kind."""


def job_after(*events: e.AnyJobEvent) -> Job | None:
    """The job that these events lead to."""
    job: Job | None = None
    for event in events:
        job = evolve(job, event, AT)
    return job


def job_in(state: State) -> Job:
    """A job in this state."""
    job = job_after(*GIVEN[state])
    assert job is not None
    return job
