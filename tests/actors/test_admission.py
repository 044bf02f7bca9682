"""Who may start when: slots, sites, priority, age, retries and the queue's limit."""

from pathlib import Path

import pytest

from tests.actors.world import GOOD, Hang, Pause, World, running
from tests.domain.builders import NETWORK
from tests.virtual import run_virtual
from umd.domain import commands as c
from umd.domain.job import FINAL, State
from umd.engine.protocol import Finished
from umd.errors import QueueFull, ShuttingDown
from umd.settings import Settings


def started(world: World) -> list[str]:
    return [assignment.job_id for assignment in world.engine.started]


def slow(world: World) -> None:
    for site in "abcdef":
        world.engine.scripts[f"https://{site}.example/v"] = [(Pause(10), *GOOD)]


def url(site: str) -> str:
    return f"https://{site}.example/v"


def test_no_more_jobs_run_than_there_are_slots(tmp_path: Path) -> None:
    async def main() -> None:
        settings = Settings(max_concurrent_downloads=3, max_concurrent_per_site=10)
        async with running(tmp_path, settings, prepare=slow) as world:
            jobs = [await world.submit(url("a")) for _ in range(8)]
            await world.until(jobs[2], State.RUNNING)
            assert world.jobs.count(State.RUNNING) == world.admission.running == 3
            assert world.admission.waiting == 5
            for job_id in jobs:
                await world.until(job_id, *FINAL)

            assert started(world) == jobs

    run_virtual(main())


def test_a_busy_site_does_not_hold_up_the_others(tmp_path: Path) -> None:
    async def main() -> None:
        settings = Settings(max_concurrent_downloads=4, max_concurrent_per_site=2)
        async with running(tmp_path, settings, prepare=slow) as world:
            busy = [await world.submit(url("a")) for _ in range(4)]
            other = await world.submit(url("b"))
            await world.until(other, State.RUNNING)

            running_now = [entry.job.job_id for entry in world.jobs.in_state(State.RUNNING)]
            assert running_now == [busy[0], busy[1], other]
            assert world.admission.waiting_for(world.jobs.require(busy[2])) == "site"

    run_virtual(main())


def test_higher_priority_starts_first_and_equal_ones_in_order_of_arrival(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, Settings(max_concurrent_downloads=1), prepare=slow) as world:
            first = await world.submit(url("a"))
            await world.until(first, State.RUNNING)
            low = await world.submit(url("b"), priority=-5)
            normal = [await world.submit(url(site)) for site in "cd"]
            high = await world.submit(url("e"), priority=5)
            assert world.admission.waiting_for(world.jobs.require(low)) == "slot"
            await world.until(low, *FINAL)

            assert started(world) == [first, high, *normal, low]

    run_virtual(main())


def test_a_job_that_waits_for_its_retry_holds_no_slot_and_no_place_in_line(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, Settings(max_concurrent_downloads=1), prepare=slow) as world:
            world.engine.scripts[url("a")] = [(Finished(NETWORK),), GOOD]
            failing = await world.submit(url("a"), priority=10)
            other = await world.submit(url("b"))
            await world.until(failing, *FINAL)

            assert started(world) == [failing, other, failing]

    run_virtual(main())


def test_a_retry_that_was_cancelled_and_asked_for_again_starts_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as world:
            world.engine.scripts[url("a")] = [(Finished(NETWORK),), GOOD]
            job_id = await world.submit(url("a"))
            await world.jobs.when(job_id, lambda job: job.retry_at is not None)
            await world.dispatcher.execute(c.CancelDownload(job_id))
            await world.dispatcher.execute(c.RetryDownload(job_id))
            job = await world.until(job_id, *FINAL)
            await world.idle()

            assert (job.state, job.attempt) == (State.COMPLETED, 2)
            assert started(world) == [job_id, job_id]

    run_virtual(main())


def test_a_full_queue_refuses_and_takes_work_again_later(tmp_path: Path) -> None:
    async def main() -> None:
        settings = Settings(max_concurrent_downloads=1, queue_max=2)
        async with running(tmp_path, settings, prepare=slow) as world:
            first = await world.submit(url("a"))
            await world.until(first, State.RUNNING)
            await world.submit(url("b"))
            await world.submit(url("c"))
            with pytest.raises(QueueFull):
                await world.submit(url("d"))
            await world.until(first, *FINAL)
            await world.jobs.when(first, lambda _: world.admission.waiting < 2)

            await world.submit(url("d"))

    run_virtual(main())


def test_places_that_are_being_taken_count_against_the_limit(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, Settings(queue_max=1)) as world:
            with world.admission.intake(), pytest.raises(QueueFull), world.admission.intake():
                pass

    run_virtual(main())


def test_a_closed_admission_starts_nothing_and_takes_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, Settings(max_concurrent_downloads=1), prepare=slow) as world:
            first = await world.submit(url("a"))
            await world.until(first, State.RUNNING)
            second = await world.submit(url("b"))
            world.admission.close()
            with pytest.raises(ShuttingDown):
                await world.submit(url("c"))
            await world.until(first, *FINAL)
            await world.idle()

            assert started(world) == [first]
            assert world.jobs.require(second).job.state is State.QUEUED

    run_virtual(main())


def test_thousands_of_waiting_jobs_are_taken_in_order(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, Settings(max_concurrent_downloads=1)) as world:
            world.engine.scripts[url("a")] = [(Hang(),)]
            first = await world.submit(url("a"))
            await world.until(first, State.RUNNING)
            jobs = [await world.submit(f"https://s{number % 100}.example/v") for number in range(300)]
            await world.dispatcher.execute(c.CancelDownload(first))
            await world.until(jobs[-1], *FINAL)

            assert started(world) == [first, *jobs]

    run_virtual(main())
