"""Jobs and batches as they were at a position: the same fold that the service keeps, stopped earlier."""

from collections.abc import Iterable, Iterator, Sequence

from umd.domain import batch as batch_rules
from umd.domain import job as job_rules
from umd.domain.events import JobQueued
from umd.log import EventLog, Fact, Record
from umd.log.codec import facts
from umd.projections.jobs import Entry
from umd.projections.models import Models

PAGE_ROWS = 500


class Past:
    """What was known when some streams, or all, had come so far; `base` is what was known before."""

    def __init__(self, base: Models | None = None) -> None:
        base = base or Models()
        self.jobs = base.jobs
        self.batches = base.batches

    def apply(self, told: Sequence[Fact]) -> None:
        """Go on by these rows."""
        self.jobs.apply(told)
        self.batches.apply(told)

    async def read(self, log: EventLog, stream: str, position: int) -> None:
        """Go on by the rows of a stream, up to a position."""
        after = 0
        while records := await log.read(after, PAGE_ROWS, stream=stream):
            self.apply(facts([record for record in records if record.position <= position]))
            after = records[-1].position
            if after >= position or len(records) < PAGE_ROWS:
                return


async def job_at(log: EventLog, job_id: str, position: int) -> Entry | None:
    """A job as it was when the log ended at this position; None where there was none yet."""
    past = Past()
    await past.read(log, job_rules.stream(job_id), position)
    return past.jobs.get(job_id)


async def batch_at(log: EventLog, batch_id: str, position: int) -> Past:
    """A batch and its jobs as they were when the log ended at this position, and nothing else."""
    past = Past()
    await past.read(log, batch_rules.stream(batch_id), position)
    entry = past.batches.get(batch_id)
    for one in entry.batch.items if entry is not None else ():
        await past.read(log, job_rules.stream(one.job_id), position)
    return past


def fold(records: Iterable[Record], base: Models | None = None) -> Past:
    """All that these rows leave, of a log from its beginning or from what its pruned rows came to."""
    past = Past(base)
    for page in _pages(records):
        past.apply(facts(page))
    return past


def concerned(past: Past, fact: Fact) -> tuple[str | None, str | None]:
    """The job and the batch that an event is about to change: a job's event changes its batch, too."""
    stream = fact.record.stream
    if stream.startswith(batch_rules.PREFIX):
        return None, stream.removeprefix(batch_rules.PREFIX)
    if not stream.startswith(job_rules.PREFIX):
        return None, None
    job_id = stream.removeprefix(job_rules.PREFIX)
    if isinstance(fact.event, JobQueued):
        return job_id, fact.event.batch_id
    entry = past.jobs.get(job_id)
    return job_id, entry.job.batch_id if entry is not None else None


def _pages(records: Iterable[Record]) -> Iterator[list[Record]]:
    page: list[Record] = []
    for record in records:
        page.append(record)
        if len(page) == PAGE_ROWS:
            yield page
            page = []
    yield page
