"""The event log, row by row."""

import msgspec

from tests.api.world import URL, World
from umd.clock import rfc3339


async def test_a_row_is_shown_as_it_is_stored(world: World) -> None:
    await world.post({"url": URL}, X_Request_ID="r1")

    body = (await world.get("/log")).json

    assert body["next"] is None
    assert [row["type"] for row in body["events"]] == ["SubmitDownload", "job.queued"]
    for row, record in zip(body["events"], world.log.records, strict=True):
        assert row == {
            "position": record.position,
            "stream": record.stream,
            "version": record.version,
            "kind": record.kind,
            "type": record.type,
            "schema_version": record.schema_version,
            "at": rfc3339(record.at),
            "correlation": "r1",
            "causation": record.causation,
            "data": msgspec.json.decode(record.data),
        }


async def test_the_pages_lead_through_the_whole_log(world: World) -> None:
    for _ in range(5):
        await world.submit()
    positions: list[int] = []
    after: int | None = 0
    while after is not None:
        page = (await world.get(f"/log?limit=4&after={after}")).json
        positions += [row["position"] for row in page["events"]]
        after = page["next"]

    assert positions == list(range(1, 11))


async def test_one_stream_can_be_asked_for(world: World) -> None:
    await world.submit()
    job_id = await world.submit()

    body = (await world.get(f"/log?stream=job-{job_id}&limit=2")).json

    assert [row["position"] for row in body["events"]] == [3, 4]
    assert body["next"] is None


async def test_behind_the_end_there_is_nothing(world: World) -> None:
    assert (await world.get("/log?after=9223372036854775807")).json == {
        "events": [],
        "next": None,
        "floor": 0,
    }
    assert (await world.get("/log?stream=null")).json == {"events": [], "next": None, "floor": 0}
