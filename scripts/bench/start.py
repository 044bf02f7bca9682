"""Measures the start, from the process to ready: `python -m scripts.bench.start`.

On an empty volume; and after a kill -9 in the middle of downloads, which are settled before it is ready.

The yardstick is a process that imports the libraries which the service cannot do without, and ends. The ratio
is what counts; absolute times carry the machine's noise.
"""

import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.e2e.service import Service
from tests.site import Site

TIMES = 10
EMPTY_SEC = 1.5
CRASHED_SEC = 2.0
JOBS = 20
SLOWLY = 100_000
DOWNLOADING_SEC = 1.0
YARDSTICK = (
    "import aiohttp.web, aiosqlite, cryptography.fernet, limits, msgspec, prometheus_client, structlog"
)


def bare() -> float:
    """Seconds that Python and the libraries take."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", YARDSTICK], check=True)
    return time.perf_counter() - began


async def ready(service: Service) -> float:
    """Seconds from the start of the process until it says that it is ready."""
    began = time.perf_counter()
    await service.launch()
    await service.logged("app.ready")
    return time.perf_counter() - began


async def ready_once() -> float:
    """Seconds of a start on an empty volume."""
    with tempfile.TemporaryDirectory(prefix="umd-bench-") as folder:
        service = Service(Path(folder) / "data")
        took = await ready(service)
        await service.stop()
    return took


async def ready_again(service: Service) -> float:
    """Seconds of a start; then the service is killed while it downloads, and with more in its queue."""
    took = await ready(service)
    await service.warm()
    await asyncio.sleep(DOWNLOADING_SEC)
    await service.kill()
    return took


async def crashed() -> list[float]:
    """Seconds of each start after a kill -9."""
    async with Site() as site:
        with tempfile.TemporaryDirectory(prefix="umd-bench-") as folder:
            service = Service(Path(folder) / "data")
            await service.start()
            for number in range(JOBS):
                await service.submit(site.url(f"/media/50mb/{number}.mp4", rate=SLOWLY))
            await service.kill()
            return [await ready_again(service) for _ in range(TIMES)]


async def main() -> None:
    bare()
    await ready_once()  # from now on the files are in the cache, and the bytecode is compiled
    yardsticks, starts = [], []
    for _ in range(TIMES):
        yardsticks.append(bare())
        starts.append(await ready_once())
    yardstick = statistics.median(yardsticks)
    print(f"{'Python and the libraries':<46} {yardstick:>9.2f} s")
    tell("empty volume: process to ready", starts, yardstick, EMPTY_SEC)
    tell(f"killed with {JOBS} downloads: process to ready", await crashed(), yardstick, CRASHED_SEC)


def tell(name: str, starts: list[float], yardstick: float, target: float) -> None:
    """A line: the median, how much that is of the libraries, and the best and the worst."""
    start = statistics.median(starts)
    print(
        f"{name:<46} {start:>9.2f} s   {start / yardstick:.2f} x the libraries   <= {target} s   "
        f"best {min(starts):.2f} s, worst {max(starts):.2f} s"
    )


if __name__ == "__main__":
    asyncio.run(main())
