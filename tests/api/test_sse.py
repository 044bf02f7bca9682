"""What a subscriber sees, through a real server and real sockets."""

import asyncio
from itertools import cycle, pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import astuple

from tests.api.sse_world import (
    CALM,
    Message,
    PrunedLog,
    SlowLog,
    history,
    ids,
    world,
)
from tests.api.world import PREFIX
from umd.domain import commands as c
from umd.domain.events import Progress
from umd.log import chain
from umd.log.memory import MemoryLog


def types(found: list[Message]) -> list[str | None]:
    return [message.event for message in found]


# -------------------------------------------------------------------------------- the beginning of a stream


async def test_a_new_subscriber_gets_the_snapshot_and_then_what_follows() -> None:
    async with world() as w:
        job_id = await w.submit()
        feed = await w.job_feed(job_id)

        snapshot = await feed.next()
        await w.start(job_id)
        started = await feed.next()

        assert (snapshot.event, snapshot.id) == ("snapshot", 2)
        assert (snapshot.body["request_id"], snapshot.body["status"]) == (job_id, "queued")
        assert (started.event, started.id) == ("job.started", w.last_id())
        assert started.body["request_id"] == job_id
        assert started.body["attempt"] == 1


async def test_a_snapshot_is_what_get_answers() -> None:
    async with world() as w:
        job_id = await w.running_job()
        w.live.publish(job_id, Progress("downloading", 12.5))
        await w.submit()

        of_job = await (await w.job_feed(job_id)).next()
        of_all = await (await w.feed("/events?types=job.failed")).next()

        assert of_job.body == (await w.get(f"/download/{job_id}")).json
        assert of_all.body == (await w.get("/download")).json


async def test_the_headers_keep_caches_and_proxies_from_holding_the_stream_back() -> None:
    async with world() as w:
        job_id = await w.submit()

        async with w.session.get(
            f"{PREFIX}/download/{job_id}/events", headers={"Accept-Encoding": "gzip, br"}
        ) as response:
            headers = response.headers

        assert response.content_type == "text/event-stream"
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Accel-Buffering"] == "no"
        assert "Content-Encoding" not in headers


async def test_a_job_that_does_not_exist_has_no_stream() -> None:
    async with world() as w, await w.open("/download/nobody/events") as response:
        assert response.status == 404


async def test_from_zero_comes_the_whole_history_without_a_snapshot() -> None:
    async with world() as w:
        job_id, other = await w.running_job(), await w.running_job()

        by_header = await w.job_feed(job_id, 0)
        by_query = await w.feed(f"/download/{job_id}/events?last_event_id=0")
        everything = await w.feed("/events?last_event_id=0")

        assert types(await by_header.take(2)) == ["job.queued", "job.started"]
        assert types(await by_query.take(2)) == ["job.queued", "job.started"]
        assert ids(await everything.take(4)) == sorted(w.ids(job_id) + w.ids(other))


async def test_the_header_wins_over_the_query_of_the_first_connection() -> None:
    async with world() as w:
        job_id = await w.running_job()

        feed = await w.feed(f"/download/{job_id}/events?last_event_id=0", w.ids(job_id)[0])

        assert types([await feed.next()]) == ["job.started"]


@pytest.mark.parametrize("last_event_id", ["abc", "-1", "1.5", "²", "", " "])
async def test_an_id_that_is_no_number_is_as_if_absent(last_event_id: str) -> None:
    async with world() as w:
        job_id = await w.submit()

        feed = await w.job_feed(job_id, last_event_id)

        assert types([await feed.next()]) == ["snapshot"]


@pytest.mark.parametrize("digits", [3, 18, 19, 20, 5_000])
async def test_an_id_beyond_the_head_is_answered_by_reset_and_snapshot(digits: int) -> None:
    async with world() as w:
        job_id = await w.submit()

        reset, snapshot = await (await w.job_feed(job_id, "9" * digits)).take(2)

        assert (reset.event, reset.id, reset.body) == ("reset", None, {"floor": 0, "head": 2})
        assert (snapshot.event, snapshot.id) == ("snapshot", 2)


async def test_an_id_below_the_floor_is_answered_by_reset_and_snapshot() -> None:
    log = PrunedLog()
    async with world(log) as w:
        job_id = await w.running_job()
        log.pruned = 3

        below = await (await w.job_feed(job_id, 2)).take(2)
        at_the_floor = await (await w.job_feed(job_id, 3)).next()

        assert types(below) == ["reset", "snapshot"]
        assert (at_the_floor.event, at_the_floor.id) == ("job.started", 4)


