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
from umd.domain.events import Tally
from umd.domain.job import FINAL, State
from umd.domain.options import BatchDownloadRequest
from umd.errors import InvalidState
from umd.log import Record
from umd.log.memory import MemoryLog
from umd.settings import Settings

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


def damaged(records: list[Record], stream: str, type_: str) -> list[Record]:
    """The log with one event of a job or a batch made unreadable, its chain intact."""
    return chained(
        *(
            replace(row, data=b'{"type":0}') if (row.stream, row.type) == (stream, type_) else row
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
        log = MemoryLog(damaged(world.log.records, f"job-{frozen}", type_))
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


def with_new_ids(world: World) -> None:
    world.clock._ids = 1_000


@pytest.mark.parametrize("type_", ["batch.queued", "batch.listed", "batch.started"])
def test_an_event_that_cannot_be_read_freezes_its_own_batch(tmp_path: Path, type_: str) -> None:
    """The jobs that it has already, other batches and all else go on."""

    async def main() -> None:
        several = BatchDownloadRequest(urls=(POISON, f"{POISON}?2"), concurrent_limit=1)
        async with running(tmp_path, prepare=hanging) as world:
            frozen, other = await world.submit_batch(several), await world.submit_batch(several)
            child, unborn = (one.job_id for one in world.batch(frozen).items)
            await world.known(child)
            await world.until(child, State.RUNNING)
        log = MemoryLog(damaged(world.log.records, f"batch-{frozen}", type_))
        before = len(log.records)
        async with running(tmp_path, Settings(batches_max=1), log, prepare=with_new_ids) as world:
            assert (await world.until(child, *FINAL)).state is State.COMPLETED
            assert (await world.batch_end(other)).tally == Tally(completed=2)
            for command in (c.CancelBatch(frozen), c.RetryBatch(frozen)):
                with pytest.raises(InvalidState, match=f"of batch {frozen} cannot be read"):
                    await world.dispatcher.execute_batch(command)
            await asyncio.sleep(5_000)
            assert (await world.batch_end(await world.submit_batch(several))).tally == Tally(completed=2)

            assert [row for row in world.log.records[before:] if row.stream == f"batch-{frozen}"] == []
            assert world.jobs.get(unborn) is None
            assert (list(world.batches.frozen), world.jobs.frozen) == ([frozen], {})
            assert (world.fatal, world.batches.active()) == ([], [])
            check = await checks(world).by_name()["event_log"]()
            assert check.status == "degraded"
            assert check.details["first_frozen_batch"] == frozen
            assert check.details["first_damaged"] == world.batches.frozen[frozen]
            assert "frozen_jobs" not in check.details

    run_virtual(main())


def checks(world: World) -> Checks:
    (world.volume.root / "log").mkdir(exist_ok=True)
    unasked: Any = None
    parts = Parts(
        world.log,
        world.jobs,
        world.batches,
        world.volume,
        world.admission,
        unasked,
        unasked,
        world.clock,
        "auto",
        world.releases,
    )
    return Checks(parts)
