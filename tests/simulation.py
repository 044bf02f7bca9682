"""One seed, one world: the real core on the memory log, with faults drawn from the seed, in virtual time.

Dispatcher, actors, supervisors and projections are the service's own; the worker is played, and the log,
the volume and the clients misbehave as real ones may. The service is killed and started again some times,
then the faults end, everything is let come to its end, and the invariants are checked.

    python -m tests.simulation PART PARTS

lives the seeds of one part of all, and says after each slice of them that it is through.
"""

import asyncio
import logging
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random  # noqa: TID251  # seeded by the test

import msgspec
import structlog

from tests.actors.world import (
    Crash,
    Hang,
    Pause,
    ScriptedAttempt,
    ScriptedEngine,
    ScriptedLister,
    Step,
    World,
    Write,
)
from tests.domain.builders import LIMITS, METADATA, NETWORK, PRIVATE
from tests.histories import history, hold
from tests.invariants import check_acknowledged, check_disk, check_live
from tests.virtual import SeededLoop, VirtualClock, run_virtual
from umd.actors.actor import Actor
from umd.actors.supervisor import Supervisor
from umd.clock import SECOND, instant
from umd.domain import commands as c
from umd.domain.events import ListedItem, Progress
from umd.domain.job import FINAL, State
from umd.domain.options import (
    AnyBatchRequest,
    BatchDownloadRequest,
    ChannelDownloadRequest,
    MediaOptions,
    PlaylistDownloadRequest,
)
from umd.engine.protocol import (
    Assignment,
    Ended,
    Entered,
    Extracted,
    Finished,
    Listed,
    ListingFailed,
    Said,
    Tick,
)
from umd.errors import EngineError, StorageFull, UmdError
from umd.log import Record
from umd.log.memory import MemoryLog
from umd.settings import Settings

SEEDS = 2_000
SLICES = 20
MEMORY = Path("/dev/shm")  # noqa: S108  # no secrets, and no disk to wait for

JOBS_MAX = 4
BATCH_JOBS = 3
LIVES_MAX = 3
LIFE_SEC_MAX = 40.0
SETTLE_SEC = 90_000
SITES = ("a", "b")
LIST = "https://a.example/list"
OWN_HAND = "client"
"""What a client does with the jobs of a batch is not its actor's doing, and bears another correlation."""
SETTINGS = Settings(max_concurrent_downloads=2, max_concurrent_per_site=1, drain_sec=3)


