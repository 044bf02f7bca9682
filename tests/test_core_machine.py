"""Any row of commands, in any order, with a restart at any point: the invariants hold after each step."""

import asyncio
from collections import Counter
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    invariant,
    multiple,
    precondition,
    rule,
)

from tests.domain.builders import LIMITS, METADATA, NETWORK, PRIVATE, PROGRESS
from tests.histories import History, hold
from tests.virtual import VirtualClock, VirtualLoop
from umd.clock import SECOND, instant
from umd.dispatcher import Dispatcher
from umd.domain import batch as batch_rules
from umd.domain import commands as c
from umd.domain import events as e
from umd.domain.batch import Batch, BatchState
from umd.domain.job import ACTIVE, FINAL, Job, State
from umd.domain.options import (
    BatchDownloadRequest,
    BatchOrder,
    DownloadRequest,
    PlaylistDownloadRequest,
)
from umd.errors import Refused
from umd.log.memory import MemoryLog
from umd.projections.batches import Batches
from umd.projections.files import Files
from umd.projections.jobs import Jobs
from umd.projections.queue import Queue
from umd.projections.releases import Releases
from umd.projections.sweeps import Sweeps

T = TypeVar("T")
JOBS_MAX = 3
BATCHES_MAX = 2
URL = "https://example.com/v"
RETENTIONS = st.sampled_from([None, 0, 3_600])
WISHES = (c.CancelDownload, c.PauseDownload, c.ResumeDownload, c.RetryDownload)
FILES = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=2, unique=True)


