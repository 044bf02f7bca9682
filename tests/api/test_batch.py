"""Batches over HTTP: what is accepted, what is refused, and what a client sees of them."""

import asyncio
from typing import Any

import pytest

from tests.api.sse_world import world as streaming
from tests.api.world import URL, World, is_problem, until
from tests.domain.builders import DONE, METADATA, PRIVATE
from umd.domain import commands as c
from umd.domain.events import Progress
from umd.domain.job import State

PLAYLIST = {"url": "https://example.com/list"}


def urls(count: int) -> list[str]:
    return [f"https://example.com/{number}" for number in range(count)]


async def children(world: World, batch_id: str, count: int) -> list[str]:
    """The first jobs of a batch, as soon as they are in the queue."""
    ids = [one.job_id for one in world.batches.require(batch_id).batch.items[:count]]
    await until(lambda: all(world.jobs.get(job_id) is not None for job_id in ids))
    return ids


async def test_a_batch_is_accepted_and_shown(world: World) -> None:
    answer = await world.post({"urls": urls(2), "quality": "720p"}, "/batch/download")
    body = answer.json

    assert answer.status == 202
    assert answer.headers["Location"].endswith(f"/api/v1/batch/{body['batch_id']}")
    assert (body["kind"], body["status"], body["total_jobs"], body["queued_jobs"]) == (
        "batch",
        "queued",
        2,
        2,
    )
    ids = await children(world, body["batch_id"], 2)
    shown = (await world.get(f"/batch/{body['batch_id']}")).json
    assert [job["job_id"] for job in shown["jobs"]] == ids
    assert [job["url"] for job in shown["jobs"]] == urls(2)
    child = (await world.get(f"/download/{ids[0]}")).json
    assert (child["batch_id"], child["status"]) == (body["batch_id"], "queued")
    assert world.jobs.require(ids[0]).job.request.quality == "720p"


async def test_counts_and_progress_follow_the_jobs(world: World) -> None:
    batch_id = await world.submit_batch(*urls(4), concurrent_limit=4)
    first, second, third, _ = await children(world, batch_id, 4)
    await world.complete(first)
    await world.start(second)
    await world.execute(c.FailAttempt(second, 1, PRIVATE))
    await world.start(third)
    world.live.publish(third, Progress("downloading", 50.0))

    shown = (await world.get(f"/batch/{batch_id}")).json

    counts = {name: shown[f"{name}_jobs"] for name in ("completed", "failed", "running", "queued")}
    assert counts == {"completed": 1, "failed": 1, "running": 1, "queued": 1}
    assert shown["progress_percent"] == 62.5
    assert shown["jobs"][0]["file_info"]["file_path"] == "videos/a.mp4"
    assert shown["jobs"][1]["error"]["code"] == "private"
    assert shown["jobs"][2]["progress"]["percent"] == 50.0


async def test_items_whose_turn_has_not_come_are_queued_and_cancelled_with_the_rest(world: World) -> None:
    batch_id = await world.submit_batch(*urls(5), concurrent_limit=2)
    await children(world, batch_id, 2)
    before = (await world.get(f"/batch/{batch_id}")).json
    answer = await world.ask("DELETE", f"/batch/{batch_id}")
    after = (await world.get(f"/batch/{batch_id}")).json

    assert world.jobs.count(*State) == 2
    assert before["queued_jobs"] == 5
    assert (answer.status, answer.json["request_id"], answer.json["cancelled_jobs"]) == (200, batch_id, 5)
    assert (after["status"], after["cancelled_jobs"], after["progress_percent"]) == ("cancelled", 5, 100.0)
    assert {job["status"] for job in after["jobs"]} == {"cancelled"}
    assert (await world.ask("DELETE", f"/batch/{batch_id}")).status == 200


@pytest.mark.parametrize(
    ("path", "body", "pointer"),
    [
        ("batch", {}, "/urls"),
        ("batch", {"urls": []}, "/urls"),
        ("batch", {"urls": [URL, URL]}, "/urls/1"),
        ("batch", {"urls": ["file:///etc/passwd"]}, "/urls/0"),
        ("batch", {"urls": urls(101)}, "/urls"),
        ("batch", {"urls": [URL], "concurrent_limit": 11}, "/concurrent_limit"),
        ("batch", {"urls": [URL], "path_template": "../x"}, "/path_template"),
        ("playlist", {}, "/url"),
        ("playlist", {**PLAYLIST, "items": "1--"}, "/items"),
        ("playlist", {**PLAYLIST, "start": 0}, "/start"),
        ("playlist", {**PLAYLIST, "stop_on_error": True}, "/stop_on_error"),
        ("channel", {**PLAYLIST, "date_after": "2026-01-01"}, "/date_after"),
        ("channel", {**PLAYLIST, "date_after": "20260230"}, "/date_after"),
        ("channel", {**PLAYLIST, "sort_by": "luck"}, "/sort_by"),
        ("channel", {**PLAYLIST, "max_downloads": 1001}, "/max_downloads"),
    ],
)
async def test_bad_fields_are_named_and_nothing_is_stored(
    world: World, path: str, body: dict[str, Any], pointer: str
) -> None:
    answer = await world.post(body, f"/{path}/download")

    assert is_problem(answer, "validation_error", 422)
    assert [error["pointer"] for error in answer.json["errors"]] == [pointer]
    assert world.log.head == 0


