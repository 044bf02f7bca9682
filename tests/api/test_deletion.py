"""The deletion of a download's files is put off, brought forward and called off."""

import pytest

from tests.api.world import World, is_problem
from umd.clock import SECOND, rfc3339


async def test_a_deletion_is_put_off_and_called_off(world: World) -> None:
    job_id = await world.completed({"videos/a.mp4": b"film"})
    path, later = f"/download/{job_id}/deletion", rfc3339(world.clock.at + 90_000 * SECOND)

    put_off = await world.ask("PUT", path, json={"delete_at": later})
    again = await world.ask("PUT", path, json={"delete_at": later})
    head = world.log.head
    called_off = await world.ask("DELETE", path)

    assert (put_off.status, put_off.json["delete_at"]) == (200, later)
    assert again.json == put_off.json
    assert (called_off.status, called_off.json["delete_at"]) == (200, None)
    assert world.log.head > head
    assert (await world.get(f"/download/{job_id}")).json["delete_at"] is None


async def test_only_files_that_are_there_have_a_deletion(world: World) -> None:
    waiting = await world.submit()
    for job_id, code, status in ((waiting, "invalid_state", 409), ("0" * 26, "job_not_found", 404)):
        assert is_problem(await world.ask("DELETE", f"/download/{job_id}/deletion"), code, status)


@pytest.mark.parametrize(
    "value", [None, 1, "", "tomorrow", "2026-11-24", "2026-11-24T10:00:00", "9999-01-01T00:00:00Z"]
)
async def test_a_time_that_is_none_is_refused(world: World, value: object) -> None:
    job_id = await world.completed({"videos/a.mp4": b"film"})
    head = world.log.head

    answer = await world.ask("PUT", f"/download/{job_id}/deletion", json={"delete_at": value})

    assert is_problem(answer, "validation_error", 422)
    assert [error["pointer"] for error in answer.json["errors"]] == ["/delete_at"]
    assert world.log.head == head
