"""Which job a stored file belongs to: every path that a completed job of the log names."""

from collections.abc import Iterator, Sequence

import msgspec

from umd.clock import Micros
from umd.domain.events import File, JobCompleted, JobFile, JobFilesDeleted, JobFilesMissing, JobStarted
from umd.log import Fact
from umd.projections.jobs import Jobs

TOLD = frozenset({JobStarted, JobFile, JobCompleted, JobFilesDeleted, JobFilesMissing})
"""By type, as in `umd.projections.archive`."""


class StoredFile(msgspec.Struct, frozen=True, gc=False):
    """A file of a result, the job that it belongs to, and when that was completed."""

    job_id: str
    file: File
    completed_at: Micros
    deleted: bool = False


class Kept(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A path and the job that has it, put by."""

    job_id: str
    path: str
    deleted: bool


class Files:
    """The newest owner of each path. A path whose file was deleted stays known until another job takes it."""

    def __init__(self) -> None:
        self.stored_bytes = 0
        self._by_path: dict[str, StoredFile] = {}
        self._of_job: dict[str, tuple[File, ...]] = {}

    def apply(self, facts: Sequence[Fact]) -> None:
        """Follow the log. Files count as soon as their job is completed."""
        for fact in facts:
            if type(fact.event) not in TOLD:
                continue
            job_id = fact.record.stream.removeprefix("job-")
            match fact.event:
                case JobStarted():
                    self._of_job.pop(job_id, None)
                case JobFile(file=file):
                    self._of_job[job_id] = (*self._of_job.get(job_id, ()), file)
                case JobCompleted():
                    self._publish(job_id, fact.record.at)
                case JobFilesDeleted():
                    self._withdraw(job_id, [file.path for file in self._of_job.pop(job_id, ())])
                case JobFilesMissing(paths=paths):
                    self._withdraw(job_id, paths)
                case _:
                    pass

    def put_by(self) -> tuple[Iterator[Kept], Iterator[str]]:
        """Each path with the job that has it, and the jobs whose files are there or are coming."""
        paths = self._by_path.copy()
        return (Kept(one.job_id, path, one.deleted) for path, one in paths.items()), iter(list(self._of_job))

    def fill(self, kept: Sequence[Kept], jobs: Jobs) -> None:
        """Take in the paths that were put by, when the jobs are there: they know the files."""
        for one in kept:
            job = jobs.require(one.job_id).job
            file = next(file for file in job.files if file.path == one.path)
            self._by_path[one.path] = StoredFile(job.job_id, file, job.ended_at or 0, one.deleted)
            self.stored_bytes += 0 if one.deleted else file.size_bytes

    def fill_jobs(self, job_ids: Sequence[str], jobs: Jobs) -> None:
        """The same for the jobs."""
        for job_id in job_ids:
            self._of_job[job_id] = jobs.require(job_id).job.files

    def forget(self, count: int) -> bool:
        """Let go of so many, whether there are more. For a model that nobody asks any more."""
        for known in (self._by_path, self._of_job):
            for _ in range(min(count, len(known))):
                known.popitem()
        return bool(self._by_path or self._of_job)

    def get(self, path: str) -> StoredFile | None:
        """What the log knows under this path, relative to the storage root."""
        return self._by_path.get(path)

    def stored(self) -> list[StoredFile]:
        """Every file that should lie on the volume."""
        return [stored for stored in self._by_path.values() if not stored.deleted]

    def deleted(self) -> list[StoredFile]:
        """Every file that was deleted and whose path nobody has taken since."""
        return [stored for stored in self._by_path.values() if stored.deleted]

    def _publish(self, job_id: str, at: Micros) -> None:
        for file in self._of_job.get(job_id, ()):
            self._withdraw_any(file.path)
            self._by_path[file.path] = StoredFile(job_id, file, at)
            self.stored_bytes += file.size_bytes

    def _withdraw(self, job_id: str, paths: Sequence[str]) -> None:
        for path in paths:
            stored = self._by_path.get(path)
            if stored is not None and stored.job_id == job_id:
                self._withdraw_any(path)

    def _withdraw_any(self, path: str) -> None:
        stored = self._by_path.get(path)
        if stored is not None and not stored.deleted:
            self._by_path[path] = msgspec.structs.replace(stored, deleted=True)
            self.stored_bytes -= stored.file.size_bytes