async def test_the_same_key_gives_the_same_answer_and_one_batch(world: World) -> None:
    bodies = [world.post({"urls": urls(2)}, "/batch/download", Idempotency_Key="k") for _ in range(50)]
    answers = await asyncio.gather(*bodies)
    other = await world.post({"urls": urls(3)}, "/batch/download", Idempotency_Key="k")
    kind = await world.post(PLAYLIST, "/playlist/download", Idempotency_Key="k")

    assert len({answer.body for answer in answers}) == 1
    assert len(world.batches.page(limit=10).entries) == 1
    assert is_problem(other, "idempotency_key_reused", 422)
    assert is_problem(kind, "idempotency_key_reused", 422)


async def test_there_are_only_so_many_batches_at_once(world: World) -> None:
    for _ in range(50):
        await world.submit_batch(URL)

    assert is_problem(await world.post({"urls": [URL]}, "/batch/download"), "queue_full", 503)


async def test_the_list_has_cursors_and_filters(world: World) -> None:
    ids = [await world.submit_batch(URL) for _ in range(3)]
    await world.ask("DELETE", f"/batch/{ids[0]}")
    first = (await world.get("/batch?limit=2")).json
    second = (await world.get(f"/batch?limit=2&cursor={first['next']}")).json
    cancelled = (await world.get("/batch?status=cancelled")).json

    assert [batch["batch_id"] for batch in first["items"]] == [ids[2], ids[1]]
    assert [batch["batch_id"] for batch in second["items"]] == [ids[0]]
    assert second["next"] is None
    assert [batch["batch_id"] for batch in cancelled["items"]] == [ids[0]]
    assert is_problem(await world.get("/batch?cursor=x"), "invalid_query", 400)
    assert is_problem(await world.get("/batch?status=paused"), "invalid_query", 400)


@pytest.mark.parametrize("name", ["0" * 26, "nope", "A" * 26])
async def test_what_is_no_batch_is_not_found(world: World, name: str) -> None:
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/retry"), ("GET", "/events")):
        assert is_problem(await world.ask(method, f"/batch/{name}{path}"), "batch_not_found", 404)


async def test_a_batch_that_went_well_cannot_be_cancelled_or_retried(world: World) -> None:
    batch_id = await world.submit_batch(URL)
    [job_id] = await children(world, batch_id, 1)
    await world.complete(job_id)
    await world.batches.when(batch_id, lambda batch: batch.ended_at is not None)

    assert is_problem(await world.ask("DELETE", f"/batch/{batch_id}"), "invalid_state", 409)
    assert is_problem(await world.post(path=f"/batch/{batch_id}/retry"), "invalid_state", 409)


async def test_a_stream_has_the_batch_and_its_jobs_and_nothing_else() -> None:
    async with streaming() as w:
        other = await w.running_job()
        batch_id = await w.submit_batch(*urls(2))
        ids = await children(w, batch_id, 2)
        feed = await w.feed(f"/batch/{batch_id}/events")
        snapshot = await feed.next()
        w.live.publish(other, Progress("downloading", 1.0))
        await w.say(other)
        await w.start(ids[0])
        w.live.publish(ids[0], Progress("downloading", 40.0))
        await w.execute(c.RecordMetadata(ids[0], 1, METADATA))
        await w.execute(c.CompleteAttempt(ids[0], 1, (), DONE))
        await w.start(ids[1])
        await w.execute(c.FailAttempt(ids[1], 1, PRIVATE))
        rest = await feed.rest()

        assert (snapshot.event, snapshot.body["batch_id"]) == ("snapshot", batch_id)
        assert [message.event for message in rest] == [
            "job.started",
            "job.progress",
            "job.metadata",
            "job.completed",
            "job.started",
            "job.failed",
            "batch.completed",
        ]
        assert [message.body.get("request_id") for message in rest] == [ids[0]] * 4 + [ids[1]] * 2 + [None]
        assert rest[-1].body["batch_id"] == batch_id


async def test_a_stream_resumes_without_gap_or_repeat_and_then_says_that_it_is_over() -> None:
    async with streaming() as w:
        await w.running_job()
        batch_id = await w.submit_batch(URL)
        [job_id] = await children(w, batch_id, 1)
        await w.start(job_id)
        await w.execute(c.CompleteAttempt(job_id, 1, (), DONE))
        await w.batches.when(batch_id, lambda batch: batch.ended_at is not None)
        whole = await (await w.feed(f"/batch/{batch_id}/events", 0)).rest()
        middle = whole[3].id
        rest = await (await w.feed(f"/batch/{batch_id}/events", middle)).rest()
        over = await w.open(f"/batch/{batch_id}/events", whole[-1].id)

        assert [message.event for message in whole][:2] == ["batch.queued", "batch.listed"]
        assert whole[-1].event == "batch.completed"
        assert rest == whole[4:]
        assert over.status == 204


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("batch", {"urls": [URL, "http://127.0.0.1/x"]}),
        ("playlist", {"url": "http://10.0.0.1/list"}),
        ("channel", {**PLAYLIST, "webhook_url": "http://[::1]/hook"}),
    ],
)
async def test_inner_addresses_are_refused_at_the_door(world: World, path: str, body: dict[str, Any]) -> None:
    assert is_problem(await world.post(body, f"/{path}/download"), "address_not_allowed", 403)
    assert world.log.head == 0
