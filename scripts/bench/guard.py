"""What the sandbox and the egress proxy cost a download: `python -m scripts.bench.guard`.

The whole service is measured with its guard and, in turn and in the same run, without it: then its children
are not shut off, and ask the origin themselves. More than 10 ms to the first byte, or more than 15 % of the
processor time that a 1 MB job takes with everything it sets in motion, is too much.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path

from scripts.bench.engine import Origin, fresh
from scripts.bench.service import OPTIONS, used_sec
from tests.e2e.service import ROOT, Service

WITHOUT = '''
"""Python imports this when it starts, in each of the service's processes."""
from umd.engine import sandbox

def enter(level, handover, bounds):
    handover.close()
    return ""

sandbox.enter = enter
'''
MEASURES = ("first byte ms", "cpu ms a job", "wall ms a job")


async def measured(origin: Origin, folder: Path, shots: int, *, guarded: bool) -> tuple[float, ...]:
    """The medians of one job after the other, and the processor time of all of them, by one service."""
    (folder / "sitecustomize.py").write_text(WITHOUT)
    service = Service(folder / "data")
    path = str(ROOT) if guarded else f"{folder}:{ROOT}"
    service.tracer = ("/usr/bin/env", f"PYTHONPATH={path}")
    await service.start()
    try:
        await service.download(origin.base + fresh("small"), **OPTIONS)
        first, wall = [], []
        used = used_sec(service)
        for _ in range(shots):
            asked, began = fresh("1mb"), time.monotonic()
            await service.download(origin.base + asked, **OPTIONS)
            wall.append(1_000 * (time.monotonic() - began))
            opened = await asyncio.to_thread(origin.asked_at, asked)
            first.append(1_000 * (opened - began))
        cpu = 1_000 * (used_sec(service) - used) / shots
    finally:
        await service.stop()
    return statistics.median(first), cpu, statistics.median(wall)


async def run(rounds: int, shots: int) -> None:
    taken: dict[bool, list[tuple[float, ...]]] = {False: [], True: []}
    with Origin() as origin:
        for _ in range(rounds):
            for guarded in (False, True):
                with tempfile.TemporaryDirectory(prefix="umd-bench-") as name:
                    taken[guarded].append(await measured(origin, Path(name), shots, guarded=guarded))
    print(f"{'':16}{'free':>9}{'guarded':>9}{'more':>9}{'ratio':>8}   (medians of {rounds} rounds; each)")
    for at, measure in enumerate(MEASURES):
        free, guard = ([one[at] for one in taken[guarded]] for guarded in (False, True))
        ratios = [one / other for one, other in zip(guard, free, strict=True)]
        more = statistics.median(one - other for one, other in zip(guard, free, strict=True))
        each = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        print(
            f"{measure:16}{statistics.median(free):9.2f}{statistics.median(guard):9.2f}{more:9.2f}"
            f"{statistics.median(ratios):8.2f}   ({each})"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--shots", type=int, default=40, help="1 MB jobs of each")
    arguments = parser.parse_args()
    asyncio.run(run(arguments.rounds, arguments.shots))


if __name__ == "__main__":
    main()
