"""One running download: record the start, spawn the worker, follow it, place the files, report."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

import structlog

from umd.actors.actor import Actor
from umd.actors.jars import Jars
from umd.clock import Clock, instant
from umd.dispatcher import Dispatcher
from umd.domain import commands as c
from umd.domain import job as rules
from umd.domain import naming
from umd.domain.events import Fault, File, LogLine, Metadata, Progress
from umd.domain.faults import blame, fault
from umd.domain.job import State
from umd.engine.protocol import (
    AnyReport,
    Assignment,
    Attempt,
    CookiesChanged,
    Ended,
    Engine,
    Entered,
    Extracted,
    Finished,
    Listed,
    Probed,
    Said,
    Tick,
    Told,
)
from umd.errors import (
    EngineError,
    InvalidState,
    LogError,
    NotFound,
    ReleaseChanged,
    StaleAttempt,
    StorageFull,
)
from umd.live import Live
from umd.projections.jobs import Entry, Jobs
from umd.storage import volume
from umd.storage.volume import Volume

LINES_MAX = 200
"""Log lines kept of one attempt; the rest is counted."""
LINES_AT_ONCE_MAX = 50
LINES_WAIT_SEC = 1.0
SPACE_WAIT_SEC = 1.0
LIVE_END_SEC_MAX = 120.0
"""How long the end of a live recording may take to become a file."""

_log = structlog.get_logger(__name__)


class Stop(Enum):
    """Why a running attempt is to be ended from outside."""

    REQUEST = auto()
    """A cancel or a pause stands in the log."""
    SHUTDOWN = auto()
    """The service is stopping; the job goes on after it."""


@dataclass(frozen=True)
class Workshop:
    """What every job's actor works with."""

    dispatcher: Dispatcher
    jobs: Jobs
    engine: Engine
    volume: Volume
    live: Live
    clock: Clock
    stall_timeout_sec: float
    jars: Jars