class Core(RuleBasedStateMachine):
    """The dispatcher with its projections on the memory log, as the API and the actors use them."""

    jobs = Bundle("jobs")
    batches = Bundle("batches")

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner(loop_factory=VirtualLoop)
        self.clock = VirtualClock()
        self.acknowledged: dict[str, int] = {}
        self.finals: dict[str, Job] = {}
        self.log = MemoryLog()
        self.told = History()
        self._open()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def _open(self) -> None:
        self.known, self.files = Jobs(), Files()
        self.whole = Batches(self.known)
        self.dispatcher = Dispatcher(
            self.log, self.known, self.whole, Releases(self.known), Sweeps(), self.clock
        )
        self._run(self.log.start(self.known.apply, self.whole.apply, self.files.apply))

    def _execute(self, command: c.AnyJobCommand, correlation: str = "machine") -> None:
        """A refusal is an answer; a job that was answered stands where the answer says."""
        try:
            entry = self._run(self.dispatcher.execute(command, correlation=correlation))
        except Refused:
            return
        self.acknowledged[command.job_id] = entry.position

    def _execute_batch(self, command: c.AnyBatchCommand) -> None:
        with suppress(Refused):
            self._run(self.dispatcher.execute_batch(command, correlation="machine"))

    @precondition(lambda self: len(self.acknowledged) < JOBS_MAX)
    @rule(target=jobs, retention=RETENTIONS, retries=st.integers(0, 2), key=st.sampled_from([None, "k"]))
    def submit(self, retention: int | None, retries: int, key: str | None) -> str:
        job_id = self._run(self._new_id())
        limits = e.Limits(LIMITS.timeout_sec, retries, LIMITS.retry_base_sec, retention)
        request = DownloadRequest(url=URL)
        command = c.SubmitDownload(job_id, request=request, limits=limits, owner="me", body_hash=key)
        self._execute(command)
        self._execute(command)  # a repeat makes no second job
        return job_id

    async def _new_id(self) -> str:
        return self.clock.new_id()

    @rule(job_id=jobs)
    def start(self, job_id: str) -> None:
        self._execute(c.StartAttempt(job_id, "2026.10.26"))

    def _attempt(self, job_id: str) -> int:
        return self.known.require(job_id).job.attempt

    @rule(job_id=jobs, paths=FILES)
    def complete(self, job_id: str, paths: list[str]) -> None:
        files = tuple(e.File(f"videos/{name}", 10, "00", "video/mp4", "mp4", "media") for name in paths)
        self._execute(c.StartAttempt(job_id, "2026.10.26"))
        self._execute(c.CompleteAttempt(job_id, self._attempt(job_id), files, PROGRESS))

    @rule(job_id=jobs, fault=st.sampled_from([NETWORK, PRIVATE]))
    def fail(self, job_id: str, fault: e.Fault) -> None:
        self._execute(c.StartAttempt(job_id, "2026.10.26"))
        self._execute(c.FailAttempt(job_id, self._attempt(job_id), fault, PROGRESS))

    @rule(job_id=jobs, off=st.sampled_from([0, 0, 0, -1, 1]), which=st.integers(0, 5))
    def report(self, job_id: str, off: int, which: int) -> None:
        """What a worker says, of the attempt that runs or of another."""
        attempt = self._attempt(job_id) + off
        reports: tuple[c.AnyJobCommand, ...] = (
            c.RecordMetadata(job_id, attempt, METADATA),
            c.EnterPhase(job_id, attempt, PROGRESS),
            c.RecordLog(job_id, attempt, (e.LogLine(instant(0), "info", "hello"),)),
            c.FailAttempt(job_id, attempt, PRIVATE),
            c.InterruptAttempt(job_id, attempt, "the service ended"),
            c.ConfirmStopped(job_id, attempt, PROGRESS),
        )
        self._execute(reports[which])

    @rule(job_id=jobs, which=st.integers(0, 3))
    def ask(self, job_id: str, which: int) -> None:
        wishes: tuple[c.AnyJobCommand, ...] = (
            c.CancelDownload(job_id),
            c.PauseDownload(job_id),
            c.ResumeDownload(job_id),
            c.RetryDownload(job_id),
        )
        self._execute(wishes[which], "client")

    @precondition(lambda self: len(self.whole.active()) < BATCHES_MAX)
    @rule(target=batches, is_list=st.booleans(), limit=st.integers(1, 2), ignores=st.booleans())
    def submit_batch(self, is_list: bool, limit: int, ignores: bool) -> str:
        batch_id = self._run(self._new_id())
        request = (
            PlaylistDownloadRequest(url=URL, concurrent_limit=limit, ignore_errors=ignores)
            if is_list
            else BatchDownloadRequest(
                urls=(URL, f"{URL}2"),
                concurrent_limit=limit,
                ignore_errors=ignores,
                stop_on_error=not ignores,
            )
        )
        command = c.SubmitBatch(batch_id, order=BatchOrder.of(request), limits=LIMITS, owner="me")
        self._execute_batch(command)
        self._execute_batch(c.StartBatch(batch_id))
        return batch_id

    @rule(batch_id=batches, number=st.integers(1, 3), error=st.sampled_from([None, None, NETWORK]))
    def list_items(self, batch_id: str, number: int, error: e.Fault | None) -> None:
        """A page of the list, parts of which were told before, and now and then the end of it."""
        listed = [e.ListedItem(f"{URL}{one}", one, f"v{one}", "t", "site") for one in range(1, number + 1)]
        items = tuple(e.BatchItem(batch_rules.child_id(batch_id, item), item) for item in listed)
        self._execute_batch(c.RecordItems(batch_id, items, "A list"))
        if number == 3 or error is not None:
            self._execute_batch(c.EndListing(batch_id, error))

    @rule(batch_id=batches, which=st.integers(0, 3))
    def ask_batch(self, batch_id: str, which: int) -> None:
        wishes: tuple[c.AnyBatchCommand, ...] = (
            c.CancelBatch(batch_id),
            c.StopBatch(batch_id),
            c.RetryBatch(batch_id),
            c.StartBatch(batch_id),
        )
        self._execute_batch(wishes[which])

    @precondition(lambda self: bool(self.whole.active()))
    @rule(target=jobs)
    def carry_on(self) -> MultipleResults[str]:
        """What a batch's actor does: submit or retry the next item, cancel what is left, or end the whole."""
        batch = self.whole.require(self.whole.active()[0]).batch
        counts = self.whole.counts(batch.batch_id)
        places = counts[State.QUEUED] + counts[State.RUNNING] + counts[State.STOPPING]
        if batch.state is BatchState.STOPPING:
            for job_id in self.whole.unended(batch.batch_id):
                self._execute(c.CancelDownload(job_id))
        elif places < batch.order.request.concurrent_limit:
            for one in batch.items:
                if (entry := self.known.get(one.job_id)) is None:
                    self._execute(self._submission(batch, one))
                    return multiple(one.job_id)
                if entry.job.ended_at is not None and entry.job.ended_at <= (batch.retried_at or 0):
                    self._execute(c.RetryDownload(one.job_id))
                    return multiple()
        if batch.state is not BatchState.EXPANDING and not self.whole.unended(batch.batch_id):
            completed, failed = counts[State.COMPLETED], counts[State.FAILED]
            tally = e.Tally(completed, failed, len(batch.items) - completed - failed)
            self._execute_batch(c.EndBatch(batch.batch_id, tally, PRIVATE if failed else None))
        return multiple()

    def _submission(self, batch: Batch, one: e.BatchItem) -> c.SubmitDownload:
        request = batch_rules.child_request(batch, one.item)
        return c.SubmitDownload(
            one.job_id, request=request, limits=batch.limits, owner=batch.owner, batch_id=batch.batch_id
        )

    @rule(job_id=jobs, reason=st.sampled_from(["retention", "quota"]))
    def delete(self, job_id: str, reason: e.DeletionReason) -> None:
        self._execute(c.RecordFilesDeleted(job_id, reason))

    @rule(job_id=jobs, at=st.sampled_from([None, instant(2_000_000_000 * SECOND)]))
    def schedule(self, job_id: str, at: e.Instant | None) -> None:
        self._execute(c.ScheduleDeletion(job_id, at))

    @rule(job_id=jobs, paths=FILES)
    def miss(self, job_id: str, paths: list[str]) -> None:
        self._execute(c.RecordFilesMissing(job_id, tuple(f"videos/{path}" for path in paths)))

    @rule(seconds=st.sampled_from([1, 60, 4_000]))
    def wait(self, seconds: int) -> None:
        self._run(asyncio.sleep(seconds))

    @rule()
    def restart(self) -> None:
        """The process ends as if killed, and another one replays."""
        self.log = MemoryLog(self.log.records)
        self._open()

    @invariant()
    def everything_holds(self) -> None:
        told = self.told
        for record in self.log.records[told.position :]:
            told.take(record)
        told.end()
        folded = told.jobs
        served = {entry.job.job_id: entry.job for entry in self.known.page(limit=200).entries}
        hold(served == folded, "what is served is not the fold of the log")
        hold(set(self.acknowledged) <= set(folded), "an accepted job is lost")
        for state in State:
            hold(self.known.count(state) == sum(job.state is state for job in folded.values()), "miscounted")
        for job in folded.values():
            hold(job.failures <= job.limits.retries + 1, f"{job.job_id} failed {job.failures} times")
            hold((job.state in FINAL) == (job.ended_at is not None) or job.state is State.QUEUED, "no end")
            hold(job.state not in ACTIVE or job.attempt > 0, "an attempt without a number")
        self._check_batches(told.batches)
        self._check_files(folded)
        self._check_queue()

    def _check_batches(self, folded: dict[str, Batch]) -> None:
        served = {entry.batch.batch_id: entry.batch for entry in self.whole.page(limit=200).entries}
        hold(served == folded, "the batches that are served are not the fold of the log")
        active = [name for name, batch in folded.items() if batch.state not in batch_rules.FINAL]
        hold(sorted(self.whole.active()) == sorted(active), "what is under way is not what has not ended")
        for batch_id in folded:
            states = Counter(job.state for job in self._jobs_of(batch_id))
            hold(self.whole.counts(batch_id) == states, "the jobs of a batch are miscounted")

    def _jobs_of(self, batch_id: str) -> list[Job]:
        jobs = (entry.job for entry in self.known.in_creation_order())
        return [job for job in jobs if job.batch_id == batch_id]

    def _check_files(self, folded: dict[str, Job]) -> None:
        for stored in self.files.stored():
            job = folded[stored.job_id]
            hold(job.state is State.COMPLETED and job.files_deleted_at is None, "a file of no completed job")
        stored_bytes = sum(stored.file.size_bytes for stored in self.files.stored())
        hold(self.files.stored_bytes == stored_bytes, "the bytes do not add up")

    def _check_queue(self) -> None:
        queue = Queue()
        for entry in self.known.page(limit=200).entries:
            queue.note(entry)
        hold(len(queue) == self.known.count(State.QUEUED), "the queue is not what is queued")

    def teardown(self) -> None:
        self._run(self.log.stop())
        self.runner.close()


TestCore = Core.TestCase
TestCore.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
