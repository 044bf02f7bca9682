"""When files go, and whose go first."""

import pytest
from msgspec.structs import replace

from tests.domain.builders import AT, FILE, LIMITS, job_in
from umd.clock import SECOND
from umd.domain.job import FINAL, Job, State
from umd.domain.retention import deadline, lacking_bytes, spare


@pytest.mark.parametrize(
    ("stored", "free", "quota", "free_min", "lacking"),
    [
        (100, 1_000, 0, 500, 0),
        (100, 500, 0, 500, 0),
        (100, 400, 0, 500, 100),
        (100, 1_000, 100, 0, 0),
        (150, 1_000, 100, 0, 50),
        (150, 400, 100, 500, 100),
    ],
)
def test_what_is_lacking_is_the_worse_of_quota_and_floor(
    stored: int, free: int, quota: int, free_min: int, lacking: int
) -> None:
    assert lacking_bytes(stored=stored, free=free, quota=quota, free_min=free_min) == lacking


def completed(job_id: str, ended_at: int, size: int, delete_at: int | None = AT) -> Job:
    file = replace(FILE, size_bytes=size)
    job = job_in(State.COMPLETED)
    return replace(job, job_id=job_id, ended_at=ended_at, files=(file,), delete_at=delete_at)


def test_the_first_completed_go_first_and_no_more_than_needed() -> None:
    jobs = [completed("c", 3, 10), completed("a", 1, 10), completed("b", 2, 10), completed("k", 0, 10, None)]

    assert [job.job_id for job in spare(jobs, 0)] == []
    assert [job.job_id for job in spare(jobs, 1)] == ["a"]
    assert [job.job_id for job in spare(jobs, 11)] == ["a", "b"]
    assert [job.job_id for job in spare(jobs, 1_000)] == ["a", "b", "c"]


def test_only_what_has_ended_and_is_there_has_a_deadline() -> None:
    due = {state: deadline(job_in(state)) for state in State}

    assert {state for state, at in due.items() if at is not None} == FINAL
    assert due[State.CANCELLED] == job_in(State.CANCELLED).ended_at
    assert due[State.COMPLETED] == AT + (LIMITS.retention_sec or 0) * SECOND
    assert deadline(replace(job_in(State.COMPLETED), files_deleted_at=AT)) is None
    assert deadline(replace(job_in(State.COMPLETED), delete_at=None)) is None