class JobActor(Actor[Stop]):
    """Carries one attempt of one job from its start to its report.

    Whatever goes wrong with the download is data, and is reported as such. Only a log that cannot be
    written makes the actor crash; the one that replaces it settles what was left in the middle.
    """

    def __init__(self, job_id: str, workshop: Workshop) -> None:
        super().__init__(f"job-{job_id}")
        self._job_id = job_id
        self._shop = workshop
        self._number = 0
        self._progress = Progress("extracting")
        self._lines: list[LogLine] = []
        self._lines_since = 0.0
        self._lines_kept = 0
        self._lines_dropped = 0
        self._sign_of_life = 0.0
        self._stop: Stop | None = None
        self._verdict: Fault | None = None
        self._finished: Finished | None = None
        self._cookies: str | None = None

    async def run(self) -> None:
        """The whole attempt."""
        with structlog.contextvars.bound_contextvars(job_id=self._job_id):
            try:
                await settle(self._shop, self._shop.jobs.require(self._job_id), "its actor crashed")
                await self._attempt()
            except (StaleAttempt, InvalidState) as overtaken:
                _log.info("job.overtaken", reason=str(overtaken))
            finally:
                self._shop.live.forget(self._job_id)

    async def _attempt(self) -> None:
        entry = await self._execute(c.StartAttempt(self._job_id, self._shop.engine.ytdlp_version))
        self._number = entry.job.attempt
        self._shop.live.publish(self._job_id, self._progress)
        try:
            folder = await asyncio.to_thread(self._shop.volume.working_folder, self._job_id)
            async with self._spawned(entry, folder) as attempt:
                await self._follow(attempt, folder, rules.time_left(entry.job))
                ended = await attempt.wait()
            await self._flush_lines()
            await self._put_back(entry.job)
            await self._conclude(folder, ended)
        except (LogError, StaleAttempt, InvalidState):
            raise
        except NotFound as missing:
            await self._fail(fault("cookies_not_found", str(missing)))
        except ReleaseChanged as changed:
            await settle(self._shop, self._shop.jobs.require(self._job_id), str(changed))
        except EngineError as error:
            await self._fail(fault("worker_crashed", str(error)))
        except OSError as error:
            await self._fail(_disk_fault(error))
        except Exception as error:  # noqa: BLE001  # the actor's edge: a bug fails this job and no other
            _log.exception("job.bug")
            await self._fail(fault("internal", f"umd failed on this job: {type(error).__name__}."))

    @asynccontextmanager
    async def _spawned(self, entry: Entry, folder: Path) -> AsyncIterator[Attempt]:
        """A running worker that is gone, with all its processes, when the block is left."""
        request = entry.job.request
        copy = await self._shop.jars.copy(request.cookies_id, entry.job.owner)
        assignment = Assignment(
            self._job_id,
            self._number,
            request.url,
            request,
            str(folder),
            copy.netscape,
            hand_back=copy.hand_back,
            ytdlp_version=entry.job.ytdlp_version or "",
        )
        attempt = await self._shop.engine.run(assignment)
        try:
            yield attempt
        finally:
            await attempt.stop()

    async def _put_back(self, job: rules.Job) -> None:
        """Keep what sites have made of the jar, of a worker that did its work and once only."""
        if self._cookies is not None and self._finished is not None and self._finished.fault is None:
            await self._shop.jars.put_back(job.request.cookies_id, job.owner, self._cookies)

    async def _follow(self, attempt: Attempt, folder: Path, time_left: float) -> None:
        """Take the worker's reports until it has ended, and end it when its time is up or someone asks."""
        guard = asyncio.create_task(self._guard(attempt, folder, time_left), name=f"{self.name}/guard")
        try:
            async for report in attempt.reports():
                self._sign_of_life = asyncio.get_running_loop().time()
                await self._take(report)
        finally:
            guard.cancel()
            await asyncio.wait([guard])
        if not guard.cancelled():
            guard.result()

    async def _take(self, report: AnyReport) -> None:
        match report:
            case Tick(progress):
                self._show(progress)
                await self._flush_lines_when_due()
            case Said(level, message):
                self._note_line(LogLine(instant(self._shop.clock.now()), level, message))
                await self._flush_lines_when_due()
            case Extracted(metadata):
                await self._flush_lines()
                await self._execute(c.RecordMetadata(self._job_id, self._number, metadata))
            case Entered(progress, step):
                is_news = progress.phase not in (self._progress.phase, "finished") or step is not None
                self._show(progress)
                if is_news:  # the start told of the first phase, and the outcome will tell of the last
                    await self._flush_lines()
                    await self._execute(c.EnterPhase(self._job_id, self._number, progress, step))
            case CookiesChanged(cookies):
                self._cookies = cookies
            case Finished():
                self._finished = report
            case Listed() | Probed() | Told():
                raise EngineError("A download answered with something else.")

    def _show(self, progress: Progress) -> None:
        self._progress = progress
        self._shop.live.publish(self._job_id, progress)

    # The guard

    async def _guard(self, attempt: Attempt, folder: Path, time_left: float) -> None:
        """Wait for a reason to end the worker before it ends by itself, and do so."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + time_left
        self._sign_of_life = loop.time()
        written = 0
        while True:
            stalls = self._sign_of_life + self._shop.stall_timeout_sec
            try:
                async with asyncio.timeout_at(min(deadline, stalls)):
                    self._stop = await self.mailbox.get()
                break
            except TimeoutError:
                pass
            if loop.time() >= deadline:
                self._verdict = fault("timeout", "The job took longer than its timeout.")
                break
            if loop.time() < self._sign_of_life + self._shop.stall_timeout_sec:
                continue
            before, written = written, await asyncio.to_thread(_bytes_in, folder)
            if written == before:
                self._verdict = fault("network", self._stall_message())
                break
            self._sign_of_life = loop.time()
        if self._stop is Stop.REQUEST and self._pauses_live():
            await self._end_recording(attempt, deadline)
        await attempt.stop()

    async def _end_recording(self, attempt: Attempt, deadline: float) -> None:
        """Let what was recorded become a file; another stop, or too much time, cuts it short.

        When the worker has ended, whoever follows its reports ends this, too.
        """
        await attempt.interrupt()
        with suppress(TimeoutError):
            async with asyncio.timeout_at(
                min(deadline, asyncio.get_running_loop().time() + LIVE_END_SEC_MAX)
            ):
                self._stop = await self.mailbox.get()

    def _pauses_live(self) -> bool:
        """A pause of a live recording: there is nothing to go on with later, so it ends well instead."""
        job = self._shop.jobs.require(self._job_id).job
        return job.stop_intent == "pause" and job.metadata is not None and job.metadata.is_live

    def _stall_message(self) -> str:
        return f"Nothing moved for {self._shop.stall_timeout_sec:.0f} s while {self._progress.phase}."

    # The report

    async def _conclude(self, folder: Path, ended: Ended) -> None:
        """Say what came of the attempt: a stop wins over a verdict, a verdict over the worker's own word."""
        if self._stop is Stop.SHUTDOWN:
            await settle(self._shop, self._shop.jobs.require(self._job_id), "the service stopped")
        elif self._stop is Stop.REQUEST and self._has_recorded():
            await self._complete(folder, self._finished.main if self._finished else None, live_ended=True)
        elif self._stop is Stop.REQUEST:
            await self._confirm_stopped()
        elif self._verdict is not None:
            await self._fail(self._verdict)
        elif self._finished is None:
            await self._fail(_crash_fault(ended))
        elif self._finished.fault is not None:
            await self._fail(blame(self._finished.fault, ended.refusal))
        else:
            await self._complete(folder, self._finished.main)

    def _has_recorded(self) -> bool:
        return self._finished is not None and self._finished.fault is None and self._pauses_live()

    async def _confirm_stopped(self) -> None:
        job = self._shop.jobs.require(self._job_id).job
        if job.stop_intent == "cancel":
            await asyncio.to_thread(self._shop.volume.discard, self._job_id)
        await self._execute(c.ConfirmStopped(self._job_id, self._number, self._progress))

    async def _fail(self, error: Fault) -> None:
        entry = await self._execute(c.FailAttempt(self._job_id, self._number, error, self._progress))
        if entry.job.state is State.CANCELLED or (entry.job.state is State.FAILED and not error.retryable):
            await asyncio.to_thread(self._shop.volume.discard, self._job_id)
        _log.info("job.attempt_failed", attempt=self._number, code=error.code, state=entry.job.state)

    async def _complete(self, folder: Path, main: str | None, *, live_ended: bool = False) -> None:
        metadata = self._shop.jobs.require(self._job_id).job.metadata
        sources = await asyncio.to_thread(volume.sources, folder, main)
        if metadata is None or not sources:
            await self._fail(fault("internal", "The download ended without a result."))
            return
        place = self._place(metadata, sources[0].path.suffix)
        files = await asyncio.to_thread(self._shop.volume.publish, self._job_id, place, sources)
        size = sum(file.size_bytes for file in files)
        total = max(size, self._progress.downloaded_bytes)
        done = Progress(
            "finished", 100.0, self._progress.downloaded_bytes or size, self._progress.total_bytes or total
        )
        entry = await self._execute(c.CompleteAttempt(self._job_id, self._number, files, done, live_ended))
        await self._put_away(entry, files)

    def _place(self, metadata: Metadata, extension: str) -> naming.Place:
        job = self._shop.jobs.require(self._job_id).job
        return naming.place(
            job.request.path_template,
            metadata,
            extension.removeprefix("."),
            random=self._job_id[-8:],
            batch_id=job.batch_id,
        )

    async def _put_away(self, entry: Entry, files: tuple[File, ...]) -> None:
        if entry.job.state is State.COMPLETED:
            await asyncio.to_thread(self._shop.volume.close_publication, self._job_id)
            _log.info("job.completed", attempt=self._number, files=len(files))
        elif entry.job.state is State.CANCELLED:
            await asyncio.to_thread(self._shop.volume.discard, self._job_id)

    # The log lines

    def _note_line(self, line: LogLine) -> None:
        if self._lines_kept >= LINES_MAX and line.level != "error":
            self._lines_dropped += 1
            return
        if not self._lines:
            self._lines_since = asyncio.get_running_loop().time()
        self._lines.append(line)
        self._lines_kept += 1

    async def _flush_lines_when_due(self) -> None:
        waited = asyncio.get_running_loop().time() - self._lines_since
        if len(self._lines) >= LINES_AT_ONCE_MAX or (self._lines and waited >= LINES_WAIT_SEC):
            await self._flush_lines()

    async def _flush_lines(self) -> None:
        if self._lines or self._lines_dropped:
            lines, dropped = tuple(self._lines), self._lines_dropped
            self._lines, self._lines_dropped = [], 0
            await self._execute(c.RecordLog(self._job_id, self._number, lines, dropped))

    async def _execute(self, command: c.AnyJobCommand) -> Entry:
        """Execute a command; while the volume is full, wait for space, for nothing may be lost."""
        while True:
            try:
                entry = await self._shop.dispatcher.execute(command)
                structlog.contextvars.bind_contextvars(position=entry.position)
                return entry
            except StorageFull:
                _log.warning("job.waits_for_space", command=type(command).__name__)
                await asyncio.sleep(SPACE_WAIT_SEC)


async def settle(shop: Workshop, entry: Entry, reason: str) -> None:
    """Report an attempt that nobody carries any more: its worker is gone, and so is who followed it."""
    job = entry.job
    if job.state not in rules.ACTIVE:
        return
    if job.stop_intent == "cancel":
        await asyncio.to_thread(shop.volume.discard, job.job_id)
    await shop.dispatcher.execute(c.InterruptAttempt(job.job_id, job.attempt, reason))


def _bytes_in(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # the worker renames and removes while this looks
            total += path.stat().st_size
    return total


def _crash_fault(ended: Ended) -> Fault:
    if ended.status is not None and ended.status < 0:
        name = signal.Signals(-ended.status).name
        return fault("worker_crashed", f"The worker process was ended by {name}.")
    return fault("worker_crashed", f"The worker process ended with status {ended.status} and no result.")


def _disk_fault(error: OSError) -> Fault:
    if error.errno in volume.NO_SPACE:
        return fault("storage_full", "There is no space left on the volume.")
    return fault("internal", f"The result could not be put into its place: {error.strerror}.")
