"""Clients that are slow, strange or gone, and what the others notice of them."""

import asyncio
import socket
from pathlib import Path

import msgspec
import pytest
from aiohttp import ClientError

from tests.api.sse_world import (
    CALM,
    Feed,
    SlowLog,
    StreamWorld,
    history,
    ids,
    messages,
    receive,
    unchunked,
    world,
)
from tests.api.world import DEADLINE_SEC
from umd.api.sse import CLOSE_WAIT_SEC, SNDBUF_BYTES
from umd.api.sse_stream import UNSENT_BYTES_MAX, Subscriber
from umd.domain.events import Progress
from umd.log.memory import MemoryLog

BRISK = msgspec.structs.replace(CALM, heartbeat_sec=0.02, stall_sec=0.2)
LINE = "x" * 2_000


async def body(connection: socket.socket, enough: bytes | None = None) -> tuple[bytes, bool]:
    """What a bare socket receives, to its end or until some bytes come, and whether the body is whole."""
    received = await receive(connection, None if enough is None else lambda so_far: enough in so_far)
    head, _, rest = received.partition(b"\r\n\r\n")
    assert b"\r\nTransfer-Encoding: chunked" in head
    return unchunked(rest)


async def test_a_client_that_never_reads_is_cut_and_resumes_while_the_others_notice_nothing() -> None:
    async with world(limits=BRISK) as w:
        job_id = await w.running_job()
        good = await w.job_feed(job_id)
        await good.next()
        stalled = await w.socket(f"/download/{job_id}/events?last_event_id=0", receive_buffer=1_024)
        await w.joined(2)

        unsent = 0
        for _ in range(300):
            await w.say(job_id, LINE)
            assert (await good.next()).id == w.last_id()
            unsent = max(unsent, w.unsent)
        await good.until(lambda: w.hub.cut == 1)
        content, whole = await body(stalled)
        got = ids(messages(content))
        rest = await (await w.job_feed(job_id, got[-1])).take(302 - len(got))

        assert got + ids(rest) == w.ids(job_id)
        assert not whole
        assert 0 < unsent < 2 * UNSENT_BYTES_MAX + 5_000


async def test_a_client_that_stalls_while_nothing_happens_is_cut() -> None:
    async with world(limits=BRISK) as w:
        job_id = await w.running_job()
        await w.socket(f"/download/{job_id}/events", receive_buffer=1_024)
        await w.joined(1)
        await w.lag(job_id)

        good = await w.feed("/events")
        await good.until(lambda: w.hub.cut == 1)

        assert w.hub.subscribers == 1


async def test_a_client_that_stalls_at_the_end_is_cut() -> None:
    async with world(limits=msgspec.structs.replace(CALM, stall_sec=0.05)) as w:
        job_id = await w.running_job()
        await w.socket(f"/download/{job_id}/events", receive_buffer=1_024)
        await w.joined(1)

        await w.lag(job_id)
        await w.finish(job_id)
        await w.joined(0)

        assert w.hub.cut == 1


@pytest.mark.parametrize("begun", ["live", "behind"])
async def test_for_a_client_that_falls_behind_little_is_held_and_nothing_lost(begun: str) -> None:
    async with world(MemoryLog(await history(1, LINE))) as w:
        job_id = w.only_job
        if begun == "behind":
            await w.say_at_once(job_id, 500, LINE)
        lazy = await w.socket(f"/download/{job_id}/events?last_event_id=0", receive_buffer=1_024)
        if begun == "live":
            await w.joined(1)

        unsent = 0
        for _ in range(500):
            await w.say(job_id, LINE)
            unsent = max(unsent, w.unsent)
        await w.finish(job_id)
        content, whole = await body(lazy)

        assert ids(messages(content)) == w.ids(job_id)
        assert whole
        assert w.hub.cut == 0
        assert 0 < unsent < 2 * UNSENT_BYTES_MAX


async def test_a_client_that_lags_gets_the_newest_tick_of_each_job_alone() -> None:
    async with world() as w:
        jobs = [await w.running_job(), await w.running_job()]
        lazy = await w.socket("/events", receive_buffer=1_024)
        await w.joined(1)
        await w.lag(jobs[0])
        good = await w.feed("/events?types=job.progress")
        await good.next()

        for percent in (1.0, 2.0, 3.0):
            for job_id in jobs:
                w.live.publish(job_id, Progress("downloading", percent))
            ticks = await good.take(2)
            assert [tick.body["percent"] for tick in ticks] == [percent, percent]
        await w.finish(jobs[0])
        skipped = w.hub.ticks_skipped
        content, _ = await body(lazy, b'"%b","phase":"downloading","percent":3.0' % jobs[1].encode())
        shown = [tick.body for tick in messages(content) if tick.event == "job.progress"]

        assert [tick["request_id"] for tick in shown if tick["percent"] != 3.0] == []
        assert [tick["request_id"] for tick in shown][:1] != [jobs[0]]
        assert skipped == 5


@pytest.mark.parametrize("path", ["/download/{}/events", "/events"])
async def test_thousands_of_frames_with_heartbeats_between_them_are_parsed(path: str) -> None:
    async with world(limits=msgspec.structs.replace(CALM, heartbeat_sec=0.005)) as w:
        job_id = await w.running_job()
        path = path.format(job_id)
        ready, bare = await w.feed(path), await w.socket(path)
        reading = asyncio.gather(beats(ready, 2_002), body(bare, b"event: job.completed"))
        await w.joined(2)

        for n in range(2_000):
            await w.say(job_id, "x" * (n % 50))
        await w.finish(job_id)
        (found, heartbeats), (content, _) = await reading

        assert found == w.ids(after=4)
        assert ids(messages(content)) == found[: len(ids(messages(content)))]
        assert len(ids(messages(content))) >= 2_001
        assert heartbeats > 5
        assert content.count(b": heartbeat\n") > 5


