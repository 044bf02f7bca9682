"""Measures the start on an empty volume, from the process to ready: `python -m scripts.bench.start`.

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

TIMES = 10
TARGET_SEC = 1.5
YARDSTICK = (
    "import aiohttp.web, aiosqlite, cryptography.fernet, limits, msgspec, prometheus_client, structlog"
)


def bare() -> float:
    """Seconds that Python and the libraries take."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", YARDSTICK], check=True)
    return time.perf_counter() - began


async def ready() -> float:
    """Seconds from the start of the process until it says that it is ready."""
    with tempfile.TemporaryDirectory(prefix="umd-bench-") as folder:
        service = Service(Path(folder) / "data")
        began = time.perf_counter()
        await service.launch()
        await service.logged("app.ready")
        took = time.perf_counter() - began
        await service.stop()
    return took


async def main() -> None:
    bare()
    await ready()  # from now on the files are in the cache, and the bytecode is compiled
    yardsticks, starts = [], []
    for _ in range(TIMES):
        yardsticks.append(bare())
        starts.append(await ready())
    yardstick, start = statistics.median(yardsticks), statistics.median(starts)
    print(f"{'Python and the libraries':<46} {yardstick:>9.2f} s")
    print(
        f"{'empty volume: process to ready':<46} {start:>9.2f} s   {start / yardstick:.2f} x the libraries"
        f"   <= {TARGET_SEC} s   best {min(starts):.2f} s"
    )


if __name__ == "__main__":
    asyncio.run(main())
