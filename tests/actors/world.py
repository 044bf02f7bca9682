"""The core of the service around a scripted engine: real dispatcher, projections and actors, no processes."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.domain.builders import LIMITS, METADATA
from tests.virtual import VirtualClock
from umd.actors.admission import Admission
from umd.actors.cleanup import Cleanup
from umd.actors.crew import Crew
from umd.actors.job import Workshop, settle
from umd.actors.supervisor import Supervisor
from umd.dispatcher import Dispatcher
from umd.domain import commands as c
from umd.domain.events import Limits, Progress
from umd.domain.job import ACTIVE, Job, State
from umd.domain.options import DownloadRequest
from umd.engine.protocol import AnyReport, Assignment, Ended, Entered, Extracted, Finished, Tick
from umd.live import Live
from umd.log.memory import MemoryLog
from umd.projections.files import Files
from umd.projections.jobs import Entry, Jobs
from umd.settings import Settings
from umd.storage.cookies import CookieStore
from umd.storage.vault import Vault
from umd.storage.volume import Volume


@dataclass(frozen=True)
class Pause:
    """The worker says nothing for so long."""

    seconds: float


@dataclass(frozen=True)
class Hang:
    """The worker says nothing until it is stopped."""


@dataclass(frozen=True)
class Write:
    """The worker writes a file into its directory."""

    name: str
    content: bytes


@dataclass(frozen=True)
class Record:
    """The worker records a live stream until it is interrupted or stopped."""


@dataclass(frozen=True)
class Crash:
    """The worker ends without a last word."""

    status: int


Step = AnyReport | Pause | Hang | Record | Write | Crash

GOOD: tuple[Step, ...] = (
    Extracted(METADATA),
    Entered(Progress("downloading")),
    Tick(Progress("downloading", 50.0, 2, 4)),
    Write("media.mp4", b"film"),
    Finished(main="media.mp4"),
)
"""A download as it should be."""


class ScriptedAttempt:
    """A worker that plays its steps."""

    def __init__(self, assignment: Assignment, steps: tuple[Step, ...]) -> None:
        self._folder = Path(assignment.directory)
        self._steps = steps
        self._stopped = asyncio.Event()
        self._interrupted = asyncio.Event()
        self._ended = Ended(0)

    async def reports(self) -> AsyncIterator[AnyReport]:
        for step in self._steps:
            if self._stopped.is_set():
                return
            match step:
                case Pause() | Hang():
                    await self._wait(step.seconds if isinstance(step, Pause) else None)
                case Record():
                    await asyncio.wait(
                        [asyncio.ensure_future(one.wait()) for one in (self._stopped, self._interrupted)],
                        return_when=asyncio.FIRST_COMPLETED,
                    )
                case Write():
                    (self._folder / step.name).write_bytes(step.content)
                case Crash():
                    self._ended = Ended(step.status)
                    return
                case _:
                    await asyncio.sleep(0)
                    yield step

    async def _wait(self, seconds: float | None) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopped.wait()
        except TimeoutError:
            return

    async def interrupt(self) -> None:
        """A recording is finished: the steps after the hang are played."""
        self._interrupted.set()

    async def stop(self) -> Ended:
        self._stopped.set()
        await asyncio.sleep(0)
        return self._ended

    async def wait(self) -> Ended:
        return self._ended


@dataclass
class ScriptedEngine:
    """Plays the steps for a URL, attempt by attempt; the last script serves all that follow."""

    scripts: dict[str, list[tuple[Step, ...]]] = field(default_factory=dict)
    started: list[Assignment] = field(default_factory=list)
    running: set[str] = field(default_factory=set)
    running_max: int = 0

    @property
    def ytdlp_version(self) -> str:
        return "2026.10.26"

    async def run(self, assignment: Assignment) -> ScriptedAttempt:
        scripts = self.scripts.get(assignment.url, [GOOD])
        self.started.append(assignment)
        return ScriptedAttempt(assignment, scripts.pop(0) if len(scripts) > 1 else scripts[0])


class World:
    """Everything below HTTP."""

    def __init__(self, root: Path, settings: Settings | None = None, log: MemoryLog | None = None) -> None:
        self.settings = settings or Settings()
        self.clock = VirtualClock()
        self.log = log or MemoryLog()
        self.jobs = Jobs()
        self.files = Files()
        self.live = Live()
        self.engine = ScriptedEngine()
        self.volume = Volume(root)
        self.cookies = CookieStore(root, Vault(()))
        self.dispatcher = Dispatcher(self.log, self.jobs, self.clock)
        self.workshop = Workshop(
            self.dispatcher,
            self.jobs,
            self.engine,
            self.volume,
            self.live,
            self.clock,
            self.settings.stall_timeout_sec,
            self.cookies,
        )
        self.fatal: list[BaseException] = []
        self.supervisor = Supervisor("jobs", self.fatal.append)
        self.crew = Crew(self.workshop, self.supervisor)
        self.admission = Admission(self.settings, self.clock, self.jobs, self.crew.start_job)
        self.cleanup = Cleanup(self.dispatcher, self.jobs, self.files, self.volume, self.clock)

    async def start(self) -> None:
        self.volume.prepare()
        await self.log.start(self.jobs.apply, self.files.apply)
        for entry in self.jobs.in_state(*ACTIVE):
            await settle(self.workshop, entry, "the service ended")
        for follower in (self.admission.apply, self.crew.apply, self.cleanup.apply):
            self.log.follow(follower)
        await self.admission.start()
        await self.cleanup.start()

    async def stop(self) -> None:
        self.admission.close()
        await self.admission.stop()
        await self.crew.stop(self.settings.drain_sec)
        await self.cleanup.stop()
        await self.log.stop()

    async def submit(
        self, url: str = "https://example.com/a", limits: Limits = LIMITS, priority: int = 0
    ) -> str:
        job_id = self.clock.new_id()
        request = DownloadRequest(url=url, priority=priority)
        with self.admission.intake():
            await self.dispatcher.execute(
                c.SubmitDownload(job_id, request=request, limits=limits, owner="anonymous"),
                correlation="test",
            )
        return job_id

    async def until(self, job_id: str, *states: State) -> Job:
        entry: Entry = await self.jobs.when(job_id, lambda job: job.state in states)
        return entry.job

    async def idle(self) -> None:
        """Wait until no actor of a job is left."""
        await self.supervisor.drain(3_600)

    def types(self, job_id: str) -> list[str]:
        """The types of a job's events."""
        return [
            record.type
            for record in self.log.records
            if record.stream == f"job-{job_id}" and record.kind == "event"
        ]


@asynccontextmanager
async def running(
    root: Path,
    settings: Settings | None = None,
    log: MemoryLog | None = None,
    *,
    prepare: Callable[[World], None] | None = None,
) -> AsyncIterator[World]:
    """A world from its start to its stop."""
    world = World(root, settings, log)
    if prepare is not None:
        prepare(world)
    await world.start()
    try:
        yield world
    finally:
        await world.stop()
