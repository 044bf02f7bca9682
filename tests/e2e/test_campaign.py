"""A campaign of crashes: somebody is killed at random, under load, over and over."""

import asyncio
import os
import random  # noqa: TID251  # seeded, and the seed is told
import signal
from contextlib import suppress
from pathlib import Path

import aiohttp
import psutil
import pytest

from tests.e2e.service import Json, Service
from tests.invariants import check, survivors
from tests.site import Site

WARM_SHARE = 0.8
"""The other deaths come while the workers still warm up."""
JOBS_EACH = 4
LOAD_SEC_MAX = 0.8
"""So long, at most, a cycle goes on before somebody dies."""

TARGETS = ("service", "service", "zygote", "child", "group", "polite")


class Campaign:
    """One data directory, and a client that keeps a ledger of what it was answered."""

    def __init__(self, data_dir: Path, site: Site, seed: int) -> None:
        self.random = random.Random(seed)
        self.service = Service(data_dir, max_concurrent_downloads=8, max_retries=20)
        self.accepted: list[str] = []
        self.ready_sec: list[float] = []
        self.killed: list[str] = []
        self._site = site
        self._seed = seed
        self._numbers = iter(range(1_000_000))

    async def cycle(self) -> None:
        """Start, submit, let somebody die at some instant, and the service in any case."""
        await self.start()
        loading = asyncio.create_task(self.submit())
        if self.random.random() < WARM_SHARE:
            await self.service.warm()
        target = self.random.choice(TARGETS)
        self.killed.append(target)
        await asyncio.sleep(self.random.uniform(0, LOAD_SEC_MAX))  # the instant is what is tried
        if target in ("zygote", "child", "group"):
            self.kill_worker(target)
            await asyncio.sleep(self.random.uniform(0, LOAD_SEC_MAX / 4))
        engine = self.service.processes()
        await self.service.stop(signal.SIGTERM if target == "polite" else signal.SIGKILL)
        await asyncio.wait([loading])
        loading.exception()
        alive = await asyncio.to_thread(survivors, engine)
        assert alive == [], f"processes outlived the service after the end of {target}"

    async def start(self) -> None:
        await self.service.start()
        self.ready_sec.append((await self.service.logged("app.ready"))["seconds"])

    async def submit(self) -> None:
        """Submit jobs; only what is answered goes into the ledger."""
        with suppress(aiohttp.ClientError, AssertionError):
            for _ in range(JOBS_EACH):
                number = next(self._numbers)
                self.accepted.append(await self.service.submit(self.url(number)))

    def url(self, number: int) -> str:
        name = f"campaign-{self._seed}-{number}"
        match number % 4:
            case 0:
                return self._site.url(f"/media/1mb/{name}.mp4", rate=3_000_000)
            case 1:
                return self._site.url(f"/site/video/{name}", formats="split", rate=1_000_000)
            case _:
                return self._site.url(f"/media/small/{name}.mp4", rate=200_000)

    def kill_worker(self, target: str) -> None:
        """Kill the warm process, or a child of its, alone or with its whole group."""
        with suppress(psutil.Error, ProcessLookupError):
            zygotes = psutil.Process(self.service.pid).children()
            children = [child for zygote in zygotes for child in zygote.children()]
            victims = zygotes if target == "zygote" else children
            if victims:
                victim = self.random.choice(victims)
                if target == "group":
                    os.killpg(victim.pid, signal.SIGKILL)
                else:
                    victim.kill()

    async def settle(self) -> dict[str, Json]:
        """Let every job come to its end; returns what GET says of each."""
        await self.start()
        known = await self.known()
        async with asyncio.timeout(120):
            return {job_id: await self.service.final(job_id) for job_id in reversed(known)}

    async def known(self) -> list[str]:
        found: list[str] = []
        cursor = ""
        while True:
            page = await self.service.call("GET", f"download?limit=200{cursor}")
            found += [job["request_id"] for job in page["items"]]
            if page["next"] is None:
                return found
            cursor = f"&cursor={page['next']}"


async def campaign(data_dir: Path, site: Site, seed: int, cycles: int) -> None:
    run = Campaign(data_dir, site, seed)
    for _ in range(cycles):
        await run.cycle()
    served = await run.settle()
    assert await run.service.stop() == 0
    await asyncio.to_thread(check, data_dir, run.accepted, served=served)

    assert len(run.accepted) >= cycles, "there was load"
    failed = [job["error"] for job in served.values() if job["status"] != "completed"]
    assert failed == [], f"seed {seed}"
    first, *after_crashes = run.ready_sec
    assert min(after_crashes) <= 2 * first, "recovery takes longer than a start does"


@pytest.mark.parametrize("seed", range(5))
async def test_25_crashes_lose_nothing_double_nothing_and_leave_nobody(
    tmp_path: Path, site: Site, seed: int
) -> None:
    await campaign(tmp_path, site, seed, cycles=5)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(5, 25))
async def test_200_crashes_lose_nothing_double_nothing_and_leave_nobody(
    tmp_path: Path, site: Site, seed: int
) -> None:
    await campaign(tmp_path, site, seed, cycles=10)
