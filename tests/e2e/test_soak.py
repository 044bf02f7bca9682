"""A steady load for twenty minutes: what the service uses at its end is what it used at its beginning.

`SOAK_MINUTES` is how long, `SOAK_DIR` where the graph and the figures go (`soak/` of the checkout).
"""

import asyncio
import os
import random  # noqa: TID251  # seeded
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
import pytest

from tests.e2e.service import ROOT, Service, running
from tests.e2e.test_seen import samples
from tests.invariants import check
from tests.site import Site

MINUTES = float(os.environ.get("SOAK_MINUTES", "20"))
FOLDER = Path(os.environ.get("SOAK_DIR", ROOT / "soak"))

CLIENTS = 4
SUBSCRIBERS = 8
WARM_SEC = 20.0
KILL_EVERY_SEC = 20.0
LOOK_EVERY_SEC = 1.0
REST_SEC_MAX = END_SEC_MAX = 180.0
CANCELS = 0.3
MIB = 2**20

MEMORY_SLACK_BYTES = 24 * MIB
"""What an allocator may keep of a peak."""
JOB_BYTES_MAX = 8_192
"""What the service has to remember of each job that it knows."""


@dataclass(frozen=True)
class Use:
    """What the service uses at one moment; `memory` is that of its own process, `engine` of all below it."""

    at: float
    memory: float
    engine: float
    descriptors: float
    threads: float
    tasks: float
    running: float


class Soak:
    """Clients, subscribers, and somebody who kills the warm process now and then."""

    def __init__(self, service: Service, site: Site, seed: int = 1) -> None:
        self.service = service
        self.accepted: list[str] = []
        self.uses: list[Use] = []
        self.kills = 0
        self.cancels = 0
        self.streams = 0
        self.probes = 0
        self._site = site
        self._random = random.Random(seed)
        self._numbers = iter(range(10**9))
        self._began = asyncio.get_running_loop().time()

    async def load(self, seconds: float, *, kills: bool) -> None:
        """Everybody at work for so long; what each has begun comes to its end."""
        over = asyncio.get_running_loop().time() + seconds
        async with asyncio.TaskGroup() as tasks:
            for work, count in ((self._work, CLIENTS), (self._subscribe, SUBSCRIBERS)):
                for _ in range(count):
                    tasks.create_task(self._until(over, work))
            tasks.create_task(self._until(over, self._note))
            if kills:
                tasks.create_task(self._until(over, self._kill))

    async def rest(self) -> Use:
        """The use when nothing is left to do: the least that is seen of each, while it still falls."""
        async with asyncio.timeout(REST_SEC_MAX):
            while (await self._note()).running or (await samples(self.service))["umd_sse_subscribers"]:
                pass
        first = len(self.uses)
        for _ in range(5):
            await self._note()
        seen = self.uses[first:]
        return Use(**{name: min(getattr(use, name) for use in seen) for name in asdict(seen[0])})

    def told(self) -> str:
        """What was done."""
        return (
            f"{len(self.accepted)} downloads, {self.cancels} of them cancelled, "
            f"{self.probes} probes answered, {self.streams} event streams, "
            f"{self.kills} kills of the warm process"
        )

    async def _until(self, over: float, act: Callable[[], Awaitable[object]]) -> None:
        while asyncio.get_running_loop().time() < over:
            await act()

    async def _work(self) -> None:
        """One thing that a client does: mostly a download, which it may think better of."""
        draw = self._random.random()
        if draw < 0.1:
            await self._probe()
        elif draw < 0.15:
            await self._batch()
        else:
            job_id = await self.service.submit(self._url())
            self.accepted.append(job_id)
            if self._random.random() < CANCELS:
                await asyncio.sleep(self._random.uniform(0, 1))  # the instant is what is tried
                await self._cancel(job_id)
            await self._follow(f"download/{job_id}")

    async def _probe(self) -> None:
        """A look at a site, which the kill of the warm process may cost its answer."""
        async with self.service.client.get("formats", params={"url": self._url()}) as answer:
            assert answer.status in (200, 502, 504), await answer.text()
            self.probes += answer.status == 200

    async def _batch(self) -> None:
        urls = [self._url() for _ in range(3)]
        batch = await self.service.call("POST", "batch/download", 202, json={"urls": urls})
        await self._follow(f"batch/{batch['batch_id']}")

    async def _follow(self, what: str) -> None:
        """Wait for its end, which ends its stream."""
        async with asyncio.timeout(END_SEC_MAX), self.service.events(f"{what}/events") as events:
            async for _ in events:
                pass

    async def _cancel(self, job_id: str) -> None:
        async with self.service.client.delete(f"download/{job_id}") as answer:
            assert answer.status in (200, 202, 409), await answer.text()
            self.cancels += answer.status != 409

    async def _subscribe(self) -> None:
        """Follow everything for a moment, from now or from the beginning, and go without a word."""
        self.streams += 1
        last = None if self._random.random() < 0.5 else 0
        with suppress(TimeoutError):
            async with (
                asyncio.timeout(self._random.uniform(0.2, 5)),
                self.service.events("events", last=last) as events,
            ):
                async for _ in events:
                    pass

    async def _kill(self) -> None:
        await asyncio.sleep(self._random.uniform(0.5, 1.5) * KILL_EVERY_SEC)  # the instant is what is tried
        with suppress(psutil.Error):
            for zygote in psutil.Process(self.service.pid).children():
                if zygote.children():  # at work: more than five starts in a minute are refused
                    zygote.kill()
                    self.kills += 1

    async def _note(self) -> Use:
        """Look at what is used."""
        await asyncio.sleep(LOOK_EVERY_SEC)
        told = await samples(self.service)
        use = Use(
            at=asyncio.get_running_loop().time() - self._began,
            memory=told["process_resident_memory_bytes"],
            engine=float(await asyncio.to_thread(_memory, self.service.processes())),
            descriptors=told["process_open_fds"],
            threads=float(psutil.Process(self.service.pid).num_threads()),
            tasks=told["umd_event_loop_tasks"],
            running=told["jobs_in_flight"] + told["umd_queue_depth"] + told["umd_probes_in_flight"],
        )
        self.uses.append(use)
        return use

    def _url(self) -> str:
        number = next(self._numbers)
        match number % 4:
            case 0:
                return self._site.url(f"/media/1mb/soak-{number}.mp4", rate=1_000_000)
            case 1:
                return self._site.url(f"/hls/master/soak-{number}.m3u8")
            case _:
                return self._site.url(f"/media/small/soak-{number}.mp4", rate=400_000)


