"""What was downloaded and is still there: by owner, by extractor and id or by address, and by the options."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

import msgspec

from umd.domain.archive import Fingerprint, fingerprint
from umd.domain.events import JobCompleted, JobFilesDeleted, ListedItem
from umd.domain.job import Job
from umd.domain.options import MediaOptions
from umd.log import Fact
from umd.projections.jobs import Jobs

Key: TypeAlias = tuple[str, str, str, Fingerprint]
"""Whose it is; extractor and id, or nothing and the address; the options that change the result."""


TOLD = frozenset({JobCompleted, JobFilesDeleted})
"""By type: `isinstance` of a Struct takes ten times as long, and a replay has millions of other events."""


class Held(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A key that a job holds, put by. The job says what the key is; `mark` is its fingerprint's number."""

    job_id: str
    by_url: bool
    mark: int


class Archive:
    """The newest job that has the files of an item. Folds after `Jobs`."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self._by_key: dict[Key, str] = {}
        self._fingerprints: dict[Fingerprint, Fingerprint] = {}
        self._marks: dict[int, Fingerprint] = {}

    def apply(self, facts: Sequence[Fact]) -> None:
        """Follow the log: a completed job enters, one whose files are deleted leaves."""
        for fact in facts:
            if type(fact.event) in TOLD:
                entry = self._jobs.get(fact.record.stream.removeprefix("job-"))
                if entry is not None:
                    self._note(entry.job, entering=isinstance(fact.event, JobCompleted))

    def put_by(self) -> Iterator[Held]:
        """What is known now, whatever is folded later."""
        return _held(self._by_key.copy())

    def fill(self, held: Sequence[Held]) -> None:
        """Take in what was put by, when the jobs are there."""
        of, keys = "", dict[bool, Key]()
        for one in held:
            if one.job_id != of:  # a job's two keys mostly follow one another
                of, keys = one.job_id, self._keys_held(one)
            if key := keys.get(one.by_url):  # other rules may have made keys that these do not
                self._by_key[key] = of

    def forget(self, count: int) -> bool:
        """Let go of so many, whether there are more. For a model that nobody asks any more."""
        for _ in range(min(count, len(self._by_key))):
            self._by_key.popitem()
        return bool(self._by_key)

    def find(self, item: ListedItem, options: MediaOptions, owner: str) -> str | None:
        """The owner's job that has what a download of this item would give."""
        mark = fingerprint(options)
        for key in _keys(owner, item.extractor, item.id, item.url, mark):
            if (job_id := self._by_key.get(key)) is not None:
                return job_id
        return None

    def _note(self, job: Job, *, entering: bool) -> None:
        for key in _keys_of(job, self._mark(job)):
            if entering:
                self._by_key[key] = job.job_id
            elif self._by_key.get(key) == job.job_id:
                del self._by_key[key]

    def _keys_held(self, one: Held) -> dict[bool, Key]:
        """The keys of a job of which one was put by; True is the one by its address."""
        job = self._jobs.require(one.job_id).job
        mark = self._marks.get(one.mark)
        if mark is None:
            mark = self._marks[one.mark] = self._mark(job)
        return {key[1] == "": key for key in _keys_of(job, mark)}

    def _mark(self, job: Job) -> Fingerprint:
        """The fingerprint of a job's options; equal ones are one object."""
        mark = fingerprint(job.request)
        return self._fingerprints.setdefault(mark, mark)


def _keys_of(job: Job, mark: Fingerprint) -> tuple[Key, ...]:
    about = job.metadata
    extractor, item_id = (about.extractor, about.id) if about is not None else (None, None)
    return _keys(job.owner, extractor, item_id, job.request.url, mark)


def _keys(
    owner: str, extractor: str | None, item_id: str | None, url: str, mark: Fingerprint
) -> tuple[Key, ...]:
    by_url = (owner, "", url, mark)
    if extractor and item_id and extractor != "generic":  # whose ids are the files' names, on whatever host
        return (owner, extractor, item_id, mark), by_url
    return (by_url,)


def _held(kept: Mapping[Key, str]) -> Iterator[Held]:
    """The fingerprints, of which there are few, are left out: equal ones have one number."""
    numbers: dict[Fingerprint, int] = {}
    for (_, extractor, _, mark), job_id in kept.items():
        yield Held(job_id, extractor == "", numbers.setdefault(mark, len(numbers)))
