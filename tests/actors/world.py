"""The core of the service around a scripted engine: real dispatcher, projections and actors, no processes."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from tests.domain.builders import LIMITS, METADATA
from tests.virtual import VirtualClock
from umd.actors.admission import Admission
from umd.actors.batch_crew import BatchCrew
from umd.actors.cleanup import Cleanup
from umd.actors.crew import Crew
from umd.actors.expansion import BatchOffice
from umd.actors.jars import Jars
from umd.actors.job import Workshop
from umd.actors.recovery import recover
from umd.actors.space import Space
from umd.actors.supervisor import Supervisor
from umd.actors.sweep import Stock, Sweep
from umd.dispatcher import Dispatcher
from umd.domain import commands as c
from umd.domain import destinations
from umd.domain.batch import FINAL as BATCH_FINAL
from umd.domain.batch import Batch
from umd.domain.events import Limits, ListedItem, Progress
from umd.domain.job import Job, State
from umd.domain.options import AnyBatchRequest, BatchOrder, DownloadRequest, MediaOptions
from umd.engine.protocol import (
    AnyReport,
    Assignment,
    Ended,
    Entered,
    Extracted,
    Finished,
    Listed,
    ListingFailed,
    Tick,
)
from umd.live import Live
from umd.log.memory import MemoryLog
from umd.projections.jobs import Entry
from umd.projections.models import Models
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


class RoomyVolume(Volume):
    """A volume whose free space is what a test says."""

    free = 2**40

    def free_bytes(self) -> int:
        return self.free


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


@dataclass
class ScriptedLister:
    """Tells the lists that it was given, page by page; an error among the pages is raised, once."""

    lists: dict[str, list[Listed | ListingFailed | Pause]] = field(default_factory=dict)
    pages: dict[str, ListedItem] = field(default_factory=dict)
    asked: list[tuple[str, int]] = field(default_factory=list)
    looked_up: list[str] = field(default_factory=list)
    reading: int = 0

    async def listing(
        self, url: str, options: MediaOptions, owner: str, items_max: int
    ) -> AsyncGenerator[Listed, None]:
        self.asked.append((url, items_max))
        self.reading += 1
        left = items_max
        try:
            for page in list(self.lists.get(url, ())):
                await asyncio.sleep(0)
                if isinstance(page, ListingFailed):
                    self.lists[url].remove(page)
                    raise page
                if isinstance(page, Pause):
                    await asyncio.sleep(page.seconds)
                elif left > 0:
                    yield msgspec.structs.replace(page, items=page.items[:left])
                    left -= len(page.items)
        finally:
            self.reading -= 1

    async def lookup(self, item: ListedItem, options: MediaOptions, owner: str) -> ListedItem | None:
        self.looked_up.append(item.url)
        await asyncio.sleep(0)
        return self.pages.get(item.url)


class World:
    """Everything below HTTP."""

    def __init__(
        self,
        root: Path,
        settings: Settings | None = None,
        log: MemoryLog | None = None,
        *,
        clock: VirtualClock | None = None,
        engine: ScriptedEngine | None = None,
        lister: ScriptedLister | None = None,
    ) -> None:
        self.settings = settings or Settings()
        self.clock = clock or VirtualClock()
        self.log = log or MemoryLog()
        self.models = Models()
        self.jobs = self.models.jobs
        self.batches = self.models.batches
        self.releases = self.models.releases
        self.archive = self.models.archive
        self.files = self.models.files
        self.live = Live()
        self.engine = engine or ScriptedEngine()
        self.volume = RoomyVolume(root)
        self.cookies = CookieStore(root, Vault(()))
        self.dispatcher = Dispatcher(
            self.log, self.jobs, self.batches, self.releases, self.models.sweeps, self.clock
        )
        self.workshop = Workshop(
            self.dispatcher,
            self.jobs,
            self.engine,
            self.volume,
            self.live,
            self.clock,
            self.settings.stall_timeout_sec,
            Jars(self.cookies, self.clock),
        )
        self.fatal: list[BaseException] = []
        self.supervisor = Supervisor("jobs", self.fatal.append)
        self.crew = Crew(self.workshop, self.supervisor)
        self.space = Space(self.settings, self.volume, self.files)
        self.admission = Admission(self.settings, self.clock, self.jobs, self.space, self.crew.start_job)
        stock = Stock(self.dispatcher, self.jobs, self.files, self.models.sweeps, self.volume, self.clock)
        self.cleanup = Cleanup(stock, self.space, Sweep(stock, self.settings.orphan_grace_sec))
        self.lister = lister or ScriptedLister()
        office = BatchOffice(
            self.dispatcher,
            self.batches,
            self.jobs,
            self.archive,
            self.admission,
            self.lister,
            destinations.rules_of(self.settings),
        )
        self.batch_supervisor = Supervisor("batches", self.fatal.append)
        self.batch_crew = BatchCrew(office, self.batch_supervisor, self.settings.batches_max)

    async def start(self) -> None:
        self.volume.prepare()
        await self.log.start(models=self.models)
        await self.recover()
        for follower in (
            self.admission.apply,
            self.crew.apply,
            self.batch_crew.apply,
            self.cleanup.apply,
        ):
            self.log.follow(follower)
        await self.act()

    async def act(self) -> None:
        await self.admission.start()
        await self.cleanup.start()
        self.batch_crew.start()

    async def recover(self) -> None:
        await recover(self.workshop, self.files)

    async def stop(self) -> None:
        await self.batch_crew.stop()
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

    async def submit_batch(
        self, request: AnyBatchRequest, limits: Limits = LIMITS, owner: str = "anonymous"
    ) -> str:
        batch_id = self.clock.new_id()
        command = c.SubmitBatch(batch_id, order=BatchOrder.of(request), limits=limits, owner=owner)
        with self.batch_crew.intake():
            await self.dispatcher.execute_batch(command, correlation="test")
        return batch_id

    async def batch_end(self, batch_id: str) -> Batch:
        return (await self.batches.when(batch_id, lambda batch: batch.state in BATCH_FINAL)).batch

    def batch(self, batch_id: str) -> Batch:
        return self.batches.require(batch_id).batch

    async def until(self, job_id: str, *states: State) -> Job:
        entry: Entry = await self.jobs.when(job_id, lambda job: job.state in states)
        return entry.job

    async def known(self, job_id: str) -> None:
        """Wait until a batch has submitted this job of its."""
        async with asyncio.timeout(3_600):
            while self.jobs.get(job_id) is None:  # noqa: ASYNC110  # nobody can watch what is not there
                await asyncio.sleep(0.01)

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
