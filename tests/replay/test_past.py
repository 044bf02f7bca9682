"""What was known at a position: over HTTP and on the command line, the same as GET answered then."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.api.world import URL, World, is_problem
from tests.domain.builders import NETWORK, PRIVATE, PROGRESS
from tests.log.worlds import SqliteWorld, chained, row
from umd import __main__ as command_line
from umd.domain import commands as c
from umd.domain.events import SweptFile
from umd.log import Record
from umd.projections.batches import Batches
from umd.settings import Settings

BASE = "https://media.example.org"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with World(tmp_path / "data", Settings(port=0, public_base_url=BASE)).running() as world:
        yield world


async def live(world: World) -> list[str]:
    """A few jobs with a past; the clock moves on with each step."""
    jobs = []
    for _ in range(4):
        jobs.append(await world.submit())
        world.clock.at += 1_000_000
    await world.complete(jobs[0])
    await world.start(jobs[1])
    world.clock.at += 5_000_000
    await world.execute(c.FailAttempt(jobs[1], 1, NETWORK, PROGRESS))
    await world.execute(c.CancelDownload(jobs[2]))
    await world.execute(c.RetryDownload(jobs[2]))
    await world.execute(c.RecordFilesDeleted(jobs[0], "retention"))
    return jobs


def stored(world: World, tmp_path: Path) -> Path:
    """The same log on disk."""
    disk = SqliteWorld(tmp_path / "copy")
    disk.seed(world.log.records)
    return disk.directory


def run(capfd: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, list[Any]]:
    capfd.readouterr()  # what the server has said
    code = command_line.main(["replay", *map(str, arguments)])
    return code, [json.loads(line) for line in capfd.readouterr().out.splitlines()]


def unsigned(answer: Any) -> Any:  # noqa: ANN401 - JSON
    """An answer without what opens its files: a log's reader is let in nowhere by it."""
    for file in (answer["file_info"], *answer["files"]):
        if file is not None:
            file["file_url"] = file["file_url"].partition("?")[0]
    return answer


