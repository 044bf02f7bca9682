"""A job that kills its worker each time, and an event that cannot be read: each harms itself alone."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from tests.actors.world import Crash, Hang, World, running
from tests.domain.builders import LIMITS
from tests.log.worlds import chained
from tests.virtual import run_virtual
from umd.api.checks import Checks, Parts
from umd.domain import commands as c
from umd.domain.job import FINAL, State
from umd.errors import InvalidState
from umd.log import Record
from umd.log.memory import MemoryLog

POISON = "https://poison.example/v"


def poisoned(world: World) -> None:
    world.engine.scripts[POISON] = [(Crash(-9),)]


def test_a_job_that_kills_its_worker_each_time_fails_after_its_attempts(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, prepare=poisoned) as world:
            poison, other = await world.submit(POISON), await world.submit()
            job = await world.until(poison, *FINAL)

            assert (job.state, job.attempt) == (State.FAILED, 1 + LIMITS.retries)
            assert job.error is not None
            assert job.error.code == "worker_crashed"
            assert (await world.until(other, *FINAL)).state is State.COMPLETED
            assert (world.supervisor.restarts, world.fatal) == (0, [])

    run_virtual(main())


def damaged(records: list[Record], job_id: str, type_: str) -> list[Record]:
    """The log with one event of a job made unreadable, its chain intact."""
    return chained(
        *(
            replace(row, data=b'{"type":0}') if (row.stream, row.type) == (f"job-{job_id}", type_) else row
            for row in records
        )
    )


def hanging(world: World) -> None:
    world.engine.scripts[POISON] = [(Hang(),)]


@pytest.mark.parametrize("type_", ["job.queued", "job.started"])
def test_an_event_that_cannot_be_read_freezes_its_own_job(tmp_path: Path, type_: str) -> None:
    async def main() -> None:
        async with running(tmp_path, prepare=hanging) as world:
            frozen = await world.submit(POISON)
            await world.until(frozen, State.RUNNING)
            waiting = await world.submit(POISON)
        folder = tmp_path / f"temp/job-{frozen}"
        assert folder.exists()
        log = MemoryLog(damaged(world.log.records, frozen, type_))
        before = len(log.records)
        async with running(tmp_path, log=log) as world:
            assert (await world.until(waiting, *FINAL)).state is State.COMPLETED
            with pytest.raises(InvalidState, match="cannot be read"):
                await world.dispatcher.execute(c.CancelDownload(frozen))
            await asyncio.sleep(100_000)

            own = [row for row in world.log.records[before:] if row.stream == f"job-{frozen}"]
            assert own == [], "nothing more is decided for it"
            assert folder.exists()
            assert list(world.jobs.frozen) == [frozen]
            check = await checks(world).by_name()["event_log"]()
            assert check.status == "degraded"
            assert check.details["first_frozen_job"] == frozen
            assert check.details["first_damaged"] == world.jobs.frozen[frozen]

    run_virtual(main())


def checks(world: World) -> Checks:
    (world.volume.root / "log").mkdir(exist_ok=True)
    unasked: Any = None
    parts = Parts(
        world.log,
        world.jobs,
        world.volume,
        world.admission,
        unasked,
        unasked,
        world.clock,
        "auto",
        world.releases,
    )
    return Checks(parts)
