"""`umd engine`: which release of yt-dlp is in use, and another one in its place.

The command installs and leaves a wish (`umd.engine.shelf`). The running service tries the release, uses it
if it is sound, and records what came of it in the event log, where the command reads its answer. Where no
service runs, the next one that starts does that.
"""

import argparse
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

import msgspec

from umd.cli import places
from umd.clock import SystemClock, rfc3339
from umd.domain import engine as rules
from umd.domain.events import EngineEvent, EngineUpdateFailed, JobStarted
from umd.engine.config import releases_folder
from umd.engine.installing import Source, install
from umd.engine.shelf import Shelf, own_version
from umd.errors import EngineError
from umd.log import Record, lock
from umd.log.codec import EVENTS
from umd.log.reader import Filter, opened
from umd.settings import Loaded

EXIT_FAILED: Final = 1
ANSWER_SEC_MAX: Final = 300.0
LOOK_SEC: Final = 0.1

_OF_ATTEMPTS = (
    "job.started",
    "job.completed",
    "job.failed",
    "job.retrying",
    "job.interrupted",
    "job.cancelled",
    "job.paused",
)


def status(loaded: Loaded, _arguments: argparse.Namespace) -> int:
    """Print which releases of yt-dlp there are, which one is in use, and what running downloads use."""
    shelf = Shelf(releases_folder(loaded.settings))
    own = own_version()
    records = _records(loaded)
    release = rules.NOTHING_KNOWN
    last: dict[str, Any] | None = None
    for record in records:
        event = EVENTS.decode(record)
        if isinstance(event, EngineEvent):
            release = rules.evolve(release, event)
            last = {"at": rfc3339(record.at), **msgspec.to_builtins(event)}
    wish = shelf.wish
    places.line(
        {
            "current": rules.due(release, own),
            "previous": release.previous,
            "own": own,
            "installed": shelf.installed(),
            "refused": sorted(release.refused),
            "wanted": wish.version if wish else None,
            "running": _running(records),
            "trouble": release.trouble or None,
            "last": last,
        }
    )
    return 0


def update(loaded: Loaded, arguments: argparse.Namespace) -> int:
    """Install a release of yt-dlp, and have the service try it and use it."""
    shelf = Shelf(releases_folder(loaded.settings))
    wish_id = SystemClock().new_id()
    source = Source(tuple(arguments.wheel), arguments.version or "", tuple(arguments.hash))
    try:
        version = install(shelf, source, wish_id)
    except EngineError as error:
        print(f"umd: {error}", file=sys.stderr)
        return EXIT_FAILED
    log = loaded.settings.root / "log"
    if lock.holder(log / "log.lock") is None:
        print(f"umd: yt-dlp {version} is installed; the service tries it when it starts.", file=sys.stderr)
        return 0
    answer = _answer(log, wish_id)
    if answer is None:
        told = f"the service has not answered yet whether it uses yt-dlp {version}; see `umd engine status`."
        print(f"umd: {told}", file=sys.stderr)
        return EXIT_FAILED
    places.line(msgspec.to_builtins(answer))
    if isinstance(answer, EngineUpdateFailed):
        print(f"umd: yt-dlp {version} is not used: {answer.reason}", file=sys.stderr)
        return EXIT_FAILED
    return 0


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `engine` and what belongs to it to the command line."""
    parser = commands.add_parser("engine", help="See which yt-dlp is in use, and update it.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="verb")
    shown = verbs.add_parser("status", help=status.__doc__, description=status.__doc__)
    shown.set_defaults(run=status)
    updated = verbs.add_parser("update", help=update.__doc__, description=update.__doc__)
    updated.set_defaults(run=update)
    which = updated.add_mutually_exclusive_group()
    which.add_argument(
        "--wheel",
        type=_wheel,
        action="append",
        default=[],
        metavar="FILE",
        help="the wheel of yt-dlp, and again that of the yt-dlp-ejs that it goes with; no index is asked",
    )
    which.add_argument("--version", metavar="X", help="this release; one that is here is not installed again")
    updated.add_argument(
        "--hash",
        type=_digest,
        action="append",
        default=[],
        metavar="SHA256",
        help="take only files with this hash; may be repeated",
    )


def _wheel(text: str) -> Path:
    path = Path(text)
    if path.suffix != ".whl" or not path.is_file():
        raise argparse.ArgumentTypeError(f"{text!r} is no wheel")
    return path


def _digest(text: str) -> str:
    digest = text.removeprefix("sha256:").lower()
    if len(digest) != 64 or set(digest) - set("0123456789abcdef"):  # noqa: PLR2004  # digits of a SHA-256
        raise argparse.ArgumentTypeError(f"{text!r} is no SHA-256 hash")
    return digest


def _records(loaded: Loaded) -> list[Record]:
    """The rows of the engine and of the beginnings and ends of attempts; none where there is no log yet."""
    place = loaded.settings.root / "log"
    if not (place / "log.sqlite3").exists():
        return []
    with opened(place) as reader:
        return list(reader.rows(Filter(types=("engine.*", *_OF_ATTEMPTS), kind="event")))


def _running(records: list[Record]) -> dict[str, int]:
    """How many attempts run on which release."""
    running: dict[str, str] = {}
    for record in records:
        event = EVENTS.decode(record)
        if isinstance(event, JobStarted):
            running[record.stream] = event.ytdlp_version
        else:
            running.pop(record.stream, None)
    return dict(Counter(running.values()))


def _answer(log: Path, wish_id: str) -> EngineEvent | None:
    """What the service says to a wish; None where it says nothing in time, or has ended."""
    for _ in range(round(ANSWER_SEC_MAX / LOOK_SEC)):
        if lock.holder(log / "log.lock") is None:
            return None
        with opened(log) as reader:
            for record in reader.rows(Filter(streams=(rules.STREAM,), kind="event", correlation=wish_id)):
                event = EVENTS.decode(record)
                if isinstance(event, EngineEvent):
                    return event
        time.sleep(LOOK_SEC)
    return None
