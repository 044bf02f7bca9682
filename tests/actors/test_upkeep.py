"""When the log is put by and pruned, on a virtual clock, and what answers say afterwards."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import structlog

from tests.actors.world import World, running
from tests.virtual import run_virtual
from umd.actors.supervisor import Supervisor
from umd.actors.upkeep import DAY, SLACK, Upkeep
from umd.clock import SECOND
from umd.domain.commands import ScheduleDeletion
from umd.domain.events import ListedItem
from umd.domain.job import FINAL, State
from umd.domain.options import DownloadRequest
from umd.errors import LogReadOnly, StorageFull
from umd.log import Record
from umd.log.memory import MemoryLog
from umd.log.snapshot import Part
from umd.projections.models import Models

DAYS = 2
DAY_SEC = DAY / SECOND
LOOK_SEC = 3_600


@pytest.fixture(autouse=True)
def _look_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    """Days of virtual time, with a look every five seconds, would be minutes of real time."""
    monkeypatch.setattr("umd.actors.upkeep.LOOK_SEC", LOOK_SEC)
    monkeypatch.setattr("umd.actors.cleanup.LOOK_SEC", LOOK_SEC)


@asynccontextmanager
async def kept(
    root: Path, log: MemoryLog | None = None, days: int = DAYS, snapshot_rows: int = 1_000
) -> AsyncIterator[World]:
    """A world whose log is looked after."""
    async with running(root, log=log) as world:
        upkeep = Upkeep(world.log, world.clock, days, snapshot_rows=snapshot_rows)
        await upkeep.start()
        try:
            yield world
        finally:
            await upkeep.stop()


async def download(world: World, url: str = "https://example.com/a") -> str:
    job_id = await world.submit(url)
    await world.until(job_id, *FINAL)
    return job_id


async def restarted(world: World) -> Models:
    """What another start makes of the log, of another release: without the newest snapshot."""

    class OtherCode(Models):
        @property
        def code(self) -> str:
            return "other"

    models = OtherCode()
    log = MemoryLog(world.log.records, shelf=world.log.shelf)
    await log.start(models=models)
    await log.stop()
    return models


def test_rows_go_when_their_time_is_over_and_answers_stay(tmp_path: Path) -> None:
    async def main() -> None:
        async with kept(tmp_path) as world:
            old = await download(world)
            await asyncio.sleep((DAYS * (1 + SLACK) - 1) * DAY_SEC)
            young = await download(world, "https://example.com/b")
            assert world.log.floor == 0, "not before"
            last_old = world.jobs.require(young).created_position - 2  # a command comes first
            await asyncio.sleep(DAY_SEC + 2 * LOOK_SEC)

            assert world.log.floor == last_old
            assert {row.stream for row in world.log.records} == {f"job-{young}"}
            for jobs in (world.jobs, (await restarted(world)).jobs):
                assert jobs.require(old).job.state is State.COMPLETED
                assert jobs.require(old) == world.jobs.require(old)

    run_virtual(main())


def test_rows_stay_for_ever_unless_it_is_set_otherwise(tmp_path: Path) -> None:
    async def main() -> None:
        async with kept(tmp_path, days=0) as world:
            await download(world)
            rows = world.log.records
            await asyncio.sleep(20 * DAY_SEC)

            assert world.log.records[: len(rows)] == rows
            assert world.log.floor == 0

    run_virtual(main())


def test_what_became_old_while_the_service_was_down_goes_at_the_next_start(tmp_path: Path) -> None:
    async def main() -> None:
        async with kept(tmp_path) as world:
            job_id = await download(world)
            await download(world, "https://example.com/b")
        await asyncio.sleep(100 * DAY_SEC)
        log = MemoryLog(world.log.records, shelf=world.log.shelf)
        async with kept(tmp_path, log) as world:
            await asyncio.sleep(2 * LOOK_SEC)

            assert world.log.floor > 0
            assert world.jobs.require(job_id).job.state is State.COMPLETED

    run_virtual(main())


def test_a_key_the_archive_and_the_totals_outlive_their_rows(tmp_path: Path) -> None:
    async def main() -> None:
        async with kept(tmp_path) as world:
            item = ListedItem(url="https://example.com/a", index=1)
            job_id = await download(world)
            await world.dispatcher.execute(ScheduleDeletion(job_id, None))
            held = world.archive.find(item, DownloadRequest(url=item.url), "anonymous")
            totals = world.models.statistics.accepted, world.models.statistics.downloaded_bytes
            await asyncio.sleep(DAYS * 2 * DAY_SEC)
            await download(world, "https://example.com/b")
            await asyncio.sleep(DAYS * 2 * DAY_SEC)

            models = await restarted(world)
            assert held == job_id
            assert world.log.floor > models.jobs.require(job_id).position
            assert models.archive.find(item, DownloadRequest(url=item.url), "anonymous") == job_id
            assert models.statistics.accepted == 2
            assert (totals[0], totals[1] * 2) == (1, models.statistics.downloaded_bytes)
            path = models.jobs.require(job_id).job.files[0].path
            stored = models.files.get(path)
            assert stored
            assert stored == world.files.get(path)
            assert not stored.deleted

    run_virtual(main())


def test_a_snapshot_is_taken_every_so_many_rows(tmp_path: Path) -> None:
    async def main() -> None:
        async with kept(tmp_path, days=0, snapshot_rows=30) as world:
            while world.log.head < 30:
                await download(world)
            await asyncio.sleep(1.5 * LOOK_SEC)
            first = world.log.snapshot_at
            await asyncio.sleep(3 * LOOK_SEC)
            assert first == world.log.snapshot_at >= 30
            while world.log.head < first + 30:
                await download(world)
            await asyncio.sleep(1.5 * LOOK_SEC)
            assert world.log.snapshot_at >= first + 30
            told: list[Record] = []
            log = MemoryLog(world.log.records, shelf=world.log.shelf)
            models = Models()
            await log.start(lambda facts: told.extend(fact.record for fact in facts), models=models)
            await log.stop()

            assert all(record.position > world.log.snapshot_at for record in told)
            assert models.jobs.in_creation_order() == world.jobs.in_creation_order()

    run_virtual(main())


def test_a_stop_puts_by_what_is_worth_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("umd.actors.upkeep.LAST_SNAPSHOT_ROWS", 20)

    async def main() -> None:
        async with running(tmp_path) as world:
            upkeep = Upkeep(world.log, world.clock, 0)
            await world.submit()
            await upkeep.put_by_last()
            assert world.log.snapshot_at == 0
            while world.log.head < 20:
                await download(world)
            await upkeep.put_by_last()

            assert world.log.snapshot_at == world.log.head

    run_virtual(main())


def test_a_full_volume_is_waited_out(tmp_path: Path) -> None:
    class FullLog(MemoryLog):
        full = True

        async def _put_part(self, position: int, part: Part) -> None:
            if self.full:
                raise StorageFull("no space")
            await super()._put_part(position, part)

    async def main() -> None:
        log = FullLog()
        with structlog.testing.capture_logs() as logged:
            async with kept(tmp_path, log, snapshot_rows=1) as world:
                await download(world)
                await asyncio.sleep(10 * LOOK_SEC)
                assert log.snapshot_at == 0
                log.full = False
                await asyncio.sleep(2 * LOOK_SEC)

                assert log.snapshot_at > 0
        assert "upkeep.refused" in [line["event"] for line in logged]

    run_virtual(main())


def test_a_crash_of_the_upkeep_is_answered_by_its_supervisor(tmp_path: Path) -> None:
    class Tripping(MemoryLog):
        trips = 1

        async def sweep(self) -> bool:
            if self.trips:
                self.trips -= 1
                raise RuntimeError("a bug")
            return await super().sweep()

    async def main() -> None:
        log = Tripping()
        async with running(tmp_path, log=log) as world:
            supervisor = Supervisor("root", world.fatal.append)
            upkeep = Upkeep(log, world.clock, DAYS, snapshot_rows=1)
            supervisor.start(upkeep.name, lambda: upkeep)
            await download(world)
            await asyncio.sleep(2 * LOOK_SEC)

            assert (supervisor.restarts, world.fatal) == (1, [])
            assert log.snapshot_at > 0
            await supervisor.stop()

    run_virtual(main())


def test_a_log_that_takes_nothing_more_is_left_alone(tmp_path: Path) -> None:
    class ReadOnly(MemoryLog):
        async def sweep(self) -> bool:
            raise LogReadOnly("damaged")

    async def main() -> None:
        async with running(tmp_path, log=ReadOnly()) as world:
            upkeep = Upkeep(world.log, world.clock, DAYS)
            await upkeep.start()
            await asyncio.wait_for(upkeep.join(), LOOK_SEC)

    run_virtual(main())
