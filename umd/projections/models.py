"""All read models together: told the log's rows in one order, put by and filled again as one."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from hashlib import blake2b
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any, Final, TypeVar

import msgspec

from umd.domain.events import JobLog, JobPhase
from umd.log import Fact, Unknown
from umd.log.snapshot import Sections, SnapshotUnusable
from umd.projections.archive import Archive, Held
from umd.projections.batches import BatchEntry, Batches
from umd.projections.files import Files, Kept
from umd.projections.jobs import Entry, Jobs
from umd.projections.releases import Judgement, Releases
from umd.projections.statistics import Course, Statistics, Totals
from umd.projections.sweeps import Sweeps

RULES: Final = ("umd.domain", "umd.projections")
"""The rooms that decide into what the rows are folded."""

_ITEMS: Final = {
    "position": int,
    "batches": BatchEntry,
    "jobs": Entry,
    "releases": Judgement,
    "sweeps": int,
    "archive": Held,
    "paths": Kept,
    "files": str,
    "totals": Totals,
    "courses": tuple[str, Course],
    "stored": tuple[str, int],
}
"""The sections of a snapshot, in the order in which they are filled, and what their items are."""

PASSING: Final = frozenset({JobPhase, JobLog})
"""More than half of a log. They change nothing but what their job shows, and are counted: the other models
are not told of them."""

FORGOTTEN_AT_ONCE: Final = 200

_READERS: Final[Mapping[str, Callable[[bytes], Sequence[Any]]]] = {
    name: msgspec.json.Decoder(item).decode_lines for name, item in _ITEMS.items()
}


OfJob = TypeVar("OfJob", Held, Kept)


class Models:
    """What is known. Each model folds after those that it asks."""

    def __init__(self) -> None:
        self.jobs = Jobs()
        self.batches = Batches(self.jobs)
        self.releases = Releases(self.jobs)
        self.sweeps = Sweeps()
        self.archive = Archive(self.jobs)
        self.files = Files()
        self.statistics = Statistics()
        self._passed_over = False

    @property
    def code(self) -> str:
        """The rules of this very code: a hash of their source."""
        return _code()

    @property
    def is_whole(self) -> bool:
        """Whether no event had to be passed over that another release may read."""
        return not self._passed_over

    def apply(self, facts: Sequence[Fact]) -> None:
        """Follow the log."""
        turns = [fact for fact in facts if type(fact.event) not in PASSING]
        self._passed_over |= any(type(fact.event) is Unknown for fact in turns)
        self.jobs.apply(facts)
        self.batches.apply(turns)
        self.releases.apply(turns)
        self.sweeps.apply(turns)
        self.archive.apply(turns)
        self.files.apply(turns)
        self.statistics.apply(facts)

    def capture(self) -> Sections:
        """What is known now. Lists are copied at once, and made into items when they are asked for."""
        paths, files_of = self.files.put_by()
        totals, courses, stored = self.statistics.put_by()
        return {
            "position": (self.jobs.position,),
            "batches": self.batches.in_creation_order(),
            "jobs": self.jobs.in_creation_order(),
            "releases": (self.releases.put_by(),),
            "sweeps": (self.sweeps.position,),
            "archive": self._of_known_jobs(self.archive.put_by()),
            "paths": self._of_known_jobs(paths),
            "files": files_of,
            "totals": (totals,),
            "courses": courses,
            "stored": stored,
        }

    def read(self, section: str, lines: bytes) -> Sequence[Any]:
        """The items of a section. One of a later release says nothing to this one."""
        reader = _READERS.get(section)
        return reader(lines) if reader else ()

    def fill(self, section: str, items: Sequence[Any]) -> None:
        """Take the items of a section in. Only into models that know nothing yet, and in order."""
        if items:
            self._fillers()[section](items)

    def fresh(self) -> "Models":
        """Models that know nothing yet."""
        return Models()

    def forget(self) -> bool:
        """Let go of some of it, whether there is more.

        Freed at once, what is known of 50,000 jobs takes a third of a second, in which nothing else is done.
        """
        left = [model.forget(FORGOTTEN_AT_ONCE) for model in (self.archive, self.files, self.jobs)]
        return any(left)

    def _fillers(self) -> Mapping[str, Callable[[Any], None]]:
        """Made when they are asked for: kept, they were a circle, which only the collector can free."""
        return {
            "position": self._stand_at,
            "batches": self.batches.fill,
            "jobs": self._fill_jobs,
            "releases": lambda items: self.releases.fill(*items),
            "sweeps": lambda items: self.sweeps.fill(*items),
            "archive": self.archive.fill,
            "paths": lambda items: self.files.fill(items, self.jobs),
            "files": lambda items: self.files.fill_jobs(items, self.jobs),
            "totals": lambda items: self.statistics.fill(*items),
            "courses": self.statistics.fill_courses,
            "stored": self.statistics.fill_stored,
        }

    def _of_known_jobs(self, items: Iterator[OfJob]) -> Iterator[OfJob]:
        """What is kept for a job is filled from the job."""
        for item in items:
            if self.jobs.get(item.job_id) is None:
                raise SnapshotUnusable(f"job {item.job_id} has no beginning")
            yield item

    def _stand_at(self, positions: Sequence[int]) -> None:
        self.jobs.position = positions[-1]

    def _fill_jobs(self, entries: Sequence[Entry]) -> None:
        self.jobs.fill(entries)
        self.batches.fill_jobs(entries)


@cache
def _code() -> str:
    digest = blake2b(digest_size=16)
    for source in sorted(_sources(), key=lambda source: source.name):
        digest.update(source.read_bytes())
    return digest.hexdigest()


def _sources() -> Iterator[Traversable]:
    for room in RULES:
        yield from (source for source in files(room).iterdir() if source.name.endswith(".py"))
