"""Accept, show, list, cancel, pause, resume, retry, over the wire."""

import asyncio
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from tests.api.world import PREFIX, URL, World, is_problem
from tests.domain.builders import METADATA, NETWORK, PRIVATE, PROGRESS
from umd.api import cursors, download, views
from umd.clock import SECOND
from umd.domain import commands as c
from umd.domain.events import Progress
from umd.domain.job import State
from umd.log.memory import MemoryLog
from umd.settings import Settings

CONTRACT_FIELDS = {
    "request_id", "url", "status", "waiting_for", "retry_at", "progress", "file_info", "files", "metadata",
    "error", "priority", "attempt", "batch_id", "created_at", "started_at", "completed_at", "duration_sec",
    "delete_at", "files_deleted_at", "logs_url", "events_url", "webhook_sent",
}  # fmt: skip


async def test_a_download_is_accepted(world: World) -> None:
    answer = await world.post({"url": URL, "priority": 3})

    assert answer.status == 202
    assert answer.headers["Content-Type"] == "application/json"
    body = answer.json
    assert answer.headers["Location"].endswith(f"{PREFIX}/download/{body['request_id']}")
    assert body.keys() == CONTRACT_FIELDS
    assert (body["url"], body["status"], body["priority"], body["attempt"]) == (URL, "queued", 3, 0)
    assert body["waiting_for"] == "slot"
    assert body["created_at"] == "2023-11-14T22:13:20.000Z"
    assert body["logs_url"] == f"http://127.0.0.1:{world.port}{PREFIX}/download/{body['request_id']}/logs"
    assert world.log.head == 2


async def test_the_get_after_the_post_is_true(world: World) -> None:
    posted = (await world.post({"url": URL})).json

    assert (await world.get(f"/download/{posted['request_id']}")).json == posted


async def test_a_job_keeps_the_limits_that_held_when_it_was_accepted(world: World) -> None:
    job_id = await world.submit(timeout_sec=100, retention_sec=0)

    limits = world.jobs.require(job_id).job.limits
    assert (limits.timeout_sec, limits.retries, limits.retention_sec) == (100, 2, 0)


async def test_links_begin_as_the_operator_says(tmp_path: Path) -> None:
    settings = Settings(port=0, public_base_url="https://umd.example/media")
    async with World(tmp_path, settings).running() as world:
        answer = await world.post({"url": URL})

    assert answer.headers["Location"].startswith("https://umd.example/media/api/v1/download/")
    assert answer.json["events_url"].startswith("https://umd.example/media/api/v1/download/")


async def test_a_running_job_shows_its_newest_tick(world: World) -> None:
    job_id = await world.submit()
    await world.start(job_id)
    await world.execute(c.RecordMetadata(job_id, 1, METADATA))
    world.clock.at += 90 * SECOND
    world.live.publish(job_id, Progress("downloading", 12.5, 125, 1_000, 50.0, 17.5, 1, 8))

    body = (await world.get(f"/download/{job_id}")).json

    assert body["status"] == "running"
    assert body["progress"] == {
        "percent": 12.5,
        "downloaded_bytes": 125,
        "total_bytes": 1_000,
        "speed": 50.0,
        "eta": 17.5,
        "phase": "downloading",
        "fragment_index": 1,
        "fragment_count": 8,
    }
    assert body["metadata"]["title"] == METADATA.title
    assert (body["attempt"], body["waiting_for"], body["duration_sec"]) == (1, None, 90.0)


async def test_a_job_that_waits_for_its_retry_says_until_when(world: World) -> None:
    job_id = await world.submit()
    await world.start(job_id)
    await world.execute(c.FailAttempt(job_id, 1, NETWORK, PROGRESS))

    body = (await world.get(f"/download/{job_id}")).json

    assert (body["status"], body["waiting_for"]) == ("queued", "retry")
    assert body["retry_at"] > body["created_at"]
    assert body["error"] == msgspec.to_builtins(NETWORK)
    assert body["progress"]["percent"] == PROGRESS.percent


