"""Slow clients and many streams at once: whoever asks how the service is gets an answer soon."""

import asyncio
import resource
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.api.door import door, headers
from tests.api.sse_world import StreamWorld
from tests.api.sse_world import world as stream_world
from tests.api.world import PREFIX, World, until
from umd.api import connection, server

HEALTH_P99_SEC = 0.2
SLOW = f"POST {PREFIX}/download HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n".encode()
FOLLOW = f"GET {PREFIX}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


@asynccontextmanager
async def crowd(port: int, count: int, word: bytes) -> AsyncIterator[list[asyncio.StreamWriter]]:
    """So many connections that have said something, and say and read nothing more."""
    writers = []
    try:
        for _ in range(count):
            _reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writers.append(writer)
            writer.write(word)
        yield writers
    finally:
        for writer in writers:
            writer.close()


async def health_p99_sec(world: StreamWorld, count: int) -> float:
    """How long all but the slowest hundredth of the answers took, while events go to everybody."""
    job_id = await world.running_job()
    took = []
    for number in range(count):
        event = asyncio.ensure_future(world.say(job_id)) if number % 10 == 0 else None
        began = time.perf_counter()
        assert (await world.get("/health")).status == 200
        took.append(time.perf_counter() - began)
        if event is not None:
            await event
    return sorted(took)[count * 99 // 100]


async def test_t16_slow_clients_and_streams_leave_the_health_well() -> None:
    async with stream_world() as world, crowd(world.port, 200, SLOW), crowd(world.port, 200, FOLLOW):
        await until(lambda: world.hub.subscribers == 200)
        assert await health_p99_sec(world, 500) < HEALTH_P99_SEC


@pytest.mark.soak
async def test_t16_two_thousand_of_each_leave_the_health_well() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(16_384, hard), hard))
    try:
        async with stream_world() as world, crowd(world.port, 2_000, SLOW), crowd(world.port, 2_000, FOLLOW):
            await until(lambda: world.hub.subscribers == 2_000)
            p99 = await health_p99_sec(world, 1_000)
        print(f"health p99: {p99 * 1_000:.1f} ms")  # noqa: T201  # a measurement
        assert p99 < HEALTH_P99_SEC
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_t16_who_connects_and_says_nothing_is_cut_off(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "HEADER_WAIT_SEC", 0.05)

    assert await world.exchange(b"") == b""
    await until(lambda: world.connections == 0)


async def test_t16_who_has_been_answered_may_wait_for_longer(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "HEADER_WAIT_SEC", 0.05)
    ask = f"GET {PREFIX}/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    async with world.connected() as (reader, writer):
        for _ in range(2):
            writer.write(ask)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
            await reader.readexactly(length)
            async with world.connected() as (other, _):  # is cut off in the time that the first one waits
                assert await other.read() == b""


async def test_t16_a_flood_of_one_key_leaves_room_for_another(tmp_path: Path) -> None:
    async with door(tmp_path, sse_max_per_caller=5) as world:
        key = headers("alice-read")["X-API-Key"].encode()
        word = FOLLOW.replace(b"\r\n\r\n", b"\r\nX-API-Key: " + key + b"\r\n\r\n")
        async with crowd(world.port, 50, word):
            await until(lambda: world.hub.subscribers == 5)
            async with world.session.get(f"{PREFIX}/events", headers=headers("bob-read")) as other:
                assert other.status == 200
            assert world.hub.subscribers <= 6


async def test_t16_a_flood_of_connections_leaves_descriptors_for_all_else(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = world.connections
    monkeypatch.setattr(server, "CONNECTIONS_MAX", held + 20)
    async with crowd(world.port, 20, SLOW):
        await until(lambda: world.connections == held + 20)
        assert await world.exchange(b"") == b""
    await until(lambda: world.connections == held)

    assert (await world.get("/health")).status == 200