async def test_what_is_pruned_while_it_is_read_is_answered_by_reset_and_snapshot() -> None:
    log = SlowLog(await history(700))
    async with world(log) as w:
        job_id = w.only_job

        def prune_once() -> None:
            log.pruned, log.meanwhile = 600, None

        log.meanwhile = prune_once
        found = await (await w.job_feed(job_id, 0)).take(2)

        assert types(found) == ["reset", "snapshot"]


# ---------------------------------------------------------------------------------------- nothing is missed


async def test_a_long_history_is_read_in_pages() -> None:
    log = SlowLog(await history(1_750))
    async with world(log) as w:
        job_id = w.only_job

        of_job, of_all = await w.job_feed(job_id, 0), await w.feed("/events", 0)
        found = await of_job.take(1_752), await of_all.take(1_752)

        assert ids(found[0]) == ids(found[1]) == w.ids()
        assert log.reads >= 8


async def test_from_every_position_come_exactly_the_events_behind_it() -> None:
    async with world(MemoryLog(await history(5))) as w:
        for _ in range(5):
            await w.say(w.only_job)

        for position in range(w.log.head):
            expected = w.ids(after=position)
            for path in (f"/download/{w.only_job}/events", "/events"):
                feed = await w.feed(path, position)
                assert ids(await feed.take(len(expected))) == expected