async def test_a_completed_job_shows_its_files(world: World) -> None:
    job_id = await world.submit()
    media, subtitle = await world.complete(
        job_id, {"videos/ä b%.mp4": b"0123456789", "videos/ä b%.srt": b"1"}
    )

    body = (await world.get(f"/download/{job_id}")).json

    assert body["status"] == "completed"
    assert body["file_info"] == body["files"].pop(0)
    url = body["file_info"].pop("file_url")
    address, _, signature = url.partition("?")
    assert address == f"http://127.0.0.1:{world.port}{PREFIX}/files/videos/%C3%A4%20b%25.mp4"
    assert "signature=" in signature
    assert body["file_info"] == {
        "filename": "ä b%.mp4",
        "file_path": "videos/ä b%.mp4",
        "size_bytes": 10,
        "format": "mp4",
        "mime_type": "video/mp4",
        "sha256": media.sha256,
        "kind": "media",
    }
    assert body["files"][0]["sha256"] == subtitle.sha256
    assert body["delete_at"] == "2023-11-14T23:13:20.000Z"
    assert body["files_deleted_at"] is None
    fetched = await world.get(url.partition(PREFIX)[2])
    assert fetched.status == 200


async def test_a_final_job_reads_the_same_after_a_restart(tmp_path: Path) -> None:
    async with World(tmp_path).running() as before:
        done, failed, cancelled = [await before.submit() for _ in range(3)]
        await before.complete(done)
        await before.start(failed)
        await before.execute(c.FailAttempt(failed, 1, PRIVATE, PROGRESS))
        await before.execute(c.CancelDownload(cancelled))
        before.clock.at += 7 * SECOND
        before.live.publish(done, PROGRESS)
        shown = [(await before.get(f"/download/{job_id}")).json for job_id in (done, failed, cancelled)]
        await before.execute(c.RecordFilesDeleted(done, "retention"))
        shown.append((await before.get(f"/download/{done}")).json)

    async with World(tmp_path, log=MemoryLog(before.log.records)).running() as after:
        again = [(await after.get(f"/download/{job_id}")).json for job_id in (done, failed, cancelled)]

    def unlinked(body: object) -> str:
        return msgspec.json.encode(body).decode().replace(str(before.port), "-").replace(str(after.port), "-")

    assert [unlinked(body) for body in again] == [unlinked(body) for body in (shown[3], *shown[1:3])]
    assert shown[3]["files_deleted_at"] is not None


# Idempotency


async def test_a_repeat_with_the_same_key_gets_the_same_answer_and_no_second_job(world: World) -> None:
    first = await world.post({"url": URL, "priority": 1}, Idempotency_Key="k1")
    await world.complete(first.json["request_id"])
    again = await world.post(b'{"priority":1,  "url":"' + URL.encode() + b'"}', Idempotency_Key="k1")

    assert (again.status, again.body) == (202, first.body)
    assert again.headers["Location"] == first.headers["Location"]
    assert world.jobs.count(*State) == 1


async def test_fifty_at_once_with_one_key_make_one_job(world: World) -> None:
    answers = await asyncio.gather(*(world.post({"url": URL}, Idempotency_Key="k1") for _ in range(50)))

    assert {answer.status for answer in answers} == {202}
    assert len({answer.body for answer in answers}) == 1
    assert world.jobs.count(*State) == 1
    assert world.log.head == 2


async def test_the_same_key_with_another_body_is_refused(world: World) -> None:
    await world.post({"url": URL}, Idempotency_Key="k1")

    answer = await world.post({"url": URL, "priority": 1}, Idempotency_Key="k1")

    assert is_problem(answer, "idempotency_key_reused", 422)


async def test_a_default_that_is_spelled_out_is_the_same_body(world: World) -> None:
    first = await world.post({"url": URL}, Idempotency_Key="k1")
    again = await world.post({"url": URL, "priority": 0, "subtitle_languages": ["en"]}, Idempotency_Key="k1")

    assert again.body == first.body


