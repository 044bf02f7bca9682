"""What the sandbox and the egress proxy cost a download: `python -m scripts.bench.guard`.

The engine is measured in turn with that of an earlier revision, which let its children out freely, all in one
run. More than 10 ms to the first byte or 15 % of processor time is too much.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
FREE = "2fb64a7"
"""The last revision without either."""

MEASURE = """
import asyncio, json
from scripts.bench import engine
with engine.Origin() as origin:
    print(json.dumps(asyncio.run(engine.engine(origin, {shots}, "fork"))))
"""


def measured(tree: Path, shots: int) -> dict[str, float]:
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(
        [sys.executable, "-c", MEASURE.format(shots=shots)],
        cwd=tree,
        env=environment | {"PYTHONPATH": str(tree)},
        stdout=subprocess.PIPE,
        check=True,
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--shots", type=int, default=20, help="1 MB downloads for each median")
    parser.add_argument("--against", default=FREE, metavar="REVISION")
    arguments = parser.parse_args()
    rounds: list[tuple[dict[str, float], dict[str, float]]] = []
    with tempfile.TemporaryDirectory() as name:
        earlier = Path(name) / "earlier"
        subprocess.run(
            ["git", "worktree", "add", "--quiet", "--detach", str(earlier), arguments.against],
            cwd=ROOT,
            check=True,
        )
        try:
            rounds += [
                (measured(earlier, arguments.shots), measured(ROOT, arguments.shots))
                for _ in range(arguments.rounds)
            ]
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(earlier)], cwd=ROOT, check=True)
    print(f"{'':10}{'free':>9}{'guarded':>9}{'ratio':>8}   (medians of {len(rounds)} rounds; ratio of each)")
    for key in ("first_ms", "done_ms", "cpu_ms", "wall_sec", "pss_mb"):
        free, guarded = (statistics.median(one[side][key] for one in rounds) for side in (0, 1))
        ratios = [one[1][key] / one[0][key] for one in rounds]
        each = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        print(f"{key:10}{free:9.2f}{guarded:9.2f}{statistics.median(ratios):8.2f}   ({each})")


if __name__ == "__main__":
    main()
