"""What was known at a position: over HTTP and on the command line, the same as GET answered then."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.api.world import World, is_problem
from tests.domain.builders import NETWORK, PROGRESS
from tests.log.worlds import SqliteWorld, chained, row
from umd import __main__ as command_line
from umd.domain import commands as c
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


async def test_a_past_that_was_not_is_refused(world: World) -> None:
    await world.submit()
    job_id = await world.submit()

    assert is_problem(await world.get(f"/download/{job_id}?at=1"), "job_not_found", 404)
    assert is_problem(await world.get(f"/download/{job_id}?at=99"), "invalid_query", 400)
    assert is_problem(await world.get(f"/download/{job_id}?at=0"), "invalid_query", 400)


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
    records = world.log.records
    at = next(n for n, record in enumerate(records) if record.type == "job.retrying")
    forged = records[at].data.replace(b'"retryable":true', b'"retryable":false')
    assert forged != records[at].data
    records[at] = msgspec.structs.replace(records[at], data=forged)
    disk = SqliteWorld(tmp_path / "forged")
    disk.seed(chained(*records))

    code, lines = run(capfd, "--from", disk.directory, "--verify")

    assert code == 1
    assert [line["position"] for line in lines if line["kind"] == "difference"] == [records[at].position]
