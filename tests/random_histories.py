"""Random histories of the service: commands of jobs, batches, engine and volume, decided by the rules."""

from collections.abc import Iterator, Sequence
from random import Random  # noqa: TID251  # seeded by the test

from msgspec.structs import replace

from tests.domain.builders import DONE, LIMITS, METADATA, NETWORK, PRIVATE, PROGRESS
from umd.clock import SECOND, Micros, encode_id, instant
from umd.domain import batch as batches
from umd.domain import commands as c
from umd.domain import engine, storage
from umd.domain import events as e
from umd.domain import job as jobs
from umd.domain.batch import Batch
from umd.domain.job import FINAL, Job
from umd.domain.options import BatchDownloadRequest, BatchOrder, DownloadRequest
from umd.errors import Refused
from umd.log import Record
from umd.log.codec import entries
from umd.log.ledger import Draft, Ledger

BEGINNING: Micros = 1_700_000_000 * SECOND
OWNERS = ("ann", "bob")
VERSIONS = ("2026.10.26", "2026.11.10", "2026.11.20")
URLS = tuple(f"https://example.com/{name}" for name in "abc")


class History:
    """Makes up commands; those that the rules refuse are left out. `records` are the rows of a log."""

    def __init__(self, seed: int, step_sec: float = 60.0) -> None:
        self.records: list[Record] = []
        self.jobs: dict[str, Job] = {}
        self.batches: dict[str, Batch] = {}
        self.release = engine.NOTHING_KNOWN
        self._random = Random(seed)
        self._ledger = Ledger()
        self._positions: dict[str, int] = {}
        self._at = BEGINNING
        self._step_sec = step_sec
        self._ids = 0

    def go_on(self, commands: int) -> "History":
        """So many commands more."""
        for _ in range(commands):
            self._at += round(self._random.random() * 2 * self._step_sec * SECOND)
            self._act()
        return self

    def ended(self, jobs: int) -> "History":
        """So many jobs that were completed and whose files are gone: nobody has anything to do for them."""
        for _ in range(jobs):
            job_id = self._id()
            request = DownloadRequest(url=URLS[0])
            file = e.File(f"videos/{job_id}.mp4", 10, "00" * 32, "video/mp4", "mp4", "media")
            for command in (
                c.SubmitDownload(job_id, request=request, limits=LIMITS, owner=OWNERS[0]),
                c.StartAttempt(job_id, "2026.10.26"),
                c.CompleteAttempt(job_id, 1, (file,), DONE),
                c.RecordFilesDeleted(job_id, "retention"),
            ):
                self._store(command)
        return self

    def talked(self, jobs: int, reports: int) -> "History":
        """So many jobs under way, which take turns in telling much, and are begun anew now and then."""
        ids = [self._id() for _ in range(jobs)]
        for job_id in ids:
            self._store(
                c.SubmitDownload(job_id, request=DownloadRequest(url=URLS[0]), limits=LIMITS, owner=OWNERS[0])
            )
        for number in range(reports):
            job_id = self._random.choice(ids)
            attempt = self.jobs[job_id].attempt
            line = e.LogLine(instant(self._at), "info", str(number))
            phase = c.EnterPhase(job_id, attempt, e.Progress("downloading", downloaded_bytes=number))
            lines = c.RecordLog(job_id, attempt, (line,))
            begun, ended = c.StartAttempt(job_id, VERSIONS[0]), c.InterruptAttempt(job_id, attempt, "a stop")
            self._store(self._random.choice((phase, phase, phase, lines, lines, begun, ended)))
        return self

    def _act(self) -> None:
        draw = self._random.random()
        if draw < 0.05:
            self._submit_batch()
        elif draw < 0.2 or not self.jobs:
            self._submit()
        elif draw < 0.25 and self.batches:
            self._batch_command()
        elif draw < 0.28:
            self._engine_command()
        elif draw < 0.29:
            self._store(c.RecordSwept((e.SweptFile(f"videos/{self._random.choice('xyz')}.mp4", 10),)))
        else:
            self._job_command(self._random.choice(list(self.jobs)))

    def _submit(self, batch_id: str | None = None, job_id: str | None = None) -> None:
        pick = self._random.choice
        request = DownloadRequest(
            url=pick(URLS),
            priority=pick((0, 1)),
            quality=pick(("best", "720p")),
            webhook_url=pick((None, "https://example.org/hook")),
        )
        limits = replace(LIMITS, retention_sec=pick((None, 60, 86_400)))
        command = c.SubmitDownload(
            job_id or self._id(), request=request, limits=limits, owner=pick(OWNERS), batch_id=batch_id
        )
        self._store(command)

    def _submit_batch(self) -> None:
        order = BatchOrder.of(BatchDownloadRequest(urls=URLS))
        batch_id = self._id()
        self._store(c.SubmitBatch(batch_id, order=order, limits=LIMITS, owner=self._random.choice(OWNERS)))
        for item in self.batches[batch_id].items:
            self._submit(batch_id, item.job_id)

    def _batch_command(self) -> None:
        batch_id = self._random.choice(list(self.batches))
        tally = e.Tally(completed=1, failed=self._random.choice((0, 1)))
        self._store(
            self._random.choice(
                (
                    c.CancelBatch(batch_id),
                    c.EndBatch(batch_id, tally),
                    c.RetryBatch(batch_id),
                )
            )
        )

    def _engine_command(self) -> None:
        version = self._random.choice(VERSIONS)
        self._store(
            self._random.choice(
                (
                    c.UseRelease(VERSIONS[0], version),
                    c.RefuseRelease(VERSIONS[0], "it has no extractors", version),
                    c.RollBack(VERSIONS[0], version, "too many downloads fail", 20, 9),
                )
            )
        )

    def _job_command(self, job_id: str) -> None:
        job, pick = self.jobs[job_id], self._random.choice
        path = f"videos/{pick('abcd')}.mp4"
        file = e.File(path, pick((10, 20)), "00" * 32, "video/mp4", "mp4", "media")
        about = replace(METADATA, id=pick("xyz"), extractor=pick(("generic", "example")))
        line = e.LogLine(instant(self._at), "info", "hello")
        attempt = job.attempt
        ended: tuple[c.AnyJobCommand, ...] = (
            c.RetryDownload(job_id),
            c.RecordFilesDeleted(job_id, pick(("retention", "quota"))),
            c.RecordFilesMissing(job_id, tuple(file.path for file in job.files[:1])),
            c.ScheduleDeletion(job_id, instant(self._at + 3_600 * SECOND)),
        )
        under_way: tuple[c.AnyJobCommand, ...] = (
            c.StartAttempt(job_id, pick(VERSIONS)),
            c.StartAttempt(job_id, pick(VERSIONS)),
            c.RecordMetadata(job_id, attempt, about),
            c.EnterPhase(job_id, attempt, PROGRESS),
            c.RecordLog(job_id, attempt, (line, line)),
            c.CompleteAttempt(job_id, attempt, (file,), DONE),
            c.CompleteAttempt(job_id, attempt, (file,), DONE),
            c.FailAttempt(job_id, attempt, pick((NETWORK, PRIVATE)), PROGRESS),
            c.InterruptAttempt(job_id, attempt, "the service stopped"),
            c.CancelDownload(job_id),
            c.PauseDownload(job_id),
            c.ResumeDownload(job_id),
            c.ConfirmStopped(job_id, attempt, PROGRESS),
        )
        delivered: tuple[c.AnyJobCommand, ...] = (
            c.RecordDelivered(job_id, len(job.deliveries) or 1, 1, 200, 5),
        )
        self._store(pick((*(ended if job.state in FINAL else under_way), *delivered)))

    def _store(self, command: c.Command) -> None:
        try:
            stream, events = self._decide(command)
        except Refused:
            return
        if not events:
            return
        rows = entries(command, events)
        plan = self._ledger.plan(
            [Draft(stream, self._positions.get(stream, 0), self._at, "history", None, rows)]
        )
        self._ledger.commit(plan)
        self._positions[stream] = plan.head
        self.records += [fact.record for fact in plan.facts]

    def _decide(self, command: c.Command) -> tuple[str, Sequence[e.Event]]:
        if isinstance(command, c.JobCommand):
            job = self.jobs.get(command.job_id)
            told = jobs.decide(job, command, self._at)
            for event in told:
                job = self.jobs[command.job_id] = jobs.evolve(job, event, self._at)
            return jobs.stream(command.job_id), told
        if isinstance(command, c.EngineCommand):
            changes = engine.decide(self.release, command)
            for change in changes:
                self.release = engine.evolve(self.release, change)
            return engine.STREAM, changes
        if isinstance(command, c.RecordSwept):
            return storage.STREAM, storage.decide(command)
        whole = self.batches.get(command.batch_id)
        found = batches.decide(whole, command)
        for one in found:
            whole = self.batches[whole.batch_id if whole else command.batch_id] = batches.evolve(
                whole, one, self._at
            )
        return batches.stream(command.batch_id), found

    def _id(self) -> str:
        self._ids += 1
        return encode_id(self._ids.to_bytes(16, "big"))


def cuts(records: Sequence[Record], random: Random) -> Iterator[int]:
    """Some positions between two appends."""
    starts = [record.position - 1 for record in records if record.kind == "command"]
    yield from random.sample(starts, min(3, len(starts)))
