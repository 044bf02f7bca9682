"""What the commands share: where the log lies, what a position or a time looks like, how to print."""

import argparse
import sys
from datetime import datetime
from pathlib import Path

import msgspec

from umd.clock import Micros, micros
from umd.settings import Loaded

_JSON = msgspec.json.Encoder()


def add_source(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--from",
        dest="source",
        type=Path,
        metavar="PATH",
        help="a folder with a log, a copy of one, or a backup file (default: the service's own log)",
    )


def source(loaded: Loaded, arguments: argparse.Namespace) -> Path:
    place: Path | None = arguments.source
    return place or loaded.settings.root / "log"


def position(text: str) -> int:
    """A position; for argparse."""
    if not text.isascii() or not text.isdigit() or int(text) >= 2**63:
        raise argparse.ArgumentTypeError(f"{text!r} is no position")
    return int(text)


def time(text: str) -> Micros:
    """An RFC 3339 time; for argparse."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no time like 2026-01-31T12:00:00Z")
    return micros(at)


def line(value: object) -> None:
    """Print one object."""
    sys.stdout.buffer.write(_JSON.encode(value) + b"\n")
