"""A job, or every job, as it was at a position: the same fold that the service keeps, stopped earlier."""

from collections.abc import Iterable, Iterator

import msgspec

from umd.domain.job import Job, stream
from umd.log import EventLog, Fact, Record
from umd.log.codec import facts
from umd.projections.jobs import Entry, Jobs

PAGE_ROWS = 500


class Step(msgspec.Struct, frozen=True):
    """An event, and the job before and after it."""

    fact: Fact
    before: Job | None
    after: Job


async def job_at(log: EventLog, job_id: str, position: int) -> Entry | None:
    """A job as it was when the log ended at this position; None where there was none yet."""
    jobs = Jobs()
    after = 0
    while records := await log.read(after, PAGE_ROWS, stream=stream(job_id)):
        jobs.apply(facts(record for record in records if record.position <= position))
        after = records[-1].position
        if after >= position:
            break
    return jobs.get(job_id)


def fold(records: Iterable[Record], jobs: Jobs | None = None) -> Jobs:
    """Every job as these rows, a log's from its beginning, leave it; `jobs` are those of pruned rows."""
    jobs = jobs or Jobs()
    for page in _pages(records):
        jobs.apply(facts(page))
    return jobs


def steps(records: Iterable[Record], jobs: Jobs | None = None) -> Iterator[Step]:
    """Event by event, what became of the jobs."""
    jobs = jobs or Jobs()
    for fact in (fact for page in _pages(records) for fact in facts(page)):
        job_id = fact.record.stream.removeprefix("job-")
        before = jobs.get(job_id)
        jobs.apply([fact])
        after = jobs.get(job_id)
        if fact.event is not None and after is not None:
            yield Step(fact, before.job if before else None, after.job)


def _pages(records: Iterable[Record]) -> Iterator[list[Record]]:
    page: list[Record] = []
    for record in records:
        page.append(record)
        if len(page) == PAGE_ROWS:
            yield page
            page = []
    yield page
