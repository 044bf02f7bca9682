"""Measures the whole service as its clients meet it: `python -m scripts.bench.service [--only NAME]`.

T and F are those of `scripts.bench.engine`, taken in the same run: T is a new YoutubeDL for each file in 10
threads of one warm process, F one object used for one file after the other. Ratios are what counts; absolute
times carry the machine's noise. The origin and the service have processes of their own.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from scripts.bench import log as log_bench
from scripts.bench.engine import AT_ONCE, FILES, Origin, fresh, other_process, pss_mb
from tests.e2e.service import Service, running

SHOTS = 20
OPTIONS: dict[str, Any] = {"embed_metadata": False}
CONNECTIONS = 128
POSTS = 8_000
EVENTS = 1_000_000
SEGMENT = "{:<46} {:>12} {:>10}   {}"


class Journal(Origin):
    """The origin, and what it has written down."""

    def journal(self, path: str = "*") -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.base}/_site/requests?path={path}") as answer:
            return dict(json.load(answer))

    def record(self, path: str) -> dict[str, Any]:
        """The last request for a path."""
        requests = self.journal(path)["requests"]
        return dict(requests[-1]) if requests else {}

    def open_gate(self, name: str) -> None:
        request = urllib.request.Request(f"{self.base}/_site/gates/{name}", method="PUT")
        urllib.request.urlopen(request).close()


class Bench:
    """One run: the origin, the yardsticks, and how a line of the table looks."""

    def __init__(self, origin: Journal) -> None:
        self.origin = origin
        self._yardsticks: dict[str, dict[str, float]] = {}

    def yardstick(self, role: str) -> dict[str, float]:
        """T or F, measured once."""
        if role not in self._yardsticks:
            self._yardsticks[role] = other_process(self.origin.base, SHOTS, role)
        return self._yardsticks[role]

    def url(self, kind: str, query: str = "") -> tuple[str, str]:
        """A fresh file's URL, and its path."""
        path = fresh(kind)
        return path, self.origin.base + path + query

    def line(self, what: str, value: float, unit: str, target: str, ratio: float | None = None) -> None:
        shown = "" if ratio is None else f"{ratio:.2f} x T"
        print(SEGMENT.format(what, f"{value:,.1f} {unit}", shown, target), flush=True)


@asynccontextmanager
async def serving(**settings: object) -> AsyncIterator[Service]:
    with tempfile.TemporaryDirectory(prefix="umd-bench-") as folder:
        async with running(Path(folder) / "data", **settings) as service:
            yield service


def used_sec(service: Service) -> float:
    """Processor seconds of the service and of all its children, those that have ended included."""
    tree = [psutil.Process(service.pid), *psutil.Process(service.pid).children()]
    times = [process.cpu_times() for process in tree]
    service_only, *engine = times
    return (
        service_only.user
        + service_only.system
        + sum(one.user + one.system + one.children_user + one.children_system for one in engine)
    )


async def first_byte(bench: Bench) -> None:
    """From the POST to the first request at the origin, one job after the other on an idle service."""
    yardstick = bench.yardstick("threads")
    waits = []
    async with serving() as service:
        await service.download(bench.url("small")[1], **OPTIONS)
        used = used_sec(service)
        for _ in range(SHOTS):
            path, url = bench.url("1mb")
            began = time.monotonic()
            job_id = await service.submit(url, **OPTIONS)
            await service.final(job_id)
            waits.append(1_000 * (await asyncio.to_thread(bench.origin.asked_at, path) - began))
        cpu = 1_000 * (used_sec(service) - used) / SHOTS
    wait = statistics.median(waits)
    bench.line("submit to first byte at the origin", wait, "ms", "<= 0.6 x T", wait / yardstick["first_ms"])
    bench.line("CPU a 1 MB job, everything", cpu, "ms", "<= 0.7 x T", cpu / yardstick["cpu_ms"])


async def forty_files(bench: Bench) -> None:
    """40 small files at 10 at once, from the first POST to the last job's end."""
    yardstick = bench.yardstick("threads")
    async with serving() as service:
        await service.download(bench.url("small")[1], **OPTIONS)
        began = time.monotonic()
        jobs = [service.submit(bench.url(f"n/{number}")[1], **OPTIONS) for number in range(FILES)]
        ids = await asyncio.gather(*jobs)
        await asyncio.gather(*(service.final(job_id) for job_id in ids))
        wall = time.monotonic() - began
        hold = [service.submit(bench.url("small", "?hold=ten")[1], **OPTIONS) for _ in range(AT_ONCE + 5)]
        held = await asyncio.gather(*hold)
        await _until(lambda: _active(bench) >= AT_ONCE)
        peak = _active(bench)
        bench.origin.open_gate("ten")
        await asyncio.gather(*(service.final(job_id) for job_id in held))
    bench.line("40 small files, 10 at once", wall, "s", "<= 0.5 x T", wall / yardstick["wall_sec"])
    bench.line("at once, as the origin sees it", peak, "", f"= {AT_ONCE}")


async def memory(bench: Bench) -> None:
    """PSS of each child while ten downloads run, and of the service; GET of a status meanwhile."""
    async with serving() as service:
        slow = [bench.url("50mb", "?rate=200000")[1] for _ in range(AT_ONCE)]
        ids = [await service.submit(url, **OPTIONS) for url in slow]
        await _until(lambda: _active(bench) >= AT_ONCE)
        zygote = psutil.Process(service.pid).children()[0]
        children = [pss_mb(child.pid) for child in zygote.children()]
        own = pss_mb(service.pid)
        waits = []
        for number in range(500):
            began = time.monotonic()
            await service.show(ids[number % AT_ONCE])
            waits.append(1_000 * (time.monotonic() - began))
        for job_id in ids:
            await service.call("DELETE", f"download/{job_id}")
    bench.line("PSS of a child, ten at once", statistics.mean(children), "MB", "<= 25 MB")
    bench.line("PSS of the service", own, "MB", "")
    bench.line("GET status, p95, ten downloads running", _quantile(waits, 95), "ms", "< 50 ms")


