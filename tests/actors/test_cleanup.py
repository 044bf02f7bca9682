"""What is deleted when, and what is left alone, on a virtual clock."""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
import structlog

from tests.actors.world import Hang, World, Write, running
from tests.domain.builders import LIMITS, METADATA, NETWORK
from tests.virtual import run_virtual
from umd.clock import SECOND, instant
from umd.domain import commands as c
from umd.domain.events import FilesSwept, Limits, SweptFile
from umd.domain.job import FINAL, Job, State
from umd.domain.naming import Place
from umd.engine.protocol import Extracted, Finished
from umd.errors import StorageFull
from umd.log import Record
from umd.log.memory import MemoryLog
from umd.settings import Settings
from umd.storage.volume import sources

KEPT = msgspec.structs.replace(LIMITS, retention_sec=None)


def keeping(seconds: int | None) -> Limits:
    return msgspec.structs.replace(LIMITS, retention_sec=seconds)


def film(title: str, size: int = 4) -> tuple[object, ...]:
    metadata = msgspec.structs.replace(METADATA, title=title, id="x")
    return (Extracted(metadata), Write("media.mp4", b"f" * size), Finished(main="media.mp4"))


async def stored(world: World, title: str, limits: Limits = LIMITS, size: int = 4) -> Job:
    """A completed job whose file has this title and size."""
    url = f"https://example.com/{title}"
    world.engine.scripts[url] = [film(title, size)]  # type: ignore[list-item]  # the steps of a worker
    job = await world.until(await world.submit(url, limits), *FINAL)
    assert job.state is State.COMPLETED
    return job


def path(world: World, job: Job) -> Path:
    return world.volume.root / job.files[0].path


async def gone(world: World, job: Job) -> Job:
    entry = await world.jobs.when(job.job_id, lambda now: now.files_deleted_at is not None)
    return entry.job


def reasons(world: World) -> list[str]:
    return [
        msgspec.json.decode(record.data)["reason"]
        for record in world.log.records
        if record.type == "job.files_deleted"
    ]


