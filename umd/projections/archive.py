"""What was downloaded and is still there: by owner, by extractor and id or by address, and by the options."""

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from umd.domain.archive import Fingerprint, fingerprint
from umd.domain.events import JobCompleted, JobFilesDeleted, ListedItem
from umd.domain.job import Job
from umd.domain.options import MediaOptions
from umd.log import Fact
from umd.projections.jobs import Jobs

Key: TypeAlias = tuple[str, str, str, Fingerprint]
"""Whose it is; extractor and id, or nothing and the address; the options that change the result."""


class Archive:
    """The newest job that has the files of an item. Folds after `Jobs`."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self._by_key: dict[Key, str] = {}
        self._fingerprints: dict[Fingerprint, Fingerprint] = {}

    def apply(self, facts: Sequence[Fact]) -> None:
        """Follow the log: a completed job enters, one whose files are deleted leaves."""
        for fact in facts:
            if isinstance(fact.event, JobCompleted | JobFilesDeleted):
                entry = self._jobs.get(fact.record.stream.removeprefix("job-"))
                if entry is not None:
                    self._note(entry.job, entering=isinstance(fact.event, JobCompleted))

    def find(self, item: ListedItem, options: MediaOptions, owner: str) -> str | None:
        """The owner's job that has what a download of this item would give."""
        mark = fingerprint(options)
        for key in _keys(owner, item.extractor, item.id, item.url, mark):
            if (job_id := self._by_key.get(key)) is not None:
                return job_id
        return None

    def _note(self, job: Job, *, entering: bool) -> None:
        mark = fingerprint(job.request)
        mark = self._fingerprints.setdefault(mark, mark)
        about = job.metadata
        extractor, item_id = (about.extractor, about.id) if about is not None else (None, None)
        for key in _keys(job.owner, extractor, item_id, job.request.url, mark):
            if entering:
                self._by_key[key] = job.job_id
            elif self._by_key.get(key) == job.job_id:
                del self._by_key[key]


def _keys(
    owner: str, extractor: str | None, item_id: str | None, url: str, mark: Fingerprint
) -> Iterator[Key]:
    if extractor and item_id and extractor != "generic":  # whose ids are the files' names, on whatever host
        yield owner, extractor, item_id, mark
    yield owner, "", url, mark