@pytest.mark.parametrize("restarted", [False, True])
async def test_the_hand_over_neither_misses_nor_repeats_while_a_thousand_events_come(restarted: bool) -> None:
    log = SlowLog(await history(600)) if restarted else SlowLog()
    async with world(log) as w:
        job_id = w.only_job if restarted else await w.running_job()

        async def subscribe(path: str, delay: int) -> tuple[int, list[int]]:
            await w.jobs.when(job_id, lambda _: w.jobs.position > begin + delay)
            after = w.ids()[delay // 7]
            feed = await w.feed(path, after)
            found: list[int] = []
            while not found or found[-1] < last:
                found += ids([await feed.next()])
            return after, found

        begin = w.log.head
        last = begin + 2_000
        paths = [f"/download/{job_id}/events", "/events"]
        readers = [asyncio.create_task(subscribe(paths[n % 2], n * 80)) for n in range(20)]
        for _ in range(1_000):
            await w.say(job_id)

        for after, found in await asyncio.gather(*readers):
            assert found == w.ids(after=after)


@settings(max_examples=10, deadline=None)
@given(cuts=st.lists(st.integers(1, 30), min_size=1), sizes=st.lists(st.integers(0, 3_000), min_size=1))
async def test_a_client_that_is_cut_off_again_and_again_gets_each_event_once(
    cuts: list[int], sizes: list[int]
) -> None:
    async with world(SlowLog()) as w:
        job_id, noise = await w.running_job(), await w.running_job()

        async def happen() -> None:
            for n, size in zip(range(150), cycle(sizes), strict=False):
                await w.say(noise if n % 3 else job_id, "x" * size)
                w.live.publish(job_id, Progress("downloading"))
            await w.finish(noise)
            await w.finish(job_id)

        async def listen(path: str) -> list[int]:
            got = [0]
            for count in cycle(cuts):
                feed = await w.feed(path, got[-1])
                for _ in range(count):
                    message = await feed.any()
                    assert message is not None
                    got += ids([message])
                    if message.event == "job.completed" and message.body["request_id"] == job_id:
                        return got[1:]
                feed.close()
            raise AssertionError("a cycle has no end")

        of_job, of_all, _ = await asyncio.gather(
            listen(f"/download/{job_id}/events"), listen("/events"), happen()
        )

        assert of_job == w.ids(job_id)
        assert of_all == w.ids()


async def test_a_burst_that_no_buffer_takes_reaches_a_client_that_reads() -> None:
    async with world() as w:
        job_id = await w.running_job()
        feed = await w.job_feed(job_id)
        await feed.next()

        await w.say_at_once(job_id, 1_500, "x" * 1_000)
        found = await feed.take(1_500)

        assert ids(found) == w.ids(job_id)[2:]
        assert w.hub.cut == 0


async def test_commands_are_not_shown() -> None:
    async with world() as w:
        job_id = await w.running_job()
        feed = await w.job_feed(job_id, 0)
        await w.finish(job_id)

        found = await feed.rest()

        assert types(found) == ["job.queued", "job.started", "job.file", "job.completed"]
        assert ids(found) == [record.position for record in w.log.records if record.kind == "event"]


async def test_events_of_a_newer_release_are_shown_as_they_are() -> None:
    *rows, last = await history(1)
    newer = msgspec.structs.replace(last, type="job.sung", schema_version=9, data=b'{"song":"la"}')
    newer = msgspec.structs.replace(newer, hash=chain.link(rows[-1].hash, astuple(newer)[:-1]))
    async with world(MemoryLog([*rows, newer])) as w:
        found = await (await w.feed("/events", 0)).take(3)

        assert (found[-1].event, found[-1].id) == ("job.sung", newer.position)
        assert found[-1].body["song"] == "la"


# ---------------------------------------------------------------------------------------- the end of a stream


async def test_the_final_event_ends_the_stream() -> None:
    async with world() as w:
        job_id, other = await w.running_job(), await w.running_job()
        feed, everything = await w.job_feed(job_id), await w.feed("/events")

        await w.finish(job_id)
        found = await feed.rest()
        await w.fail(other)
        of_all = await everything.take(4)

        assert types(found) == ["snapshot", "job.file", "job.completed"]
        assert types(of_all) == ["snapshot", "job.file", "job.completed", "job.failed"]


@pytest.mark.parametrize("deleted", [False, True])
async def test_a_finished_job_answers_snapshot_and_final_event_and_then_nothing(deleted: bool) -> None:
    async with world() as w:
        job_id = await w.running_job()
        await w.finish(job_id)
        if deleted:
            await w.execute(c.RecordFilesDeleted(job_id, "retention"))
        final = next(record for record in w.events() if record.type == "job.completed")

        feed = await w.job_feed(job_id)
        snapshot, event = await feed.rest()
        again = await w.open(f"/download/{job_id}/events", feed.last_id)
        beyond = await (await w.job_feed(job_id, 1_000)).rest()
        from_snapshot = await w.open(f"/download/{job_id}/events", snapshot.id)

        assert (snapshot.event, snapshot.id, snapshot.body["status"]) == ("snapshot", w.log.head, "completed")
        assert (event.event, event.id) == ("job.completed", final.position)
        assert (again.status, from_snapshot.status) == (204, 204)
        assert types(beyond) == ["reset", "snapshot", "job.completed"]


async def test_a_finished_job_is_resumed_to_its_end() -> None:
    async with world() as w:
        job_id = await w.running_job()
        await w.finish(job_id)
        await w.execute(c.RecordFilesDeleted(job_id, "retention"))

        found = await (await w.job_feed(job_id, 2)).rest()

        assert types(found) == ["job.started", "job.file", "job.completed", "job.files_deleted"]


async def test_a_finished_job_whose_events_are_pruned_answers_its_snapshot() -> None:
    log = PrunedLog()
    async with world(log) as w:
        job_id = await w.running_job()
        await w.finish(job_id)
        log.pruned = log.head

        found = await (await w.job_feed(job_id, 0)).rest()

        assert types(found)[:2] == ["reset", "snapshot"]


async def test_a_retry_makes_the_stream_live_again() -> None:
    async with world() as w:
        job_id = await w.running_job()
        await w.fail(job_id)
        failed = await w.job_feed(job_id)
        await failed.rest()

        await w.execute(c.RetryDownload(job_id))
        resumed, from_zero = await w.job_feed(job_id, failed.last_id), await w.job_feed(job_id, 0)
        history = await from_zero.take(4)
        await w.start(job_id)
        await w.finish(job_id, attempt=2)

        assert types(history) == ["job.queued", "job.started", "job.failed", "job.retrying"]
        assert types(await resumed.rest()) == ["job.retrying", "job.started", "job.file", "job.completed"]
        assert types(await from_zero.rest()) == ["job.started", "job.file", "job.completed"]


async def test_a_job_that_ends_while_its_history_is_read_ends_the_stream() -> None:
    log = SlowLog(await history(600))
    async with world(log) as w:
        job_id = w.only_job

        feed = await w.job_feed(job_id, 0)
        await w.finish(job_id)

        assert ids(await feed.rest()) == w.ids()


# ------------------------------------------------------------------------------------------------- ticks


async def test_of_many_ticks_the_first_and_the_newest_come_a_quarter_second_apart() -> None:
    async with world() as w:
        job_id = await w.running_job()
        feed = await w.job_feed(job_id)
        await feed.next()

        for percent in range(50):
            w.live.publish(job_id, Progress("downloading", float(percent)))
        first = await feed.next()
        began = asyncio.get_running_loop().time()
        newest = await feed.next()

        assert asyncio.get_running_loop().time() - began > 0.2
        assert (first.event, first.id, first.body["percent"]) == ("job.progress", None, 0)
        assert newest.body == {
            "request_id": job_id,
            **msgspec.to_builtins(Progress("downloading", 49.0)),
        }


async def test_a_tick_that_was_not_sent_yet_gives_way_to_an_event() -> None:
    async with world() as w:
        job_id, other = await w.running_job(), await w.running_job()
        feed = await w.feed("/events")
        await feed.next()

        for percent in (1, 2):
            w.live.publish(job_id, Progress("downloading", float(percent)))
        await w.finish(job_id)
        w.live.publish(other, Progress("downloading", 3.0))
        w.live.publish(other, Progress("downloading", 4.0))
        found = await feed.take(5)

        assert types(found) == ["job.progress", "job.file", "job.completed", "job.progress", "job.progress"]
        assert [message.body.get("percent") for message in found] == [1, None, None, 3, 4]


async def test_only_the_ticks_of_the_job_come() -> None:
    async with world() as w:
        job_id, other = await w.running_job(), await w.running_job()
        feed = await w.job_feed(job_id)
        await feed.next()

        w.live.publish(other, Progress("downloading", 1.0))
        w.live.publish(job_id, Progress("downloading", 2.0))

        assert (await feed.next()).body["percent"] == 2


# ------------------------------------------------------------------------------------------------ filter


async def test_only_the_types_that_were_named_come() -> None:
    async with world() as w:
        await w.finish(await w.running_job())
        job_id = await w.running_job()

        past = await w.feed("/events?types=job.completed,job.failed&last_event_id=0")
        new = await w.feed("/events?types=job.failed&types=job.progress")
        await new.next()
        w.live.publish(job_id, Progress("downloading"))
        await w.fail(job_id)

        assert types(await past.take(2)) == ["job.completed", "job.failed"]
        assert types(await new.take(2)) == ["job.progress", "job.failed"]


async def test_without_ticks_in_the_filter_none_comes() -> None:
    async with world() as w:
        job_id = await w.running_job()
        feed = await w.feed("/events?types=job.completed")
        await feed.next()

        w.live.publish(job_id, Progress("downloading"))
        await w.finish(job_id)

        assert types([await feed.next()]) == ["job.completed"]


async def test_a_type_that_does_not_exist_is_refused() -> None:
    async with world() as w, await w.open("/events?types=job.completed,job.sung") as response:
        assert response.status == 400
        assert (await response.json())["code"] == "invalid_query"


async def test_a_parameter_that_does_not_exist_is_refused() -> None:
    async with world() as w:
        job_id = await w.submit()

        for path in (f"/download/{job_id}/events?type=job.failed", "/events?type=job.failed"):
            assert (await w.open(path)).status == 400


async def test_a_filtered_stream_resumes_behind_what_it_did_not_show() -> None:
    limits = msgspec.structs.replace(CALM, heartbeat_sec=0.05)
    async with world(limits=limits) as w:
        feed = await w.feed("/events?types=job.completed", 0)
        job_id = await w.running_job()
        await feed.until(lambda: feed.last_id == w.log.head)
        feed.close()
        await w.finish(job_id)

        resumed = await w.feed("/events?types=job.completed", feed.last_id)

        assert types([await resumed.next()]) == ["job.completed"]


# ------------------------------------------------------------------------------------------ time and limits


async def test_heartbeats_come_and_the_stream_ends_by_itself() -> None:
    limits = msgspec.structs.replace(CALM, heartbeat_sec=0.05, max_sec=0.3)
    async with world(limits=limits) as w:
        feed = await w.job_feed(await w.running_job())

        comments = []
        while (message := await feed.any()) is not None:
            comments.append(message.comment)

        assert comments[0] is None
        assert 1 <= comments.count("heartbeat") <= 6
        assert w.hub.cut == 0


async def test_a_filtered_stream_that_ends_by_itself_says_from_where_to_resume() -> None:
    async with world(limits=msgspec.structs.replace(CALM, max_sec=0.1)) as w:
        await w.running_job()
        feed = await w.feed("/events?types=job.failed", 0)

        assert await feed.rest() == []
        assert feed.last_id == w.log.head


async def test_the_ends_of_streams_that_began_together_are_spread() -> None:
    async with world() as w:
        await asyncio.gather(*(w.feed("/events") for _ in range(20)))

        ends = sorted(subscriber._end_at for subscriber in w.hub._members)

        assert 40 < ends[-1] - ends[0] < 60
        assert all(later - earlier > 0.5 for earlier, later in pairwise(ends))