async def test_other_keys_and_none_make_other_jobs(world: World) -> None:
    for headers in ({"Idempotency_Key": "k1"}, {"Idempotency_Key": "k2"}, {}, {}):
        await world.post({"url": URL}, **headers)

    assert world.jobs.count(State.QUEUED) == 4


async def test_a_key_holds_over_a_restart(tmp_path: Path) -> None:
    async with World(tmp_path).running() as before:
        first = await before.post({"url": URL}, Idempotency_Key="k1")
    async with World(tmp_path, log=MemoryLog(before.log.records)).running() as after:
        again = await after.post({"url": URL}, Idempotency_Key="k1")

    assert again.json["request_id"] == first.json["request_id"]


async def test_a_repeat_needs_no_place_in_a_full_queue(tmp_path: Path) -> None:
    async with World(tmp_path, Settings(port=0, queue_max=1)).running() as world:
        first = await world.post({"url": URL}, Idempotency_Key="k1")
        again = await world.post({"url": URL}, Idempotency_Key="k1")
        other = await world.post({"url": URL}, Idempotency_Key="k2")

    assert again.body == first.body
    assert is_problem(other, "queue_full", 503)


@pytest.mark.parametrize("key", ["", "x" * 256, "a b", "a\tb", "ключ"])
async def test_a_key_is_visible_ascii(world: World, key: str) -> None:
    assert is_problem(await world.post({"url": URL}, Idempotency_Key=key), "malformed_request", 400)


async def test_a_service_that_stops_takes_nothing_new(world: World) -> None:
    world.admission.close()

    answer = await world.post({"url": URL})

    assert is_problem(answer, "shutting_down", 503)
    assert int(answer.headers["Retry-After"]) > 0


# Cancel, pause, resume, retry


async def test_a_waiting_job_is_cancelled_at_once(world: World) -> None:
    job_id = await world.submit()

    answer = await world.ask("DELETE", f"/download/{job_id}")

    assert answer.status == 200
    assert answer.json == {
        "request_id": job_id,
        "status": "cancelled",
        "cancelled_jobs": 1,
        "message": "The job is cancelled.",
        "timestamp": "2023-11-14T22:13:20.000Z",
    }


async def test_a_cancel_answers_when_the_processes_are_gone(world: World) -> None:
    job_id = await world.submit()
    await world.start(job_id)

    asked = asyncio.create_task(world.ask("DELETE", f"/download/{job_id}"))
    await world.jobs.when(job_id, lambda job: job.state is State.STOPPING)
    meanwhile = await world.get(f"/download/{job_id}")
    assert not asked.done()
    await world.execute(c.ConfirmStopped(job_id, 1, PROGRESS))
    answer = await asked

    assert meanwhile.json["status"] == "running"
    assert (answer.status, answer.json["status"]) == (200, "cancelled")


async def test_a_cancel_does_not_wait_for_ever(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "STOP_WAIT_SEC", 0.05)
    job_id = await world.submit()
    await world.start(job_id)

    answer = await world.ask("DELETE", f"/download/{job_id}")

    assert (answer.status, answer.json["status"]) == (202, "running")


async def test_a_job_that_is_retried_right_after_its_cancel_was_cancelled(world: World) -> None:
    job_id = await world.submit()
    await world.start(job_id)
    asked = asyncio.create_task(world.ask("DELETE", f"/download/{job_id}"))
    await world.jobs.when(job_id, lambda job: job.state is State.STOPPING)

    await world.execute(c.ConfirmStopped(job_id, 1, PROGRESS))
    await world.execute(c.RetryDownload(job_id))

    assert (await asked).json["status"] == "cancelled"


async def test_cancelling_a_cancelled_job_is_no_error(world: World) -> None:
    job_id = await world.submit()
    answers = [await world.ask("DELETE", f"/download/{job_id}") for _ in range(2)]

    assert [answer.status for answer in answers] == [200, 200]
    assert answers[0].body == answers[1].body