def _memory(processes: Iterable[psutil.Process]) -> int:
    total = 0
    for process in processes:
        with suppress(psutil.Error):
            total += process.memory_full_info().pss
    return total


def draw(uses: list[Use], path: Path) -> None:
    """The graph of everything that was looked at."""
    # Not with the other imports: it takes longer to import than most tests to run.
    from matplotlib.figure import Figure  # noqa: PLC0415

    curves = (
        ("memory, MiB", ("memory", "engine"), MIB),
        ("descriptors", ("descriptors",), 1),
        ("threads and tasks", ("threads", "tasks"), 1),
        ("jobs and probes under way", ("running",), 1),
    )
    figure = Figure(figsize=(12, 10), layout="constrained")
    for axes, (title, names, unit) in zip(figure.subplots(len(curves), sharex=True), curves, strict=True):
        for name in names:
            axes.plot([use.at / 60 for use in uses], [getattr(use, name) / unit for use in uses], label=name)
        axes.set_title(title)
        axes.set_ylim(bottom=0)
        axes.grid(visible=True)
        axes.legend(loc="upper left")
        axes.set_xlabel("minutes")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


@pytest.mark.soak
async def test_a_steady_load_leaves_nothing_behind(tmp_path: Path, site: Site) -> None:
    settings = {"max_concurrent_downloads": 4, "max_retries": 20, "retention_sec": 60, "drain_sec": 0}
    async with running(tmp_path, **settings) as service:
        soak = Soak(service, site)
        try:
            # The pool of threads is at its largest from now on.
            await asyncio.gather(*(samples(service) for _ in range(64)))
            await soak.load(WARM_SEC, kills=False)
            baseline = await soak.rest()
            known = len(soak.accepted)
            await soak.load(60 * MINUTES, kills=True)
            after = await soak.rest()
        finally:
            await asyncio.to_thread(draw, soak.uses, FOLDER / "soak.png")
        figures = f"{soak.told()}\nbefore: {baseline}\nafter: {after}\n"
        await asyncio.to_thread((FOLDER / "soak.txt").write_text, figures)
        ends = [await service.show(job_id) for job_id in soak.accepted]
    await asyncio.to_thread(check, tmp_path, soak.accepted)

    assert [end["error"] for end in ends if end["status"] not in ("completed", "cancelled")] == []
    assert soak.kills
    assert soak.cancels
    assert after.descriptors <= baseline.descriptors
    assert after.threads <= baseline.threads
    assert after.tasks <= baseline.tasks
    grown = MEMORY_SLACK_BYTES + JOB_BYTES_MAX * 2 * (len(soak.accepted) - known)
    assert after.memory <= baseline.memory + grown
    assert after.engine <= baseline.engine + MEMORY_SLACK_BYTES
