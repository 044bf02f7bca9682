"""What the API answers of rows that are pruned: all that is known, and plainly what is not any more."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.api.sse_world import world as streaming
from tests.api.world import World, is_problem
from tests.domain.builders import AT
from umd.clock import instant
from umd.domain import commands as c
from umd.domain import events as e

KEY = {"Idempotency_Key": "the-key"}
BODY = {"url": "https://example.com/film"}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with World(tmp_path / "data").running() as world:
        yield world


async def prune(world: World) -> None:
    """Prune all but the newest append."""
    assert await world.log.put_by()
    assert await world.log.raise_floor(world.clock.now() + 1)
    while await world.log.sweep():
        pass


async def said(world: World) -> str:
    """A job that has said something and then come to its end."""
    job_id = await world.submit()
    await world.start(job_id)
    await world.execute(c.RecordLog(job_id, 1, (e.LogLine(instant(AT), "info", "hello"),)))
    await world.execute(c.PauseDownload(job_id))
    await world.execute(c.ConfirmStopped(job_id, 1))
    return job_id


async def test_a_job_is_answered_as_before(world: World) -> None:
    job_id = await world.completed({"videos/a.mp4": b"film"})
    await world.submit()
    paths = (f"/download/{job_id}", "/download", "/files/videos/a.mp4")
    before = [(await world.get(path)).body for path in paths]

    await prune(world)

    assert world.log.floor >= world.jobs.require(job_id).position
    for path, body in zip(paths[1:], before[1:], strict=True):
        assert (await world.get(path)).body == body
    assert (await world.get(paths[0])).json["status"] == "completed"


async def test_a_repeated_request_meets_its_job_still(world: World) -> None:
    first = await world.post(BODY, **KEY)
    await world.submit()
    await prune(world)

    again = await world.post(BODY, **KEY)
    other = await world.post({**BODY, "priority": 3}, **KEY)

    assert again.json["request_id"] == first.json["request_id"]
    assert is_problem(other, "idempotency_key_reused", 422)


async def test_the_totals_are_the_same(world: World) -> None:
    await world.completed({"videos/a.mp4": b"film"})
    await world.submit()
    before = (await world.get("/stats")).json

    await prune(world)

    after = (await world.get("/stats")).json
    for name in ("completed", "total_bytes_downloaded", "events_total", "last_position", "success_rate"):
        assert after.get(name) == before.get(name)


async def test_lines_that_are_pruned_are_missing_and_said_to_be(world: World) -> None:
    job_id = await said(world)
    await world.submit()
    assert (await world.get(f"/download/{job_id}/logs")).json["truncated"] is False

    await prune(world)

    answer = (await world.get(f"/download/{job_id}/logs")).json
    assert (answer["logs"], answer["truncated"]) == ([], True)


async def test_the_log_says_where_it_begins(world: World) -> None:
    job_id = await said(world)
    await world.submit()
    assert (await world.get("/log")).json["floor"] == 0

    await prune(world)

    floor = world.log.floor
    answer = (await world.get("/log")).json
    assert answer["floor"] == floor >= world.jobs.require(job_id).position
    assert answer["events"][0]["position"] == floor + 1
    assert b"umd_event_log_floor %d.0" % floor in (await world.get("/metrics")).body


async def test_the_past_is_refused_where_it_is_pruned_and_told_where_it_is_known(world: World) -> None:
    early, late = await said(world), await world.submit()
    await prune(world)
    floor = world.log.floor
    now = (await world.get(f"/download/{early}")).json

    assert is_problem(await world.get(f"/download/{early}?at={floor}"), "invalid_query", 400)
    assert (await world.get(f"/download/{early}?at={floor + 1}")).json["status"] == now["status"]
    assert is_problem(await world.get(f"/download/{late}?at={floor + 1}"), "job_not_found", 404)
    assert (await world.get(f"/download/{late}?at={floor + 2}")).json["status"] == "queued"
    await world.execute(c.ResumeDownload(early))
    refused = await world.get(f"/download/{early}?at={floor + 2}")
    assert is_problem(refused, "invalid_query", 400)
    assert "pruned" in refused.json["detail"]
    assert (await world.get(f"/download/{early}?at={world.log.head}")).json["status"] == "queued"


async def test_a_subscriber_below_the_floor_begins_anew() -> None:
    async with streaming() as w:
        job_id = await w.running_job()
        await w.submit()
        await w.submit()
        await prune(w)
        floor = w.log.floor

        below = await (await w.job_feed(job_id, floor - 1)).take(2)
        at_the_floor = await (await w.feed("/events", floor)).next()

        assert [message.event for message in below] == ["reset", "snapshot"]
        assert below[0].body == {"floor": floor, "head": w.log.head}
        assert (at_the_floor.event, at_the_floor.id) == ("job.queued", floor + 2)