async def test_a_completed_job_cannot_be_cancelled(world: World) -> None:
    job_id = await world.submit()
    await world.complete(job_id)

    assert is_problem(await world.ask("DELETE", f"/download/{job_id}"), "invalid_state", 409)


async def test_a_job_rests_and_goes_on(world: World) -> None:
    job_id = await world.submit()
    await world.start(job_id)
    asked = asyncio.create_task(world.post(path=f"/download/{job_id}/pause"))
    await world.jobs.when(job_id, lambda job: job.state is State.STOPPING)
    await world.execute(c.ConfirmStopped(job_id, 1, PROGRESS))

    paused = await asked
    resumed = await world.post(path=f"/download/{job_id}/resume")

    assert (paused.status, paused.json["status"]) == (200, "paused")
    assert (resumed.status, resumed.json["status"]) == (200, "queued")


async def test_a_cancelled_job_is_tried_again(world: World) -> None:
    job_id = await world.submit()
    await world.ask("DELETE", f"/download/{job_id}")

    answer = await world.post(path=f"/download/{job_id}/retry")

    assert (answer.status, answer.json["status"]) == (202, "queued")
    assert is_problem(await world.post(path=f"/download/{job_id}/retry?now=1"), "invalid_query", 400)


async def test_a_running_job_cannot_be_tried_again(world: World) -> None:
    job_id = await world.submit()
    await world.start(job_id)

    assert is_problem(await world.post(path=f"/download/{job_id}/retry"), "invalid_state", 409)


# The list


async def listed(world: World, query: str = "") -> list[list[str]]:
    """The ids of each page, from the first to the last."""
    pages: list[list[str]] = []
    cursor = ""
    while True:
        page = (await world.get(f"/download?{query}{cursor}")).json
        pages.append([item["request_id"] for item in page["items"]])
        if page["next"] is None:
            return pages
        cursor = f"&cursor={page['next']}"


async def test_the_list_is_newest_first_in_pages(world: World) -> None:
    ids = [await world.submit() for _ in range(7)]

    assert await listed(world, "limit=3") == [ids[:3:-1], ids[3:0:-1], ids[:1]]
    assert await listed(world, "limit=7") == [ids[::-1]]
    assert await listed(world) == [ids[::-1]]


async def test_an_empty_list_is_a_list(world: World) -> None:
    assert (await world.get("/download")).json == {"items": [], "next": None}


async def test_a_cursor_stays_where_it_is_while_jobs_arrive(world: World) -> None:
    ids = [await world.submit() for _ in range(4)]
    first = (await world.get("/download?limit=2")).json
    await world.submit()
    await world.execute(c.CancelDownload(ids[3]))

    second = (await world.get(f"/download?limit=2&cursor={first['next']}")).json

    assert [item["request_id"] for item in second["items"]] == [ids[1], ids[0]]
    assert second["next"] is None


async def test_the_list_is_filtered_by_status(world: World) -> None:
    queued, running, stopping, paused, completed = [await world.submit() for _ in range(5)]
    await world.start(running)
    await world.start(stopping)
    await world.execute(c.CancelDownload(stopping))
    await world.execute(c.PauseDownload(paused))
    await world.complete(completed)

    assert await listed(world, "status=queued") == [[queued]]
    assert await listed(world, "status=running") == [[stopping, running]]
    assert await listed(world, "status=paused,completed&limit=1") == [[completed], [paused]]
    assert await listed(world, "status=failed") == [[]]


def test_a_cursor_is_the_position_and_nothing_else_is_one() -> None:
    for position in (1, 10, 2**40):
        assert cursors.decode(cursors.encode(position)) == position


def test_every_state_has_a_name_on_the_wire() -> None:
    named = [views.states((name,)) or frozenset() for name in get_args(views.Status)]

    assert sorted(state for states in named for state in states) == sorted(State)
    assert views.states(("running",)) == frozenset({State.RUNNING, State.STOPPING})
    assert views.states(()) is None