async def cancel(bench: Bench) -> None:
    """From the DELETE until the connection at the origin is closed, and until it is answered."""
    closed, answered = [], []
    async with serving() as service:
        for _ in range(10):
            path, url = bench.url("50mb", "?rate=500000")
            job_id = await service.submit(url, **OPTIONS)
            await _until(partial(_flows, bench.origin, path))
            began = time.monotonic()
            await service.call("DELETE", f"download/{job_id}")
            answered.append(1_000 * (time.monotonic() - began))
            await _until(partial(_closed, bench.origin, path))
            closed.append(1_000 * (bench.origin.record(path)["closed_at"] - began))
        left = len(list((service.data_dir / "temp").glob("job-*")))
    bench.line("cancel: connection at the origin closed", statistics.median(closed), "ms", "<= 200 ms")
    bench.line("cancel: answered, every process gone", statistics.median(answered), "ms", "")
    bench.line("cancel: folders left", left, "", "= 0")


async def progress(bench: Bench) -> None:
    """Distinct values that a subscriber sees each second of a 500 KB/s download."""
    async with serving() as service:
        job_id = await service.submit(bench.url("1mb", "?rate=500000")[1], **OPTIONS)
        values, times = set(), []
        async with service.events(f"download/{job_id}/events") as events:
            async for event in events:
                if event.type == "job.progress" and event.data["downloaded_bytes"] not in values:
                    values.add(event.data["downloaded_bytes"])
                    times.append(time.monotonic())
    bench.line("progress values a second at 500 KB/s", len(times) / (times[-1] - times[0]), "/s", ">= 3 /s")


async def posts(bench: Bench) -> None:
    """Durable POSTs at 128 connections; a core is a second of the service's processor time."""
    async with serving(max_concurrent_downloads=1, queue_max=1_000_000, retention_sec=3_600) as service:
        blocker = await service.submit(bench.url("50mb", "?rate=10000")[1], **OPTIONS)
        body = json.dumps({"url": "https://example.com/video.mp4"}).encode()
        head = f"POST /api/v1/download HTTP/1.1\r\nHost: bench\r\nContent-Length: {len(body)}\r\n"
        request = f"{head}Content-Type: application/json\r\n\r\n".encode() + body
        used, began = used_sec(service), time.monotonic()
        waits = await asyncio.gather(
            *(_post(service.port, request, POSTS // CONNECTIONS) for _ in range(CONNECTIONS))
        )
        wall, cpu = time.monotonic() - began, used_sec(service) - used
        await service.call("DELETE", f"download/{blocker}")
    flat = [wait for connection in waits for wait in connection]
    bench.line("durable POSTs, 128 connections", len(flat) / wall, "/s", "")
    bench.line("durable POSTs for each core used", len(flat) / cpu, "/s", ">= 1,500 /s")
    bench.line("durable POSTs, p99", _quantile(flat, 99), "ms", "< 100 ms")


async def boot(bench: Bench) -> None:
    """From the start of the process until it is ready, on an empty log and on one of a million events."""
    for rows in (0, EVENTS):
        with tempfile.TemporaryDirectory(prefix="umd-bench-") as folder:
            if rows:
                await log_bench.generate(Path(folder) / "data" / "log", rows)
            service = Service(Path(folder) / "data", sse_heartbeat_sec=15)
            began = time.monotonic()
            await service.start()
            took = time.monotonic() - began
            said = (await service.logged("app.ready"))["seconds"]
            await service.stop()
        bench.line(f"start on {rows:,} rows: process to ready", took, "s", "<= 3 s")
        bench.line(f"start on {rows:,} rows: as the service says", said, "s", "")


async def _post(port: int, request: bytes, count: int) -> list[float]:
    """Requests one after the other on one connection; the time of each in ms."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    waits = []
    for _ in range(count):
        began = time.monotonic()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 202"), head
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        waits.append(1_000 * (time.monotonic() - began))
    writer.close()
    return waits


def _flows(origin: Journal, path: str) -> bool:
    return bool(origin.record(path).get("bytes_sent", 0) > 100_000)


def _closed(origin: Journal, path: str) -> bool:
    return bool(origin.record(path).get("closed_at"))


def _active(bench: Bench) -> int:
    return int(bench.origin.journal()["active"])


async def _until(condition: Callable[[], Any], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not await asyncio.to_thread(condition):
        if time.monotonic() > deadline:
            raise TimeoutError
        await asyncio.sleep(0.005)


def _quantile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100)[percent - 1]


PARTS: dict[str, Callable[[Bench], Awaitable[None]]] = {
    "first-byte": first_byte,
    "forty-files": forty_files,
    "memory": memory,
    "cancel": cancel,
    "progress": progress,
    "posts": posts,
    "boot": boot,
}


async def measure(only: list[str]) -> None:
    origin = Journal()
    with origin:
        bench = Bench(origin)
        print(SEGMENT.format("what", "value", "ratio", "target"))
        for name in only or PARTS:
            await PARTS[name](bench)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", choices=PARTS, default=[], help="measure this part alone")
    asyncio.run(measure(parser.parse_args().only))


if __name__ == "__main__":
    main()