def test_files_go_within_five_seconds_of_their_time(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as world:
            with structlog.testing.capture_logs() as logged:
                job = await gone(world, await stored(world, "a"))
                await asyncio.sleep(1)

            assert job.delete_at is not None
            assert job.files_deleted_at is not None
            assert 0 <= job.files_deleted_at - job.delete_at < 5 * SECOND
            assert not (tmp_path / "videos").exists(), "empty folders go, too"
            assert reasons(world) == ["retention"]
            assert [line["job_id"] for line in logged if line["event"] == "cleanup.deleted"] == [job.job_id]

    run_virtual(main())


def test_what_became_due_while_the_service_was_down_goes_at_the_next_start(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as world:
            due, kept = await stored(world, "due"), await stored(world, "kept", keeping(10_000))
        await asyncio.sleep(5_000)
        again = MemoryLog(world.log.records)
        async with running(tmp_path, log=again) as world:
            began = world.clock.now()
            job = await gone(world, due)

            assert job.files_deleted_at is not None
            assert job.files_deleted_at - began < 5 * SECOND
            await asyncio.sleep(1)
            assert not path(world, due).exists()
            assert path(world, kept).exists()

    run_virtual(main())


def test_a_deletion_that_is_cancelled_or_moved_is_not_done_at_the_old_time(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as world:
            kept, later, sooner = [await stored(world, title) for title in ("kept", "later", "sooner")]
            at = world.clock.now()
            for job, seconds in ((later, 9_000), (sooner, 60)):
                when = instant(at + seconds * SECOND)
                await world.dispatcher.execute(c.ScheduleDeletion(job.job_id, when))
            await world.dispatcher.execute(c.ScheduleDeletion(kept.job_id, None))
            first, second = await gone(world, sooner), await gone(world, later)

            assert [(job.files_deleted_at or 0) - at for job in (first, second)] == [
                60 * SECOND,
                9_000 * SECOND,
            ]
            await asyncio.sleep(100_000)
            assert path(world, kept).exists()

    run_virtual(main())


def test_beyond_the_quota_the_oldest_go_and_those_that_are_to_stay_do_not(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, Settings(storage_quota_bytes=100)) as world:
            asked = await stored(world, "asked", KEPT, size=40)
            old = await stored(world, "old", size=40)
            await asyncio.sleep(60)
            assert path(world, old).exists()
            new = await stored(world, "new", size=40)
            await gone(world, old)
            await asyncio.sleep(60)

            assert reasons(world) == ["quota"]
            assert path(world, asked).exists()
            assert path(world, new).exists()
            assert world.files.stored_bytes == 80

    run_virtual(main())


def test_what_is_due_goes_before_what_is_old(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, Settings(storage_quota_bytes=100)) as world:
            old, due = await stored(world, "old", size=50), await stored(world, "due", size=50)
            await world.dispatcher.execute(c.ScheduleDeletion(due.job_id, instant(world.clock.now())))
            await stored(world, "new", size=50)
            await gone(world, due)
            await asyncio.sleep(60)

            assert reasons(world) == ["retention"]
            assert path(world, old).exists()

    run_virtual(main())


def test_a_file_that_is_read_does_not_go_for_want_of_space(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path, Settings(min_free_bytes=1_000)) as world:
            old, new = await stored(world, "old"), await stored(world, "new")
            world.volume.free = 999
            with world.volume.reading(old.files[0].path):
                await gone(world, new)
                await asyncio.sleep(600)
                assert path(world, old).exists()
            await gone(world, old)

            assert reasons(world) == ["space", "space"]

    run_virtual(main())


def test_jobs_wait_for_space_and_go_on_by_themselves(tmp_path: Path) -> None:
    async def main() -> None:
        def prepare(world: World) -> None:
            world.volume.free = 0

        async with running(tmp_path, prepare=prepare) as world:
            job_id = await world.submit()
            await asyncio.sleep(600)
            entry = world.jobs.require(job_id)
            assert (entry.job.state, entry.job.attempt) == (State.QUEUED, 0)
            assert world.admission.waiting_for(entry) == "space"
            world.volume.free = 2**40
            at = world.clock.now()
            job = await world.until(job_id, *FINAL)

            assert job.state is State.COMPLETED
            assert job.started_at is not None
            assert job.started_at - at <= 1 * SECOND

    run_virtual(main())


def swept(world: World) -> list[FilesSwept]:
    return [
        msgspec.json.decode(record.data, type=FilesSwept)
        for record in world.log.records
        if record.type == "storage.files_swept"
    ]


def test_a_running_job_is_let_alone_when_space_gets_short(tmp_path: Path) -> None:
    async def main() -> None:
        def prepare(world: World) -> None:
            world.engine.scripts["https://example.com/a"] = [(Write("media.mp4.part", b"half"), Hang())]

        async with running(tmp_path, prepare=prepare) as world:
            job_id = await world.submit()
            await world.until(job_id, State.RUNNING)
            world.volume.free = 0
            await asyncio.sleep(60)

            assert (tmp_path / f"temp/job-{job_id}/media.mp4.part").exists()
            assert world.jobs.require(job_id).job.state is State.RUNNING

    run_virtual(main())


def test_a_file_that_no_job_knows_goes_after_the_grace(tmp_path: Path) -> None:
    stranger, outside = tmp_path / "videos/old/stranger.mp4", tmp_path / "mine.txt"
    stranger.parent.mkdir(parents=True)
    stranger.write_bytes(b"?")
    outside.write_bytes(b"?")

    async def main() -> None:
        async with running(tmp_path, Settings(orphan_grace_sec=1_000)) as world:
            job = await stored(world, "known", KEPT)
            await asyncio.sleep(990)
            assert stranger.exists()
            await asyncio.sleep(1_000)

            assert not stranger.parent.exists()
            assert outside.exists(), "only the media folders are the service's own"
            assert path(world, job).exists()
            assert swept(world) == [FilesSwept((SweptFile("videos/old/stranger.mp4", 1),))]

    run_virtual(main())


def test_every_file_that_is_swept_is_told_a_hundred_at_once(tmp_path: Path) -> None:
    names = [b"\xff.mp4", *(b"%03d.mp4" % number for number in range(150))]
    (tmp_path / "videos").mkdir()
    for name in names:
        (tmp_path / "videos" / os.fsdecode(name)).write_bytes(b"??")

    async def main() -> None:
        async with running(tmp_path, Settings(orphan_grace_sec=0)) as world:
            await asyncio.sleep(10)

            told = [[file.path for file in event.files] for event in swept(world)]
            assert [len(paths) for paths in told] == [100, 51]
            assert [*told[0], *told[1]] == [*(f"videos/{n:03d}.mp4" for n in range(150)), "videos/\\xff.mp4"]
            assert not list((tmp_path / "videos").glob("*"))

    run_virtual(main())


def test_a_file_that_the_disk_keeps_hides_none_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "videos/b.mp4"
    kept.parent.mkdir()
    for name in "abc":
        (kept.parent / f"{name}.mp4").write_bytes(b"?")
    rename = Path.rename

    def refuse(path: Path, target: Path) -> Path:
        if path == kept:
            raise OSError(30, "Read-only file system")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse)

    async def main() -> None:
        async with running(tmp_path, Settings(orphan_grace_sec=0)) as world:
            await asyncio.sleep(0.5)

            assert swept(world) == [FilesSwept((SweptFile("videos/a.mp4", 1),))]
            assert kept.exists()

    run_virtual(main())


def test_a_sweep_that_the_log_has_no_room_for_is_told_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger = tmp_path / "videos/a.mp4"
    stranger.parent.mkdir()
    stranger.write_bytes(b"?")

    async def main() -> None:
        async with running(tmp_path, Settings(orphan_grace_sec=0)) as world:
            store, refusals = world.log._store, [StorageFull("full")]

            async def refuse(records: Sequence[Record]) -> None:
                if refusals:
                    raise refusals.pop()
                await store(records)

            monkeypatch.setattr(world.log, "_store", refuse)
            await asyncio.sleep(0.5)
            assert (swept(world), stranger.exists()) == ([], False)
            await asyncio.sleep(10)

            assert swept(world) == [FilesSwept((SweptFile("videos/a.mp4", 1),))]
            assert not list((tmp_path / "temp").iterdir())

    run_virtual(main())


def test_a_file_that_is_gone_is_reported_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as world:
            job = await stored(world, "lost", KEPT)
            path(world, job).unlink()
            lost = await gone(world, job)
            await asyncio.sleep(10_000)

            assert lost.missing == {job.files[0].path}
            assert world.types(job.job_id)[-2:] == ["job.files_missing", "job.files_deleted"]
            assert reasons(world) == ["missing"]
            assert world.files.stored_bytes == 0

    run_virtual(main())


def test_a_disk_that_refuses_a_deletion_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with running(tmp_path) as world:
            job = await stored(world, "stuck")
            unlink, refusals = Path.unlink, [OSError(30, "Read-only file system")]

            def refuse(path: Path, missing_ok: bool = False) -> None:
                if refusals and path.name.startswith("stuck"):
                    raise refusals.pop()
                unlink(path, missing_ok)

            monkeypatch.setattr(Path, "unlink", refuse)
            await gone(world, job)
            await asyncio.sleep(1)
            assert path(world, job).exists()
            await asyncio.sleep(65)

            assert not path(world, job).exists()

    run_virtual(main())


def test_a_deletion_that_a_crash_cut_short_is_done_by_the_next_start(tmp_path: Path) -> None:
    async def main() -> None:
        async with running(tmp_path) as world:
            job = await stored(world, "cut")
            await world.dispatcher.execute(c.RecordFilesDeleted(job.job_id, "retention"))
            assert path(world, job).exists()
        async with running(tmp_path, log=MemoryLog(world.log.records)) as world:
            assert not path(world, job).exists()

    run_virtual(main())


def test_what_a_failed_job_left_half_done_goes_when_its_time_is_over(tmp_path: Path) -> None:
    async def main() -> None:
        def prepare(world: World) -> None:
            world.engine.scripts["https://example.com/a"] = [
                (Write("media.mp4.part", b"fi"), Finished(NETWORK))
            ]

        async with running(tmp_path, prepare=prepare) as world:
            job_id = await world.submit(limits=msgspec.structs.replace(LIMITS, retries=0))
            await world.until(job_id, State.FAILED)
            await world.idle()
            folder = tmp_path / f"temp/job-{job_id}"
            assert folder.exists()
            await asyncio.sleep(LIMITS.retention_sec or 0)
            await asyncio.sleep(5)

            assert not folder.exists()

    run_virtual(main())


def test_a_job_that_is_retried_in_time_keeps_its_part(tmp_path: Path) -> None:
    async def main() -> None:
        def prepare(world: World) -> None:
            world.engine.scripts["https://example.com/a"] = [
                (Write("media.mp4.part", b"fi"), Finished(NETWORK)),
                (Hang(),),
            ]

        async with running(tmp_path, prepare=prepare) as world:
            job_id = await world.submit(limits=msgspec.structs.replace(LIMITS, retries=0))
            await world.until(job_id, State.FAILED)
            await world.dispatcher.execute(c.RetryDownload(job_id))
            await asyncio.sleep(100)

            assert world.jobs.require(job_id).job.state is State.RUNNING
            assert (tmp_path / f"temp/job-{job_id}/media.mp4.part").exists()

    run_virtual(main())


@pytest.mark.parametrize("before", [State.PAUSED, State.QUEUED])
def test_what_a_cancelled_job_left_half_done_goes_at_once(tmp_path: Path, before: State) -> None:
    """Also where no attempt runs that could see to it: the job rested, or waited for its next attempt."""

    async def main() -> None:
        def prepare(world: World) -> None:
            end = Hang() if before is State.PAUSED else Finished(NETWORK)
            world.engine.scripts["https://example.com/a"] = [(Write("media.mp4.part", b"fi"), end)]

        async with running(tmp_path, prepare=prepare) as world:
            job_id = await world.submit(limits=msgspec.structs.replace(LIMITS, retries=1))
            await world.until(job_id, State.RUNNING)
            if before is State.PAUSED:
                await world.dispatcher.execute(c.PauseDownload(job_id))
            await world.until(job_id, before)
            await world.idle()
            folder = tmp_path / f"temp/job-{job_id}"
            assert (folder / "media.mp4.part").exists()
            await world.dispatcher.execute(c.CancelDownload(job_id))
            await asyncio.sleep(0.1)

            assert world.jobs.require(job_id).job.state is State.CANCELLED
            assert not folder.exists()

    run_virtual(main())


def test_a_half_result_of_a_failed_job_is_not_visible_after_a_crash(tmp_path: Path) -> None:
    """The failure stood in the log, and the process died before it could take back what was published."""

    async def main() -> None:
        def prepare(world: World) -> None:
            world.engine.scripts["https://example.com/a"] = [
                (Write("media.mp4", b"film"), Write("media.en.srt", b"words"), Finished(NETWORK))
            ]

        async with running(tmp_path, prepare=prepare) as world:
            job_id = await world.submit(limits=msgspec.structs.replace(LIMITS, retries=0))
            await world.until(job_id, State.FAILED)
            await world.idle()
        folder = tmp_path / f"temp/job-{job_id}"
        world.volume.publish(job_id, Place("videos", "half"), sources(folder, "media.mp4"))
        (tmp_path / "videos/half.en.srt").rename(folder / "media.en.srt")
        async with running(tmp_path, log=MemoryLog(world.log.records)):
            assert not (tmp_path / "videos/half.mp4").exists()
            assert sorted(path.name for path in folder.iterdir()) == ["media.en.srt", "media.mp4"]

    run_virtual(main())
