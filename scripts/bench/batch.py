"""Measures batches as their clients meet them: `python -m scripts.bench.batch [--only NAME]`.

A batch is compared with the same files as single submissions, in the same run and on the same service. The
memory of a long playlist is the service's own process, before and after, and again when every download of it
is done (`whole`, which takes minutes and is not among the default parts).
"""

import argparse
import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable

from scripts.bench.engine import Origin, fresh, pss_mb
from scripts.bench.service import serving
from tests.e2e.service import Service

FILES = 100
AT_ONCE = 10
ROUNDS = 3
LONG = 5_000
WAIT_SEC = 1_800.0
LINE = "{:<52} {:>10}   {}"


async def hundred_files(origin: Origin) -> None:
    """From the first POST to the last download's end, ten at once."""
    single, batch = [], []
    async with serving(max_concurrent_downloads=AT_ONCE) as service:
        await service.download(origin.base + fresh("small"), embed_metadata=False)
        for _ in range(ROUNDS):
            single.append(await _timed(_single(service, _urls(origin))))
            batch.append(await _timed(_batch(service, _urls(origin))))
    one, other = statistics.median(single), statistics.median(batch)
    print(LINE.format("100 small files as single submissions", f"{one:.2f} s", ""))
    print(LINE.format("100 small files as one batch", f"{other:.2f} s", f"{other / one:.2f} x, <= 1.3 x"))


async def long_list(origin: Origin) -> None:
    """The service's memory with a playlist of 5,000 under way, read whole and kept in reverse."""
    async with serving(max_concurrent_downloads=1) as service:
        before = await _settled(service, origin)
        url = f"{origin.base}/site/playlist/long?n={LONG}&formats=bare&hold=never"
        batch_id = await _submit(service, "playlist", url=url, items="::-1")
        began = time.monotonic()
        await _until_event(service, batch_id, "batch.expanded")
        took = time.monotonic() - began
        grown = pss_mb(service.pid) - before
        began = time.monotonic()
        shown = await service.call("GET", f"batch/{batch_id}")
        answer = time.monotonic() - began
        assert shown["total_jobs"] == LONG, shown["total_jobs"]
        await service.call("DELETE", f"batch/{batch_id}")
    print(LINE.format("5,000 items listed", f"{took:.2f} s", ""))
    print(LINE.format("memory with them", f"{grown:.1f} MB", "< 50 MB"))
    print(LINE.format("GET of the batch, every item in it", f"{1_000 * answer:.0f} ms", ""))


async def whole(origin: Origin) -> None:
    """The same with all 5,000 downloaded."""
    async with serving(max_concurrent_downloads=AT_ONCE) as service:
        before = await _settled(service, origin)
        url = f"{origin.base}/site/playlist/whole?n={LONG}&formats=bare"
        began = time.monotonic()
        batch_id = await _submit(service, "playlist", url=url, concurrent_limit=10, embed_metadata=False)
        await _until_event(service, batch_id, "batch.completed")
        grown = pss_mb(service.pid) - before
    print(LINE.format("5,000 items downloaded", f"{time.monotonic() - began:.0f} s", ""))
    print(LINE.format("memory after it", f"{grown:.1f} MB", "< 50 MB"))


async def _settled(service: Service, origin: Origin) -> float:
    """The memory of a service that has worked before."""
    for _ in range(20):
        await service.download(origin.base + fresh("small"), embed_metadata=False)
    return pss_mb(service.pid)


def _urls(origin: Origin) -> list[str]:
    return [origin.base + fresh("small") for _ in range(FILES)]


async def _timed(work: Awaitable[None]) -> float:
    began = time.monotonic()
    await work
    return time.monotonic() - began


async def _single(service: Service, urls: list[str]) -> None:
    jobs = await asyncio.gather(*(service.submit(url, embed_metadata=False) for url in urls))
    async with service.events("events", last=0) as events:
        missing = set(jobs)
        async for event in events:
            if event.type == "job.completed":
                missing.discard(event.data["request_id"])
            if not missing:
                return


async def _batch(service: Service, urls: list[str]) -> None:
    batch_id = await _submit(service, "batch", urls=urls, concurrent_limit=AT_ONCE, embed_metadata=False)
    await _until_event(service, batch_id, "batch.completed")


async def _submit(service: Service, what: str, **body: object) -> str:
    return str((await service.call("POST", f"{what}/download", 202, json=body))["batch_id"])


async def _until_event(service: Service, batch_id: str, wanted: str) -> None:
    """A stream ends by itself after some minutes, and is resumed."""
    last = 0
    async with asyncio.timeout(WAIT_SEC):
        while True:
            async with service.events(f"batch/{batch_id}/events", last=last) as events:
                async for event in events:
                    last = event.id if event.id is not None else last
                    if event.type == wanted:
                        return


Part = Callable[[Origin], Awaitable[None]]
PARTS: dict[str, Part] = {"hundred-files": hundred_files, "long-list": long_list}
SLOW: dict[str, Part] = {"whole": whole}


async def measure(only: list[str]) -> None:
    with Origin() as origin:
        for name in only or PARTS:
            await (PARTS | SLOW)[name](origin)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", choices=PARTS | SLOW, default=[], help="this part alone")
    asyncio.run(measure(parser.parse_args().only))


if __name__ == "__main__":
    main()
