"""When the files of a job go: at their deadline, or earlier where space is short. Plain functions."""

from collections.abc import Iterable, Iterator

from umd.clock import SECOND, Micros
from umd.domain.job import Job, State

PARTIAL_SEC = 86_400
"""How long half-done files stay for a retry, where the job's finished ones were to stay for good."""


def deadline(job: Job) -> Micros | None:
    """When something of this job is to be deleted, None where nothing is.

    Of a completed job that is its files, of a failed one what its last attempt left half-done, and of a
    cancelled one the same, at once.
    """
    if job.state is State.COMPLETED and job.files_deleted_at is None:
        return job.delete_at
    if job.state is State.CANCELLED:
        return job.ended_at
    if job.state is State.FAILED and job.ended_at is not None:
        retention = job.limits.retention_sec
        return job.ended_at + (PARTIAL_SEC if retention is None else retention) * SECOND
    return None


def lacking_bytes(*, stored: int, free: int, quota: int, free_min: int) -> int:
    """How much has to go before there is room for more; `quota` 0 is none."""
    over = stored - quota if quota else 0
    return max(0, over, free_min - free)


def spare(jobs: Iterable[Job], lacking: int) -> Iterator[Job]:
    """The jobs whose files go so that this many bytes come free: those that were completed first.

    Files that are to stay, because nobody set a time for them, are not touched: new jobs wait instead.
    """
    candidates = [job for job in jobs if job.state is State.COMPLETED and deadline(job) is not None]
    for job in sorted(candidates, key=_age):
        if lacking <= 0:
            return
        yield job
        lacking -= size_bytes(job)


def size_bytes(job: Job) -> int:
    """What the deletion of a job's files sets free."""
    return sum(file.size_bytes for file in job.files if file.path not in job.missing)


def _age(job: Job) -> tuple[Micros, str]:
    return job.ended_at or 0, job.job_id