async def beats(feed: Feed, count: int) -> tuple[list[int], int]:
    """The ids of so many events, and how many heartbeats came between them."""
    found: list[int] = []
    heartbeats = 0
    while len(found) < count:
        message = await feed.any()
        assert message is not None
        found += ids([message])
        heartbeats += message.comment is not None
    return found, heartbeats


async def test_a_client_of_http_1_0_gets_the_frames_as_they_are() -> None:
    async with world() as w:
        job_id = await w.running_job()
        old = await w.socket(f"/download/{job_id}/events", version="1.0")
        await w.joined(1)

        await w.say(job_id)
        w.live.publish(job_id, Progress("downloading"))
        await w.finish(job_id)
        head, _, content = (await receive(old)).partition(b"\r\n\r\n")

        assert b"chunked" not in head
        assert [message.event for message in messages(content)] == [
            "snapshot",
            "job.log",
            "job.progress",
            "job.file",
            "job.completed",
        ]


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="Linux alone has this option")
async def test_the_kernel_holds_little_for_a_stream_and_gives_up_on_a_dead_peer() -> None:
    async with world() as w:
        await w.feed("/events")

        (subscriber,) = w.hub._members
        connection = subscriber.transport.get_extra_info("socket")

        # Linux doubles the value for its own book-keeping.
        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) <= 2 * SNDBUF_BYTES
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 30_000


# ------------------------------------------------------------------------------------------------ gone


async def gone(w: StreamWorld, feed: Feed) -> None:
    """Break a stream off, and wait until the server has noticed."""
    left = w.hub.subscribers - 1
    feed.close()
    async with asyncio.timeout(DEADLINE_SEC):
        while w.hub.subscribers > left:
            await w.turn()


async def test_a_lost_client_is_forgotten_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    async with world() as w:
        job_id = await w.running_job()
        feeds = [await w.feed(path) for path in (f"/download/{job_id}/events", "/events") * 5]

        for feed in feeds:
            await w.say(job_id)
            await gone(w, feed)

        assert w.hub._by_stream == {}
    assert caplog.records == []


async def test_clients_that_vanish_while_much_is_written_leave_nothing_behind(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with world(SlowLog(await history(1_200))) as w:
        for turns in range(30):
            connection = await w.socket("/events?last_event_id=0")
            for _ in range(turns):
                await w.turn()
            connection.close()
            await w.say(w.only_job, LINE)

        await w.joined(0)
    assert caplog.records == []


async def test_a_place_that_comes_free_is_given_again() -> None:
    async with world(limits=msgspec.structs.replace(CALM, subscribers_max=2)) as w:
        first, _ = await w.feed("/events"), await w.feed("/events")
        refused = await w.open("/events")
        await gone(w, first)
        await w.feed("/events")

        assert refused.status == 503
        assert (await refused.json())["code"] == "queue_full"
        assert refused.headers["Retry-After"]


# ---------------------------------------------------------------------------------------------- closing


async def test_closing_ends_every_stream_where_it_can_be_resumed() -> None:
    async with world() as w:
        job_id = await w.running_job()
        paths = [f"/download/{job_id}/events", "/events?last_event_id=0", "/events?types=job.log"]
        feeds = [await w.feed(path) for path in paths]
        await w.joined(3)
        await w.submit()

        await w.hub.close()
        found = [[message.event for message in await feed.rest()] for feed in feeds]
        refused = await w.open("/events")
        await w.hub.close()

        assert found == [["snapshot"], ["job.queued", "job.started", "job.queued"], ["snapshot"]]
        assert [feed.last_id for feed in feeds] == [w.log.head - 2, w.log.head, w.log.head]
        assert (await refused.json())["code"] == "shutting_down"
        assert w.hub.subscribers == 0


async def test_closing_waits_for_no_client_that_reads_nothing() -> None:
    async with world() as w:
        job_id = await w.running_job()
        for _ in range(3):
            await w.socket("/events", receive_buffer=1_024)
        await w.joined(3)
        await w.say_at_once(job_id, 200, LINE)

        async with asyncio.timeout(2 * CLOSE_WAIT_SEC):
            await w.hub.close()

        assert w.hub.subscribers == 0


async def test_closing_in_the_middle_of_a_history_ends_it_at_a_whole_event() -> None:
    log = SlowLog(await history(1_750))
    async with world(log) as w:
        closing: list[asyncio.Task[None]] = []
        log.meanwhile = lambda: closing.append(asyncio.create_task(w.hub.close()))

        found = ids(await (await w.feed("/events", 0)).rest())
        await asyncio.gather(*closing)

        assert found == w.ids()[: len(found)]
        assert len(found) < 1_000


async def test_closing_before_the_start_and_twice_is_no_harm(tmp_path: Path) -> None:
    w = StreamWorld(tmp_path)

    await w.hub.close()
    await w.hub.close()


async def test_a_log_that_has_ended_ends_the_stream() -> None:
    async with world(SlowLog(await history(5))) as w:
        await w.log.stop()

        feed = await w.feed("/events", 0)

        assert await feed.rest() == []


async def test_a_bug_behind_the_first_frame_cuts_the_stream_off(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world() as w:
        feed = await w.feed("/events")
        await feed.next()
        monkeypatch.setattr(Subscriber, "_beat", w.jobs.require)
        (subscriber,) = w.hub._members
        subscriber._beat_at = 0
        subscriber._wake.set()

        with pytest.raises(ClientError):
            await feed.rest()

        assert w.hub.subscribers == 0
