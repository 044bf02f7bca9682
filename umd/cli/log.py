"""`umd log`: show, export, verify, back up and repair the event log."""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from umd.cli import places
from umd.errors import LogCorrupt
from umd.log.backup import back_up, repair
from umd.log.reader import Filter, LogReader, opened
from umd.log.show import show
from umd.log.verify import verify
from umd.settings import Loaded

EXIT_CORRUPT: Final = 1
FOLLOW_SEC: Final = 0.5

Command = Callable[[Loaded, argparse.Namespace], int]


class Damage(msgspec.Struct, frozen=True):
    """What `verify` says of a log that is not whole."""

    first_bad_position: int
    message: str
    status: str = "corrupt"


def tail(loaded: Loaded, arguments: argparse.Namespace) -> int:
    """Print the newest rows, and with --follow those that come."""
    wanted = _filter(arguments)
    with opened(places.source(loaded, arguments)) as reader:
        head = reader.head
        for record in reader.last(wanted, arguments.lines):
            places.line(show(record))
        if arguments.follow:
            _follow(reader, msgspec.structs.replace(wanted, after=head))
    return 0


def show_rows(loaded: Loaded, arguments: argparse.Namespace) -> int:
    """Print the rows at these positions."""
    missing = 0
    with opened(places.source(loaded, arguments)) as reader:
        for position in arguments.positions:
            if record := reader.row(position):
                places.line(show(record))
            else:
                print(f"umd: the log has no row {position}.", file=sys.stderr)
                missing += 1
    return 1 if missing else 0


def export(loaded: Loaded, arguments: argparse.Namespace) -> int:
    """Print all rows, or those that match."""
    with opened(places.source(loaded, arguments)) as reader:
        for record in reader.rows(_filter(arguments)):
            places.line(show(record))
    return 0


def verify_log(loaded: Loaded, arguments: argparse.Namespace) -> int:
    """Verify every row; exit 1 and name the first bad position where one is not as it was written."""
    try:
        with opened(places.source(loaded, arguments)) as reader:
            places.line({"status": "whole", **msgspec.structs.asdict(verify(reader))})
    except LogCorrupt as corrupt:
        places.line(Damage(corrupt.position, str(corrupt)))
        print(f"umd: {corrupt}", file=sys.stderr)
        return EXIT_CORRUPT
    return 0


def backup(loaded: Loaded, arguments: argparse.Namespace) -> int:
    """Copy the log into a new file, while the service runs."""
    places.line(back_up(places.source(loaded, arguments), arguments.file))
    return 0


def repair_log(loaded: Loaded, arguments: argparse.Namespace) -> int:
    """Make a damaged log whole again from a backup, and say what is missing. The service must be stopped."""
    places.line(repair(places.source(loaded, arguments), arguments.backup))
    return 0


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `log` and what belongs to it to the command line."""
    parser = commands.add_parser("log", help="Look at the event log, verify it, back it up, repair it.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="verb")

    newest = _verb(verbs, "tail", tail)
    newest.add_argument("-n", dest="lines", type=places.position, default=20, metavar="ROWS")
    newest.add_argument("-f", "--follow", action="store_true", help="go on with the rows that come")
    _add_filter(newest)
    _verb(verbs, "show", show_rows).add_argument(
        "positions", type=places.position, nargs="+", metavar="POSITION"
    )
    _add_filter(_verb(verbs, "export", export))
    _verb(verbs, "verify", verify_log)
    _verb(verbs, "backup", backup).add_argument("file", type=Path, help="the file to make")
    _verb(verbs, "repair", repair_log).add_argument("backup", type=Path, help="the backup to take from")


def _verb(
    verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, run: Command
) -> argparse.ArgumentParser:
    parser = verbs.add_parser(name, help=run.__doc__, description=run.__doc__)
    parser.set_defaults(run=run)
    places.add_source(parser)
    return parser


def _add_filter(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--stream", action="append", default=[], help="of this stream; may be repeated")
    parser.add_argument(
        "--type", action="append", default=[], help="of this type, or of a pattern of them; may be repeated"
    )
    parser.add_argument("--kind", choices=("command", "event"))
    parser.add_argument("--correlation", help="of this request")
    parser.add_argument("--after", type=places.position, default=0, metavar="POSITION")
    parser.add_argument("--until", type=places.position, default=2**63 - 1, metavar="POSITION")
    parser.add_argument("--since", type=places.time, metavar="TIME", help="not older than that")
    parser.add_argument("--before", type=places.time, metavar="TIME", help="older than that")


def _filter(arguments: argparse.Namespace) -> Filter:
    return Filter(
        after=arguments.after,
        until=arguments.until,
        streams=tuple(arguments.stream),
        types=tuple(arguments.type),
        kind=arguments.kind,
        correlation=arguments.correlation,
        since=arguments.since,
        before=arguments.before,
    )


def _follow(reader: LogReader, wanted: Filter) -> None:
    """Print what comes, until the reader of the lines has had enough."""
    while True:
        head = reader.head
        for record in reader.rows(msgspec.structs.replace(wanted, until=head)):
            places.line(show(record))
        sys.stdout.flush()
        wanted = msgspec.structs.replace(wanted, after=max(head, wanted.after))
        time.sleep(FOLLOW_SEC)
