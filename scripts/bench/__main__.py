"""Runs every measurement, one after the other: `make bench`, or `python -m scripts.bench log sse`."""

import argparse
import subprocess
import sys

PARTS = ("log", "engine", "sse", "service")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", default=PARTS, choices=[*PARTS, []], help="which; all by default")
    for part in parser.parse_args().parts:
        print(f"\n{part}\n{'-' * len(part)}", flush=True)
        subprocess.run([sys.executable, "-m", f"scripts.bench.{part}"], check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
