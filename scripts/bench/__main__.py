"""Runs every measurement, one after the other: `make bench`, or `python -m scripts.bench log sse`."""

import argparse
import subprocess
import sys

PARTS = ("log", "engine", "guard", "egress", "sse", "service", "batch", "probe", "seen", "start")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; all by default")
    wanted = parser.parse_args().parts or PARTS
    if unknown := set(wanted) - set(PARTS):
        parser.error(f"there is no {', '.join(unknown)}")
    for part in wanted:
        print(f"\n{part}\n{'-' * len(part)}", flush=True)
        subprocess.run([sys.executable, "-m", f"scripts.bench.{part}"], check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