async def test_replay_prints_what_get_answers(
    world: World, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UMD_PUBLIC_BASE_URL", BASE)
    jobs = await live(world)

    code, lines = run(capfd, "--from", stored(world, tmp_path))

    assert code == 0
    for job_id, line in zip(jobs, lines, strict=True):
        assert line.pop("kind") == "job"
        assert line == unsigned((await world.get(f"/download/{job_id}")).json)


async def test_every_answer_of_the_past_can_be_had_again(
    world: World, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What GET answered after each commit is what `at` and replay say of that position."""
    monkeypatch.setenv("UMD_PUBLIC_BASE_URL", BASE)
    then: list[tuple[int, str, bytes]] = []
    job_id = await world.submit()
    for command in (
        c.StartAttempt(job_id, "2026.10.26"),
        c.EnterPhase(job_id, 1, PROGRESS),
        c.FailAttempt(job_id, 1, NETWORK, PROGRESS),
        c.StartAttempt(job_id, "2026.10.26"),
        c.CancelDownload(job_id),
        c.ConfirmStopped(job_id, 2),
    ):
        world.clock.at += 3_000_000
        await world.execute(command)
        then.append((world.log.head, job_id, (await world.get(f"/download/{job_id}")).body))

    copy = stored(world, tmp_path)
    for position, of, body in then:
        assert (await world.get(f"/download/{of}?at={position}")).body == body
        _, [line] = run(capfd, "--from", copy, "--at", position, "--job", of)
        assert line.pop("kind") == "job"
        assert line == msgspec.json.decode(body)


async def test_every_answer_of_a_batchs_past_can_be_had_again(
    world: World, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batch and each of its jobs, one of which had not begun, after each commit."""
    monkeypatch.setenv("UMD_PUBLIC_BASE_URL", BASE)
    batch_id, [first, second, _] = await live_batch(world)
    then: list[tuple[int, Any]] = []
    for command in (
        c.StartAttempt(first, "2026.10.26"),
        c.EnterPhase(first, 1, PROGRESS),
        c.FailAttempt(first, 1, PRIVATE, PROGRESS),
        c.CancelBatch(batch_id),
        c.ConfirmStopped(second, 1),
        c.RetryBatch(batch_id),
    ):
        world.clock.at += 3_000_000
        if isinstance(command, c.AnyBatchCommand):
            await world.dispatcher.execute_batch(command)
        else:
            await world.execute(command)
        await settled(world)
        then.append((world.log.head, (await world.get(f"/batch/{batch_id}")).json))
    assert [shown["status"] for _, shown in then] == [*["running"] * 4, "cancelled", "running"]

    copy = stored(world, tmp_path)
    for position, shown in then:
        assert (await world.get(f"/batch/{batch_id}?at={position}")).json == shown
        _, [line] = run(capfd, "--from", copy, "--at", position, "--batch", batch_id)
        assert line == shown
    _, lines = run(capfd, "--from", copy)
    assert [line["kind"] for line in lines] == ["job", "job", "job", "batch"]
    assert run(capfd, "--from", copy, "--batch", first)[0] == 1


async def live_batch(world: World) -> tuple[str, list[str]]:
    """A batch of three of which two may be under way; its jobs."""
    batch_id = await world.submit_batch(f"{URL}&1", f"{URL}&2", f"{URL}&3", concurrent_limit=2)
    await settled(world)
    jobs = [one.job_id for one in world.batches.require(batch_id).batch.items]
    await world.start(jobs[1])
    return batch_id, jobs


async def settled(world: World) -> None:
    """Wait until the actors of the batches have nothing more to say."""
    head = -1
    while head != world.log.head:
        head = world.log.head
        for _ in range(50):
            await asyncio.sleep(0)


async def test_a_batchs_past_takes_one_read_for_each_of_its_streams(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer about a thousand items is as far away as their reads are many."""
    batch_id, jobs = await live_batch(world)
    reads: list[str | None] = []
    read = world.log.read

    async def counted(after: int = 0, limit: int = 500, *, stream: str | None = None) -> list[Record]:
        reads.append(stream)
        return await read(after, limit, stream=stream)

    monkeypatch.setattr(world.log, "read", counted)
    position = world.log.head
    assert (await world.get(f"/batch/{batch_id}?at={position}")).status == 200

    assert sorted(filter(None, reads)) == sorted([f"batch-{batch_id}", *(f"job-{job}" for job in jobs)])


async def test_steps_tell_what_each_event_changed_in_a_batch(
    world: World, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    batch_id, [first, *_] = await live_batch(world)
    await world.execute(c.CancelDownload(first))
    await settled(world)
    copy = stored(world, tmp_path)

    _, lines = run(capfd, "--from", copy, "--steps", "--batch", batch_id)
    _, every = run(capfd, "--from", copy, "--steps")

    assert {line["batch_id"] for line in lines} == {batch_id}
    [cancelled] = [line for line in lines if line["type"] == "job.cancelled"]
    assert cancelled["changed"] == {
        "queued_jobs": {"from": 2, "to": 1},
        "cancelled_jobs": {"from": 0, "to": 1},
        "progress_percent": {"from": 0.0, "to": 33.3},
    }
    [listed] = [line for line in lines if line["type"] == "batch.listed"]
    assert listed["changed"]["total_jobs"] == {"from": 0, "to": 3}
    assert [line for line in every if "batch_id" in line] == lines
    assert {line["job_id"] for line in every if "job_id" in line} > {first}


async def test_a_past_that_was_not_is_refused(world: World) -> None:
    await world.submit()
    job_id = await world.submit()

    assert is_problem(await world.get(f"/download/{job_id}?at=1"), "job_not_found", 404)
    assert is_problem(await world.get(f"/download/{job_id}?at=99"), "invalid_query", 400)
    assert is_problem(await world.get(f"/download/{job_id}?at=0"), "invalid_query", 400)
    batch_id = await world.submit_batch()
    assert is_problem(await world.get(f"/batch/{batch_id}?at=1"), "batch_not_found", 404)
    assert is_problem(await world.get(f"/batch/{batch_id}?at=99"), "invalid_query", 400)


async def test_a_time_is_the_position_that_the_log_had_then(
    world: World, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    await live(world)

    _, lines = run(capfd, "--from", stored(world, tmp_path), "--at", "2023-11-14T22:13:21.5Z")

    assert [line["status"] for line in lines] == ["queued", "queued"]


async def test_steps_tell_what_each_event_changed(
    world: World, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    jobs = await live(world)

    _, lines = run(capfd, "--from", stored(world, tmp_path), "--steps", "--job", jobs[2])

    assert [line["type"] for line in lines] == ["job.queued", "job.cancelled", "job.retrying"]
    assert lines[1]["changed"]["status"] == {"from": "queued", "to": "cancelled"}
    assert lines[1]["changed"].keys() == {"status", "waiting_for", "completed_at"}


async def test_every_command_is_decided_the_same_again(
    world: World, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    await live(world)
    batch_id, _ = await live_batch(world)
    await world.dispatcher.execute_batch(c.CancelBatch(batch_id))
    await settled(world)
    for path in ("videos/a.mp4", "videos/b.mp4"):
        await world.dispatcher.execute_storage(c.RecordSwept((SweptFile(path, 1),)))

    code, [report] = run(capfd, "--from", stored(world, tmp_path), "--verify")

    assert code == 0
    assert report["differences"] == report["unknown"] == 0
    assert report["commands"] + report["events"] == report["position"] == world.log.head


def test_a_stream_without_its_beginning_is_passed_over(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    disk = SqliteWorld(tmp_path / "log")
    disk.seed(chained(row(1), row(2)))

    code, [report] = run(capfd, "--from", disk.directory, "--verify")

    assert (code, report["unknown"]) == (0, 2)


async def test_an_event_that_the_rules_do_not_give_is_found(
    world: World, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A log that is whole, chain and all, and whose facts do not follow from its commands."""
    await live(world)
    position, disk = forged(world, tmp_path, "job.retrying", b'"retryable":true', b'"retryable":false')

    code, lines = run(capfd, "--from", disk.directory, "--verify")

    assert code == 1
    assert [line["position"] for line in lines if line["kind"] == "difference"] == [position]


def forged(world: World, tmp_path: Path, kind: str, said: bytes, lie: bytes) -> tuple[int, SqliteWorld]:
    """The log of a world with a lie in its first event of a kind, and where that is."""
    records = world.log.records
    at = next(n for n, record in enumerate(records) if record.type == kind)
    data = records[at].data.replace(said, lie)
    assert data != records[at].data
    records[at] = msgspec.structs.replace(records[at], data=data)
    disk = SqliteWorld(tmp_path / "forged")
    disk.seed(chained(*records))
    return records[at].position, disk


async def test_a_batchs_event_that_the_rules_do_not_give_is_found(
    world: World, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    batch_id, jobs = await live_batch(world)
    for job_id in jobs:
        await world.execute(c.CancelDownload(job_id))
        await settled(world)
    await world.execute(c.ConfirmStopped(jobs[1], 1))
    await settled(world)
    position, disk = forged(world, tmp_path, "batch.completed", b'"cancelled":3', b'"cancelled":2')

    code, lines = run(capfd, "--from", disk.directory, "--verify")

    assert code == 1
    [found] = [line for line in lines if line["kind"] == "difference"]
    assert (found["position"], found["stream"]) == (position, f"batch-{batch_id}")


async def test_a_projection_that_is_not_the_fold_of_the_events_is_found(
    world: World, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A planted bug: what the service would show counts no job of a batch."""
    batch_id, _ = await live_batch(world)
    monkeypatch.setattr(Batches, "_note", lambda *_: None)

    code, lines = run(capfd, "--from", stored(world, tmp_path), "--verify")

    assert code == 1
    assert [line["stream"] for line in lines if line["kind"] == "difference"] == [f"batch-{batch_id}"]
