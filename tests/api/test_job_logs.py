"""What a job has said."""

import pytest

from tests.api.world import World
from umd.clock import SECOND, instant
from umd.domain import commands as c
from umd.domain.events import LogLevel, LogLine


async def spoken(world: World, *batches: list[tuple[LogLevel, str]], dropped: int = 0) -> str:
    """A running job that has said these lines, in these batches."""
    job_id = await world.submit()
    await world.start(job_id)
    for batch in batches:
        world.clock.at += SECOND
        lines = tuple(LogLine(instant(world.clock.at), level, text) for level, text in batch)
        await world.execute(c.RecordLog(job_id, 1, lines, dropped))
    return job_id


async def test_the_lines_come_in_order_with_their_positions(world: World) -> None:
    job_id = await spoken(world, [("debug", "a"), ("error", "b")], [("info", "c")])

    body = (await world.get(f"/download/{job_id}/logs")).json

    assert body["request_id"] == job_id
    assert body["logs"] == [
        {"timestamp": "2023-11-14T22:13:21.000Z", "level": "debug", "message": "a", "position": 6},
        {"timestamp": "2023-11-14T22:13:21.000Z", "level": "error", "message": "b", "position": 6},
        {"timestamp": "2023-11-14T22:13:22.000Z", "level": "info", "message": "c", "position": 8},
    ]
    assert (body["total_lines"], body["truncated"]) == (3, False)


@pytest.mark.parametrize(
    ("query", "messages", "total", "truncated"),
    [
        ("", "abcd", 4, False),
        ("level=info", "bcd", 3, False),
        ("level=warning", "cd", 2, False),
        ("level=error", "d", 1, False),
        ("after=0", "abcd", 4, False),
        ("after=6", "cd", 4, False),
        ("after=8", "", 4, False),
        ("after=99", "", 4, False),
        ("limit=4", "abcd", 4, False),
        ("limit=3", "ab", 4, True),
        ("limit=2", "ab", 4, True),
        ("limit=1", "ab", 4, True),
        ("limit=1&after=6", "cd", 4, False),
        ("limit=1&level=error", "d", 1, False),
    ],
)
async def test_some_lines_can_be_asked_for(
    world: World, query: str, messages: str, total: int, truncated: bool
) -> None:
    job_id = await spoken(world, [("debug", "a"), ("info", "b")], [("warning", "c"), ("error", "d")])

    body = (await world.get(f"/download/{job_id}/logs?{query}")).json

    assert "".join(line["message"] for line in body["logs"]) == messages
    assert (body["total_lines"], body["truncated"]) == (total, truncated)


async def test_lines_that_were_not_kept_are_told_of(world: World) -> None:
    job_id = await spoken(world, [("info", "a")], dropped=5)

    assert (await world.get(f"/download/{job_id}/logs")).json["truncated"] is True


async def test_a_long_stream_is_read_to_its_end(world: World) -> None:
    lines: list[list[tuple[LogLevel, str]]] = [[("info", str(number))] for number in range(300)]
    job_id = await spoken(world, *lines)

    body = (await world.get(f"/download/{job_id}/logs")).json

    assert [line["message"] for line in body["logs"]] == [str(number) for number in range(300)]


async def test_a_job_that_has_said_nothing_has_no_lines(world: World) -> None:
    job_id = await world.submit()

    body = (await world.get(f"/download/{job_id}/logs")).json

    assert body == {"request_id": job_id, "logs": [], "total_lines": 0, "truncated": False}


async def test_other_jobs_lines_stay_with_them(world: World) -> None:
    await spoken(world, [("info", "theirs")])
    job_id = await spoken(world, [("info", "mine")])

    body = (await world.get(f"/download/{job_id}/logs")).json

    assert [line["message"] for line in body["logs"]] == ["mine"]
