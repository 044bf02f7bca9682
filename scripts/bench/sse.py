"""Measure the event streams: many subscribers of one job, against a queue for each subscriber.

    python -m scripts.bench.sse [--subscribers 1000] [--seconds 10] [--rate 4] [--rounds 1]

The server runs in a process of its own, the clients in this one; each is held to a core of its own where
there are two. Latency is from `Live.publish` to the client's socket. The queue variant is what one writes
first: a bounded queue for each subscriber, encoded once, `await response.write` in its handler. Look at the
ratio: the rest is the machine's.
"""

import argparse
import asyncio
import contextlib
import multiprocessing
import os
import re
import selectors
import socket
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from aiohttp import web

from tests.api.world import PREFIX, World
from umd.api import sse_frames
from umd.api.sse import HEADERS
from umd.domain.events import Progress
from umd.log.memory import MemoryLog
from umd.settings import Settings
from umd.telemetry import logging

STAMP = re.compile(rb'"downloaded_bytes":(\d+)')
"""A tick carries the time at which it was published: microseconds of the clock that both processes share."""

QUEUE_MAX = 64


class Address(NamedTuple):
    """Where to subscribe."""

    port: int
    path: str


class Load(NamedTuple):
    """What the server did for a run."""

    core: float
    kib: float


class Figures(NamedTuple):
    """What a run came to."""

    core: float
    p50_ms: float
    p99_ms: float
    delivered: float
    kib_each: float


def main() -> None:
    arguments = _arguments()
    print(f"{arguments.subscribers} subscribers, {arguments.rate} ticks a second, {arguments.seconds:g} s")
    print(f"{'':8}{'core':>8}{'p50 ms':>9}{'p99 ms':>9}{'delivered':>11}{'KiB each':>10}")
    hub = _median([_measure(_serve_hub, arguments) for _ in range(arguments.rounds)])
    _print("hub", hub)
    queue = _median([_measure(_serve_queues, arguments) for _ in range(arguments.rounds)])
    _print("queue", queue)
    print(
        f"queue : hub = {queue.core / hub.core:.1f} times the core, {queue.p99_ms / hub.p99_ms:.1f} times p99"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--subscribers", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rate", type=int, default=4, help="ticks a second; the hub lets 4 pass")
    parser.add_argument("--rounds", type=int, default=1, help="the median of so many runs is shown")
    return parser.parse_args()


def _median(runs: list[Figures]) -> Figures:
    return Figures(*map(statistics.median, zip(*runs, strict=True)))


def _print(name: str, figures: Figures) -> None:
    core, p50, p99, delivered, kib = figures
    print(f"{name:8}{core:>8.3f}{p50:>9.1f}{p99:>9.1f}{delivered:>11.1%}{kib:>10.1f}")


def _hold_to_core(number: int) -> None:
    if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {number})


# ---------------------------------------------------------------------------------------------- clients


def _measure(serve: Callable[[Connection], None], arguments: argparse.Namespace) -> Figures:
    """Start a server, subscribe, let it publish, and take the figures."""
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,), daemon=True)
    server.start()
    _hold_to_core(1)
    with contextlib.ExitStack() as opened:
        clients = _subscribe(ours.recv(), arguments.subscribers, opened)
        ours.send((arguments.rate, arguments.seconds))
        latencies = sorted(_listen(clients, ours))
        load: Load = ours.recv()
        ours.send(None)
        server.join()
    due = arguments.subscribers * round(min(arguments.rate, 4) * arguments.seconds)
    return Figures(
        load.core,
        latencies[len(latencies) // 2] / 1_000,
        latencies[len(latencies) * 99 // 100] / 1_000,
        len(latencies) / due,
        load.kib / arguments.subscribers,
    )


def _subscribe(address: Address, count: int, opened: contextlib.ExitStack) -> list[socket.socket]:
    """So many connections, each with its stream begun."""
    request = f"GET {address.path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    clients = []
    for _ in range(count):
        client = opened.enter_context(socket.create_connection(("127.0.0.1", address.port)))
        client.sendall(request)
        clients.append(client)
    for client in clients:
        while sse_frames.RETRY not in client.recv(65_536):
            pass
    return clients


def _listen(clients: list[socket.socket], server: Connection) -> Iterator[int]:
    """The microseconds that each tick took to each client, until the server has done its work."""
    with selectors.DefaultSelector() as selector:
        selector.register(server, selectors.EVENT_READ)
        for client in clients:
            selector.register(client, selectors.EVENT_READ, client.recv)
        while True:
            for key, _ in selector.select():
                if key.data is None:
                    return
                data = key.data(65_536)
                now = time.monotonic_ns() // 1_000
                yield from (now - int(stamp) for stamp in STAMP.findall(data) if stamp != b"0")


# ----------------------------------------------------------------------------------------------- servers


def _serve_hub(client: Connection) -> None:
    _hold_to_core(0)
    logging.configure("warning", "console")
    asyncio.run(_hub(client))


async def _hub(client: Connection) -> None:
    with tempfile.TemporaryDirectory(prefix="umd-bench-") as root:
        settings = Settings(port=0, sse_max_subscribers=100_000)
        world = World(Path(root), settings, MemoryLog())
        async with world.running():
            job_id = await world.submit()
            address = Address(world.port, f"{PREFIX}/download/{job_id}/events")
            await _run(client, address, lambda tick: world.live.publish(job_id, tick))


def _serve_queues(client: Connection) -> None:
    _hold_to_core(0)
    asyncio.run(_queues(client))


async def _queues(client: Connection) -> None:
    queues: set[asyncio.Queue[bytes]] = set()

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers=HEADERS)
        await response.prepare(request)
        await response.write(sse_frames.RETRY)
        queue: asyncio.Queue[bytes] = asyncio.Queue(QUEUE_MAX)
        queues.add(queue)
        try:
            while True:
                await response.write(await queue.get())
        finally:
            queues.remove(queue)

    def publish(tick: Progress) -> None:
        frame = sse_frames.progress("01hf0000000000000000000000", tick)
        for queue in queues:
            with contextlib.suppress(asyncio.QueueFull):
                queue.put_nowait(frame)

    app = web.Application()
    app.router.add_get("/", stream)
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=1_024).start()
    await _run(client, Address(runner.addresses[0][1], "/"), publish)
    await runner.cleanup()


async def _run(client: Connection, address: Address, publish: Callable[[Progress], None]) -> None:
    """Tell where to subscribe, wait for the word, publish, and tell what it took."""
    before = _resident_kib()
    client.send(address)
    rate, seconds = await asyncio.to_thread(client.recv)
    kib = _resident_kib() - before
    core = await _busy(_publish(publish, rate, seconds))
    await asyncio.sleep(1.0)  # what was published last arrives, too
    client.send(Load(core, kib))
    await asyncio.to_thread(client.recv)


async def _busy(work: Awaitable[None]) -> float:
    """The part of a core that this process used for some work."""
    began, used = time.monotonic(), time.process_time()
    await work
    return (time.process_time() - used) / (time.monotonic() - began)


async def _publish(publish: Callable[[Progress], None], rate: int, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    for n in range(round(rate * seconds)):
        await asyncio.sleep(began + n / rate - loop.time())
        stamp = time.monotonic_ns() // 1_000
        publish(Progress("downloading", 42.1, stamp, 73_400_320, 5_242_880.0, 12.6))
    await asyncio.sleep(began + seconds - loop.time())


def _resident_kib() -> float:
    """The memory that this process holds; 0 where the system does not say so."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1_024


if __name__ == "__main__":
    main()