class Faults:
    """What goes wrong, drawn from the seed; nothing any more once `calm` is set."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.calm = False

    def strike(self, chance: float) -> bool:
        return not self.calm and self.random.random() < chance


class FaultyLog(MemoryLog):
    """A log that takes its time, is full now and then, and fails with an outcome that nobody knows."""

    def __init__(self, records: Sequence[Record], faults: Faults) -> None:
        super().__init__(records, on_failure=lambda _: self.failed.set())
        self.failed = asyncio.Event()
        self.dead = False
        self._faults = faults

    async def _store(self, records: Sequence[Record]) -> None:
        await asyncio.sleep(self._faults.random.choice((0, 0, 0.001, 0.5)))
        if self.dead:
            raise OSError("the process is dead")
        if self._faults.strike(0.03):
            raise StorageFull("no space for the log")
        if self._faults.strike(0.01):
            if self._faults.strike(0.5):
                self._keep(records)
            self.dead = True
            raise OSError("the disk does not say what became of it")
        self._keep(records)


class SimulatedAttempt(ScriptedAttempt):
    """A worker that is counted while it lives."""

    def __init__(self, assignment: Assignment, steps: tuple[Step, ...], engine: "SimulatedEngine") -> None:
        super().__init__(assignment, steps)
        self._job_id = assignment.job_id
        self._engine = engine

    async def stop(self) -> Ended:
        await asyncio.sleep(self._engine.faults.random.choice((0, 0, 0.2, 4)) if not self._gone else 0)
        ended = await super().stop()
        if not self._gone:
            self._gone = True
            self._engine.live.remove(self._job_id)
        return ended

    _gone = False


class SimulatedEngine(ScriptedEngine):
    """Workers that succeed, fail, hang, stall and crash as the seed has it."""

    def __init__(self, faults: Faults) -> None:
        super().__init__()
        self.faults = faults
        self.live: list[str] = []

    async def run(self, assignment: Assignment) -> ScriptedAttempt:
        await asyncio.sleep(self.faults.random.choice((0, 0.02)))
        if self.faults.strike(0.03):
            raise EngineError("no process can be made")
        if self.faults.strike(0.02):
            raise RuntimeError("a bug in the engine")
        self.live.append(assignment.job_id)
        hold(self.live.count(assignment.job_id) == 1, f"two live attempts of {assignment.job_id}")
        return SimulatedAttempt(assignment, self._script(assignment), self)

    def _script(self, assignment: Assignment) -> tuple[Step, ...]:
        random = self.faults.random
        number = assignment.job_id[-4:]
        steps: list[Step] = [
            Extracted(msgspec.structs.replace(METADATA, title=random.choice(("same", number)))),
            Entered(Progress("downloading")),
            Said("info", "hello"),
            Write("media.mp4.part", b"half"),
            Tick(Progress("downloading", 50.0, 2, 4)),
            Pause(random.choice((0.01, 1.0, 30.0))),
            Write("media.mp4", number.encode()),
            *([Write("media.en.srt", b"words")] if random.random() < 0.3 else []),
            Finished(main="media.mp4"),
        ]
        if self.faults.strike(0.3):
            end: Step = random.choice(
                (Finished(NETWORK), Finished(NETWORK), Finished(PRIVATE), Crash(-9), Crash(1), Hang())
            )
            return (*steps[: random.randrange(len(steps))], end)
        return tuple(steps)


class SimulatedLister(ScriptedLister):
    """A site whose list has a few videos, and which is slow, refuses or breaks its reader."""

    def __init__(self, faults: Faults) -> None:
        super().__init__()
        self.faults = faults

    async def listing(
        self, url: str, options: MediaOptions, owner: str, items_max: int
    ) -> AsyncGenerator[Listed, None]:
        for number in range(1, min(items_max, BATCH_JOBS) + 1):
            await asyncio.sleep(self.faults.random.choice((0, 0, 0.01, 5)))
            if self.faults.strike(0.1):
                raise ListingFailed(self.faults.random.choice((NETWORK, PRIVATE)))
            if self.faults.strike(0.03):
                raise RuntimeError("a bug in the lister")
            yield Listed((ListedItem(batch_url(number), number, f"v{number}", "t", "site"),), "A list")


def batch_url(number: int) -> str:
    return f"https://{SITES[number % len(SITES)]}.example/{number}"


class Life(World):
    """The service from one start to its end, which may come at any instant."""

    def __init__(self, root: Path, records: Sequence[Record], clock: VirtualClock, faults: Faults) -> None:
        self.faults = faults
        self.faulty_log = self.make_log(records)
        self.played = SimulatedEngine(faults)
        lister = SimulatedLister(faults)
        super().__init__(root, SETTINGS, self.faulty_log, clock=clock, engine=self.played, lister=lister)
        self.broken = asyncio.Event()
        self.supervisor._escalate = self.batch_supervisor._escalate = self._break
        self.root = Supervisor("root", self._break, restarts_max=5, period_sec=30)
        self._afflict()

    def make_log(self, records: Sequence[Record]) -> FaultyLog:
        return FaultyLog(records, self.faults)

    def _break(self, _fault: BaseException) -> None:
        self.broken.set()

    def _afflict(self) -> None:
        """Let the volume refuse in the middle, and let an actor that looks at it crash."""
        move, lacking = self.volume._move, self.space.lacking_bytes

        def moved(source: Path, target: Path) -> None:
            if self.faults.strike(0.03):
                self.faulty_log.dead = self.faults.strike(0.5)
                raise OSError(5, "Input/output error")
            move(source, target)

        async def looked() -> int:
            if self.faults.strike(0.01):
                raise RuntimeError("a bug in an actor")
            return 1 if self.faults.strike(0.05) else await lacking()

        self.volume._move = moved  # type: ignore[method-assign]  # where a disk may fail
        self.space.lacking_bytes = looked  # type: ignore[method-assign]  # where an actor may

    async def act(self) -> None:
        for actor in (self.admission, self.cleanup):
            self._keep(actor)
        self.batch_crew.start()

    def _keep(self, actor: Actor[None]) -> None:
        self.root.start(actor.name, lambda: actor)

    async def stop(self) -> None:
        await self.batch_crew.stop()
        self.admission.close()
        await self.crew.stop(self.settings.drain_sec)
        await self.root.stop()
        await self.log.stop()


class Client:
    """Submits jobs and a batch and changes his mind, and keeps a ledger of what he was answered."""

    def __init__(self, random: Random, clock: VirtualClock) -> None:
        self.accepted: list[str] = []
        self.batches: list[str] = []
        self._random = random
        self._clock = clock

    async def visit(self, life: Life) -> None:
        """Some requests at some instants, until the service is gone."""
        while self._has_wishes() or self._random.random() < 0.7:
            await asyncio.sleep(self._random.choice((0, 0.01, 1.0, 8.0)))
            with suppress(UmdError):
                if self._has_wishes() and self._random.random() < 0.6:
                    await self._submit(life)
                elif self.batches and self._random.random() < 0.3:
                    await self._change_batch(life, self._random.choice(self.batches))
                elif jobs := self._known(life):
                    change = self._change(self._random.choice(jobs))
                    await life.dispatcher.execute(change, correlation=OWN_HAND)

    def _has_wishes(self) -> bool:
        return len(self.accepted) + BATCH_JOBS * len(self.batches) < JOBS_MAX

    def _known(self, life: Life) -> list[str]:
        """His jobs, and those of his batches that he can see."""
        items = (one for name in self.batches for one in life.batch(name).items)
        return [*self.accepted, *(one.job_id for one in items if life.jobs.get(one.job_id))]

    async def _change_batch(self, life: Life, batch_id: str) -> None:
        change = self._random.choice((c.CancelBatch(batch_id), c.RetryBatch(batch_id)))
        await life.dispatcher.execute_batch(change, correlation=OWN_HAND)

    def _batch_request(self) -> AnyBatchRequest:
        limit, ignores = self._random.randint(1, BATCH_JOBS), self._random.random() < 0.7
        urls = tuple(map(batch_url, range(1, BATCH_JOBS + 1)))
        stops = self._random.random() < 0.3
        return self._random.choice(
            (
                BatchDownloadRequest(
                    urls=urls, concurrent_limit=limit, ignore_errors=ignores, stop_on_error=stops
                ),
                PlaylistDownloadRequest(url=LIST, concurrent_limit=limit, ignore_errors=ignores),
                ChannelDownloadRequest(url=LIST, concurrent_limit=limit, ignore_errors=ignores),
            )
        )

    async def _submit(self, life: Life) -> None:
        if not self.batches and self._random.random() < 0.3:
            self.batches.append(await life.submit_batch(self._batch_request()))
            return
        limits = msgspec.structs.replace(LIMITS, retention_sec=self._random.choice((None, 20, 3_600)))
        url = f"https://{self._random.choice(SITES)}.example/v"
        self.accepted.append(await life.submit(url, limits, self._random.randint(-1, 1)))

    def _change(self, job_id: str) -> c.AnyJobCommand:
        later = instant(self._clock.now() + self._random.choice((0, 30)) * SECOND)
        return self._random.choice(
            (
                c.CancelDownload(job_id),
                c.PauseDownload(job_id),
                c.ResumeDownload(job_id),
                c.ResumeDownload(job_id),
                c.RetryDownload(job_id),
                c.ScheduleDeletion(job_id, self._random.choice((None, later))),
            )
        )


class Simulation:
    """All lives of one service, from one seed. `make_life` may plant a bug."""

    def __init__(self, root: Path, seed: int, make_life: type[Life] = Life) -> None:
        self.random = Random(seed)
        self.faults = Faults(self.random)
        self.root = root
        self._make_life = make_life

    def run(self) -> list[Record]:
        """Live, settle, check; returns the log. Raises `AssertionError` for what must not be."""
        return run_virtual(self._run(), self.random)

    async def _run(self) -> list[Record]:
        clock = VirtualClock()
        client = Client(self.random, clock)
        records: list[Record] = []
        for _ in range(self.random.randint(1, LIVES_MAX)):
            records = await self._live(self._make_life(self.root, records, clock, self.faults), client)
            for position, record in enumerate(records, 1):
                hold(record.position == position, f"row {position} has position {record.position}")
        self.faults.calm = True
        life = self._make_life(self.root, records, clock, self.faults)
        await life.start()
        await self._settle(life)
        await life.stop()
        self._check(life, client)
        return life.log.records

    async def _live(self, life: Life, client: Client) -> list[Record]:
        """A life that ends at some instant: politely, by a fault of its own, or as if killed."""
        polite = self.random.random() < 0.3
        work = [
            asyncio.create_task(self._start_and_visit(life, client)),
            asyncio.create_task(life.broken.wait()),
            asyncio.create_task(life.faulty_log.failed.wait()),
        ]
        span = self.random.uniform(0, LIFE_SEC_MAX)
        await asyncio.wait(work, timeout=span, return_when=asyncio.FIRST_COMPLETED)
        if polite and work[0].done() and not life.faulty_log.dead:
            await life.stop()
        life.faulty_log.dead = True
        await _kill_everybody()
        if work[0].done() and not work[0].cancelled() and (error := work[0].exception()) is not None:
            hold(isinstance(error, UmdError | OSError), f"the service ended with {error!r}")
        return life.log.records

    async def _start_and_visit(self, life: Life, client: Client) -> None:
        await life.start()
        visiting = asyncio.create_task(client.visit(life))
        await visiting
        await asyncio.sleep(self.random.uniform(0, LIFE_SEC_MAX))

    async def _settle(self, life: Life) -> None:
        """Let every job and batch come to its end; the paused ones are resumed."""
        for entry in life.jobs.in_state(State.PAUSED):
            await life.dispatcher.execute(c.ResumeDownload(entry.job.job_id))
        try:
            async with asyncio.timeout(SETTLE_SEC):
                for batch_id in life.batches.active():
                    await life.batch_end(batch_id)
                for entry in life.jobs.page(limit=200).entries:
                    await life.until(entry.job.job_id, *FINAL)
                await life.idle()
        except TimeoutError:
            stuck = [(one.job.job_id, one.job.state) for one in life.jobs.in_state(*(set(State) - FINAL))]
            hold(condition=False, what=f"never ended: {stuck}, batches {life.batches.active()}")

    def _check(self, life: Life, client: Client) -> None:
        told = history(life.log.records)
        jobs = told.jobs
        check_acknowledged(told, (*client.accepted, *client.batches), settled=True)
        check_disk(self.root, jobs)
        check_live(jobs.values(), life.played.live)
        served = {entry.job.job_id: entry.job for entry in life.jobs.page(limit=200).entries}
        hold(served == jobs, "what is served is not the fold of the log")
        whole = {entry.batch.batch_id: entry.batch for entry in life.batches.page(limit=200).entries}
        hold(whole == told.batches, "the batches that are served are not the fold of the log")
        for batch_id in whole:
            states = Counter(job.state for job in jobs.values() if job.batch_id == batch_id)
            hold(life.batches.counts(batch_id) == states, f"the jobs of batch {batch_id} are miscounted")
        hold(not life.broken.is_set(), "the service broke although nothing went wrong any more")


async def _kill_everybody() -> None:
    """Nobody of this life works on: what they hold is gone, as with a process that is killed."""
    me = asyncio.current_task()
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SeededLoop)
    others = [task for task in loop.tasks if task is not me and not task.done()]
    loop.tasks.clear()
    for task in others:
        task.cancel()
    if others:
        await asyncio.wait(others)


@contextmanager
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="umd-", dir=MEMORY if MEMORY.is_dir() else None))
    try:
        yield path
    finally:
        shutil.rmtree(path)


def live(seed: int, make_life: type[Life] = Life) -> list[Record]:
    """The world of a seed; what breaks it tells the seed."""
    with folder() as root:
        try:
            return Simulation(root, seed, make_life).run()
        except BaseException as error:
            error.add_note(f"seed {seed}: repeat it with UMD_TEST_SEED={seed} -k one_seed")
            raise


def be_quiet() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


def main(part: int, parts: int) -> None:
    be_quiet()
    each = SEEDS // SLICES
    for start in range(0, SEEDS, each):
        for seed in range(start + part, start + each, parts):
            live(seed)
        print(start // each, flush=True)  # noqa: T201  # who started this process waits for it


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
