"""What is known of all jobs, and what is not."""

import asyncio

import msgspec
import pytest

from tests.domain.builders import AT, JOB_ID, QUEUED, STARTED
from umd.domain.events import Event, JobCancelled
from umd.domain.job import State
from umd.errors import NotFound
from umd.log import Fact, Record, Unknown
from umd.projections.jobs import Jobs


def fact(position: int, event: Event | Unknown | None, job_id: str = JOB_ID) -> Fact:
    kind = "command" if event is None else "event"
    record = Record(position, f"job-{job_id}", position, kind, "t", 1, AT, "c", None, b"{}", b"")  # type: ignore[arg-type]  # one of both
    return Fact(record, event)


def queued(job_id: str) -> Event:
    return msgspec.structs.replace(QUEUED, job_id=job_id)


def test_a_job_is_the_fold_of_its_events_at_the_position_of_its_last_row() -> None:
    jobs = Jobs()
    jobs.apply([fact(1, None), fact(2, QUEUED), fact(3, None), fact(4, STARTED)])

    entry = jobs.require(JOB_ID)
    assert (entry.job.state, entry.position, entry.created_position) == (State.RUNNING, 4, 2)
    assert (jobs.position, jobs.count(State.RUNNING), jobs.count(State.QUEUED)) == (4, 1, 0)


def test_an_event_of_a_newer_release_moves_the_position_and_nothing_else() -> None:
    jobs = Jobs()
    jobs.apply([fact(1, QUEUED), fact(2, Unknown("job.polished", b"{}"))])

    assert (jobs.require(JOB_ID).job.state, jobs.require(JOB_ID).position) == (State.QUEUED, 2)


def test_a_stream_whose_beginning_cannot_be_read_stays_unknown_and_stops_nothing() -> None:
    jobs = Jobs()
    jobs.apply([fact(1, Unknown("job.queued", b"{}")), fact(2, STARTED), fact(3, queued("other"), "other")])

    with pytest.raises(NotFound):
        jobs.require(JOB_ID)
    assert jobs.require("other").job.state is State.QUEUED


def test_pages_go_from_the_newest_to_the_oldest_and_are_stable_while_jobs_arrive() -> None:
    jobs = Jobs()
    jobs.apply([fact(number, queued(f"j{number}"), f"j{number}") for number in range(1, 8)])
    jobs.apply([fact(8, JobCancelled(), "j3")])

    first = jobs.page(limit=3)
    jobs.apply([fact(9, queued("j9"), "j9")])
    second = jobs.page(limit=3, before=first.next)
    last = jobs.page(limit=3, before=second.next)

    assert [entry.job.job_id for page in (first, second, last) for entry in page.entries] == [
        f"j{number}" for number in range(7, 0, -1)
    ]
    assert last.next is None
    cancelled = jobs.page(limit=3, states=frozenset({State.CANCELLED}))
    assert ([entry.job.job_id for entry in cancelled.entries], cancelled.next) == (["j3"], None)


async def test_a_wait_ends_with_the_event_that_makes_its_condition_true() -> None:
    jobs = Jobs()
    jobs.apply([fact(1, QUEUED)])
    waiting = asyncio.create_task(jobs.when(JOB_ID, lambda job: job.state is State.RUNNING))
    await asyncio.sleep(0)
    jobs.apply([fact(2, STARTED)])

    assert (await waiting).position == 2
    assert (await jobs.when(JOB_ID, lambda job: job.attempt == 1)).position == 2


def test_the_page_of_one_owner_looks_at_no_other_s_jobs() -> None:
    class Looked(frozenset[State]):
        times = 0

        def __contains__(self, state: object) -> bool:
            type(self).times += 1
            return super().__contains__(state)

    jobs = Jobs()
    jobs.apply(
        [
            fact(number, msgspec.structs.replace(QUEUED, job_id=f"j{number}", owner=owner), f"j{number}")
            for number in range(1, 10_001)
            for owner in ("few" if number % 4_000 == 0 else "many",)
        ]
    )
    page = jobs.page(limit=50, states=Looked((State.QUEUED,)), owner="few")

    assert [entry.job.job_id for entry in page.entries] == ["j8000", "j4000"]
    assert Looked.times == 2
