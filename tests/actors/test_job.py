"""What becomes of a running download, on a virtual clock with a scripted worker."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from tests.actors.world import (
    GOOD,
    Crash,
    Hang,
    Pause,
    Record,
    ScriptedAttempt,
    Step,
    World,
    Write,
    running,
)
from tests.domain.builders import LIMITS, METADATA, NETWORK, PRIVATE
from tests.virtual import run_virtual
from umd.clock import SECOND, instant
from umd.domain import commands as c
from umd.domain.events import Progress
from umd.domain.job import FINAL, State
from umd.engine.protocol import Assignment, Entered, Extracted, Finished, Said, Tick
from umd.errors import EngineError, ReleaseChanged
from umd.settings import Settings

URL = "https://example.com/a"


def script(*attempts: tuple[Step, ...]) -> Callable[[World], None]:
    def prepare(world: World) -> None:
        world.engine.scripts[URL] = list(attempts)

    return prepare


def temp_is_empty(world: World) -> bool:
    return not any((world.volume.root / "temp").iterdir())


def test_a_download_is_started_followed_placed_and_reported(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as world:
            job_id = await world.submit()
            job = await world.until(job_id, *FINAL)
            await world.idle()

            assert world.types(job_id) == [
                "job.queued",
                "job.started",
                "job.metadata",
                "job.phase",
                "job.file",
                "job.completed",
            ]
            assert [file.path for file in job.files] == ["videos/A_title-v1.mp4"]
            assert (tmp_path / "videos/A_title-v1.mp4").read_bytes() == b"film"
            assert job.progress == Progress("finished", 100.0, 2, 4)
            assert world.live.latest(job_id) is None
            assert temp_is_empty(world)

    run_virtual(main())


def test_log_lines_are_kept_in_batches_up_to_a_limit(tmp_path: Path) -> None:
    many = tuple(Said("info", f"line {number}") for number in range(300))

    async def main() -> None:
        async with running(tmp_path, prepare=script((*many, Said("error", "last"), *GOOD))) as world:
            job_id = await world.submit()
            await world.until(job_id, *FINAL)

            lines, dropped = [], 0
            for record in world.log.records:
                if record.type == "job.log":
                    event = msgspec.json.decode(record.data)
                    lines += [line["message"] for line in event["lines"]]
                    dropped += event["dropped"]
            assert lines == [f"line {number}" for number in range(200)] + ["last"]
            assert dropped == 100
            assert world.types(job_id).count("job.log") <= 6

    run_virtual(main())


def test_a_retryable_fault_is_tried_again_after_its_wait(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, prepare=script((Finished(NETWORK),), GOOD)) as world:
            job_id = await world.submit()
            waiting = await world.jobs.when(job_id, lambda job: job.retry_at is not None)
            assert world.admission.waiting_for(waiting) == "retry"
            job = await world.until(job_id, *FINAL)

            assert (job.state, job.attempt, job.failures, job.error) == (State.COMPLETED, 2, 1, None)
            assert waiting.job.retry_at is not None
            assert job.attempt_started_at is not None
            assert 0 <= job.attempt_started_at - waiting.job.retry_at < SECOND

    run_virtual(main())


def test_the_partial_file_is_kept_for_the_next_attempt_and_goes_with_a_final_fault(tmp_path: Path) -> None:
    first = (Write("media.mp4.part", b"fi"), Finished(NETWORK))
    second = (Finished(PRIVATE),)

    async def main() -> None:
        async with running(tmp_path, prepare=script(first, second)) as world:
            job_id = await world.submit()
            await world.jobs.when(job_id, lambda job: job.retry_at is not None)
            await world.idle()
            assert (tmp_path / f"temp/job-{job_id}/media.mp4.part").read_bytes() == b"fi"

            job = await world.until(job_id, *FINAL)
            await world.idle()
            assert (job.state, job.error) == (State.FAILED, PRIVATE)
            assert temp_is_empty(world)

    run_virtual(main())


@pytest.mark.parametrize(
    ("status", "words"), [(-11, "SIGSEGV"), (-9, "SIGKILL"), (3, "status 3"), (0, "status 0")]
)
def test_a_worker_that_ends_without_a_last_word_has_crashed(tmp_path: Path, status: int, words: str) -> None:
    async def main() -> None:
        limits = msgspec.structs.replace(LIMITS, retries=0)
        async with running(tmp_path, prepare=script((Crash(status),))) as world:
            job = await world.until(await world.submit(limits=limits), *FINAL)

            assert job.error is not None
            assert job.error.code == "worker_crashed"
            assert words in job.error.message

    run_virtual(main())


def test_an_engine_that_cannot_start_is_a_fault_of_the_attempt(tmp_path: Path) -> None:
    async def refuse(_assignment: Assignment) -> None:
        raise EngineError("no worker can be had")

    def prepare(world: World) -> None:
        world.engine.run = refuse  # type: ignore[method-assign, assignment]  # a port that fails

    async def main() -> None:
        async with running(tmp_path, prepare=prepare) as world:
            job = await world.until(await world.submit(), *FINAL)
            assert job.error is not None
            assert job.error.code == "worker_crashed"
            assert job.attempt == 1 + LIMITS.retries

    run_virtual(main())


def test_an_attempt_whose_release_is_in_use_no_more_begins_again_and_uses_up_no_retry(tmp_path: Path) -> None:
    def prepare(world: World) -> None:
        run = world.engine.run

        async def change(assignment: Assignment) -> ScriptedAttempt:
            if not world.engine.started:
                world.engine.started.append(assignment)
                raise ReleaseChanged("yt-dlp 2 came into use in the place of 1.")
            return await run(assignment)

        world.engine.run = change  # type: ignore[method-assign]  # a port that changes

    async def main() -> None:
        limits = msgspec.structs.replace(LIMITS, retries=0)
        async with running(tmp_path, prepare=prepare) as world:
            job = await world.until(await world.submit(limits=limits), *FINAL)

            assert (job.state, job.attempt) == (State.COMPLETED, 2)
            assert [one.ytdlp_version for one in world.engine.started] == [world.engine.ytdlp_version] * 2

    run_virtual(main())


def test_a_bug_of_umd_fails_its_job_and_no_other(tmp_path: Path) -> None:
    async def break_down(_assignment: Assignment) -> None:
        raise ZeroDivisionError

    async def main() -> None:
        async with running(tmp_path) as world:
            good, world.engine.run = world.engine.run, break_down  # type: ignore[method-assign, assignment]
            broken = await world.until(await world.submit(), *FINAL)
            world.engine.run = good  # type: ignore[method-assign]
            other = await world.until(await world.submit(), *FINAL)

            assert broken.error is not None
            assert (broken.state, broken.error.code) == (State.FAILED, "internal")
            assert other.state is State.COMPLETED
            assert world.fatal == []

    run_virtual(main())


def test_a_download_without_a_file_is_no_success(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, prepare=script((Extracted(METADATA), Finished()))) as world:
            job = await world.until(await world.submit(), *FINAL)
            assert (job.state, job.error and job.error.code) == (State.FAILED, "internal")

    run_virtual(main())


def test_the_timeout_ends_the_job(tmp_path: Path) -> None:
    lively = tuple(
        step for number in range(400) for step in (Pause(10), Tick(Progress("downloading", None, number)))
    )

    async def main() -> None:
        async with running(tmp_path, prepare=script(lively)) as world:
            job = await world.until(await world.submit(), *FINAL)

            assert (job.state, job.error and job.error.code) == (State.FAILED, "timeout")
            assert job.ended_at is not None
            assert job.attempt_started_at is not None
            assert (job.ended_at - job.attempt_started_at) / SECOND == pytest.approx(1_800, abs=1)

    run_virtual(main())


@pytest.mark.parametrize("phase", ["extracting", "downloading", "processing"])
def test_an_attempt_in_which_nothing_moves_is_ended_in_every_phase(tmp_path: Path, phase: str) -> None:
    async def main() -> None:
        stalled = (
            Entered(msgspec.convert({"phase": phase}, Progress)),
            Write("media.mp4.part", b"x"),
            Hang(),
        )
        async with running(tmp_path, Settings(stall_timeout_sec=120), prepare=script(stalled, GOOD)) as world:
            job_id = await world.submit()
            waiting = (await world.jobs.when(job_id, lambda job: job.retry_at is not None)).job
            assert waiting.error is not None
            assert waiting.error.code == "network"
            assert phase in waiting.error.message
            assert (await world.until(job_id, *FINAL)).state is State.COMPLETED

    run_virtual(main())


def test_a_silent_worker_whose_files_grow_is_alive(tmp_path: Path) -> None:
    growing = tuple(
        step for size in range(1, 9) for step in (Write("media.mp4.part", b"x" * size), Pause(100))
    )

    async def main() -> None:
        async with running(
            tmp_path, Settings(stall_timeout_sec=120), prepare=script((*growing, *GOOD))
        ) as world:
            job = await world.until(await world.submit(), *FINAL)
            assert (job.state, job.attempt) == (State.COMPLETED, 1)

    run_virtual(main())


def test_a_cancelled_job_leaves_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, prepare=script((Write("media.mp4.part", b"x"), Hang()))) as world:
            job_id = await world.submit()
            await world.until(job_id, State.RUNNING)
            await world.dispatcher.execute(c.CancelDownload(job_id))
            job = await world.until(job_id, *FINAL)

            assert job.state is State.CANCELLED
            assert temp_is_empty(world)
            assert world.types(job_id)[-2:] == ["job.stopping", "job.cancelled"]

    run_virtual(main())


def test_cancel_before_start_never_spawns(tmp_path: Path) -> None:
    async def main() -> None:
        settings = Settings(max_concurrent_downloads=1)
        async with running(tmp_path, settings, prepare=script((Pause(5), *GOOD))) as world:
            first, second = await world.submit(), await world.submit()
            await world.dispatcher.execute(c.CancelDownload(second))
            await world.until(first, *FINAL)
            await world.idle()

            assert [assignment.job_id for assignment in world.engine.started] == [first]

    run_virtual(main())


def test_a_cancel_while_the_result_is_being_placed_takes_it_back(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as world:
            publish = world.volume.publish

            def publish_and_cancel(job_id: str, *rest: object) -> object:
                world.jobs._entries[job_id] = msgspec.structs.replace(  # the moment between
                    world.jobs.require(job_id),
                    job=msgspec.structs.replace(
                        world.jobs.require(job_id).job, state=State.STOPPING, stop_intent="cancel"
                    ),
                )
                return publish(job_id, *rest)  # type: ignore[arg-type]

            world.volume.publish = publish_and_cancel  # type: ignore[method-assign, assignment]
            job_id = await world.submit()
            job = await world.until(job_id, *FINAL)
            await world.idle()

            assert job.state is State.CANCELLED
            assert temp_is_empty(world)
            await asyncio.sleep(1)
            assert not (tmp_path / "videos").exists()

    run_virtual(main())


def test_a_paused_job_goes_on_with_its_partial_file(tmp_path: Path) -> None:
    async def main() -> None:
        first = (Write("media.mp4.part", b"fi"), Hang())
        async with running(tmp_path, prepare=script(first, GOOD)) as world:
            job_id = await world.submit()
            await world.until(job_id, State.RUNNING)
            await world.dispatcher.execute(c.PauseDownload(job_id))
            await world.until(job_id, State.PAUSED)
            assert (tmp_path / f"temp/job-{job_id}/media.mp4.part").exists()
            await world.dispatcher.execute(c.ResumeDownload(job_id))

            job = await world.until(job_id, *FINAL)
            assert (job.state, job.attempt) == (State.COMPLETED, 2)

    run_virtual(main())


LIVE = msgspec.structs.replace(METADATA, is_live=True)


def recording(*after: Step) -> tuple[Step, ...]:
    return (Extracted(LIVE), Entered(Progress("downloading")), Record(), *after)


def test_a_pause_of_a_live_recording_publishes_what_was_recorded(tmp_path: Path) -> None:
    async def main() -> None:
        steps = recording(Write("media.mp4", b"film"), Finished(main="media.mp4"))
        async with running(tmp_path, prepare=script(steps)) as world:
            job_id = await world.submit()
            await world.jobs.when(job_id, lambda job: job.metadata is not None)
            await world.dispatcher.execute(c.PauseDownload(job_id))

            job = await world.until(job_id, *FINAL)
            assert (job.state, len(job.files), job.stop_intent) == (State.COMPLETED, 1, None)
            assert (tmp_path / job.files[0].path).read_bytes() == b"film"

    run_virtual(main())


def test_a_recording_that_cannot_be_ended_well_is_paused_as_others_are(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, prepare=script(recording(Hang()))) as world:
            job_id = await world.submit()
            await world.jobs.when(job_id, lambda job: job.metadata is not None)
            await world.dispatcher.execute(c.PauseDownload(job_id))

            assert (await world.until(job_id, State.PAUSED)).files == ()

    run_virtual(main())


def test_a_cancel_cuts_the_end_of_a_recording_short(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, prepare=script(recording(Hang()))) as world:
            job_id = await world.submit()
            await world.jobs.when(job_id, lambda job: job.metadata is not None)
            began = world.clock.now()
            await world.dispatcher.execute(c.PauseDownload(job_id))
            await world.dispatcher.execute(c.CancelDownload(job_id))

            assert (await world.until(job_id, *FINAL)).state is State.CANCELLED
            assert world.clock.now() - began < 10 * SECOND
            await world.idle()
            assert temp_is_empty(world)

    run_virtual(main())


def test_a_stop_of_the_service_interrupts_and_the_job_goes_on_after_it(tmp_path: Path) -> None:
    async def first_life() -> World:
        hanging = (Write("media.mp4.part", b"fi"), Hang())
        async with running(tmp_path, prepare=script(hanging)) as world:
            job_id = await world.submit()
            await world.until(job_id, State.RUNNING)
        assert world.types(job_id)[-1] == "job.interrupted"
        return world

    async def second_life(before: World) -> None:
        log = type(before.log)(before.log.records)
        async with running(tmp_path, log=log) as world:
            (entry,) = world.jobs.page(limit=10).entries
            job = await world.until(entry.job.job_id, *FINAL)
            assert (job.state, job.attempt, job.failures) == (State.COMPLETED, 2, 0)

    run_virtual(second_life(run_virtual(first_life())))


def test_a_job_that_was_running_when_the_service_died_goes_on(tmp_path: Path) -> None:
    async def first_life() -> World:
        world = World(tmp_path)
        script((Write("media.mp4.part", b"fi"), Hang()))(world)
        await world.start()
        await world.until(await world.submit(), State.RUNNING)
        return world  # and is never heard of again

    async def second_life(before: World) -> None:
        log = type(before.log)(before.log.records)
        async with running(tmp_path, log=log) as world:
            (entry,) = world.jobs.page(limit=10).entries
            job = await world.until(entry.job.job_id, *FINAL)
            assert (job.state, job.attempt, job.failures) == (State.COMPLETED, 2, 0)
            assert world.types(job.job_id)[1:4] == ["job.started", "job.interrupted", "job.started"]

    run_virtual(second_life(run_virtual(first_life())))


def test_files_are_deleted_when_they_are_due(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as world:
            job_id = await world.submit()
            await world.until(job_id, *FINAL)
            gone = (await world.jobs.when(job_id, lambda job: job.files_deleted_at is not None)).job

            assert gone.state is State.COMPLETED
            assert gone.files_deleted_at is not None
            assert gone.delete_at is not None
            assert 0 <= gone.files_deleted_at - gone.delete_at < SECOND
            await asyncio.sleep(1)
            assert not (tmp_path / "videos").exists()

    run_virtual(main())


def test_files_go_when_it_is_said_later_and_stay_when_the_deletion_is_called_off(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as world:
            moved, kept = await world.submit(), await world.submit()
            for job_id in (moved, kept):
                await world.until(job_id, State.COMPLETED)
            later = world.clock.now() + 10 * LIMITS.retention_sec * SECOND  # type: ignore[operator]  # not None
            await world.dispatcher.execute(c.ScheduleDeletion(moved, instant(later)))
            await world.dispatcher.execute(c.ScheduleDeletion(kept, None))

            gone = (await world.jobs.when(moved, lambda job: job.files_deleted_at is not None)).job
            stays = world.jobs.require(kept).job
            assert 0 <= (gone.files_deleted_at or 0) - later < SECOND
            assert (stays.delete_at, stays.files_deleted_at) == (None, None)
            assert (tmp_path / stays.files[0].path).is_file()

    run_virtual(main())
