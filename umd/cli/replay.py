"""`umd replay`: the state of one job or of all, as of a position or a time, as GET would have answered."""

import argparse
import sys
from typing import Any

import msgspec

from umd.cli import places
from umd.clock import Micros, rfc3339
from umd.domain.job import Job, stream
from umd.errors import LogError
from umd.log.ledger import Ledger
from umd.log.reader import Filter, LogReader, opened
from umd.log.verify import verify
from umd.projections.jobs import Jobs
from umd.projections.models import Models
from umd.replay import past
from umd.replay.again import Again
from umd.settings import Loaded

EXIT_DIFFERS = 1


def replay(loaded: Loaded, arguments: argparse.Namespace) -> int:
    """Print jobs as they were at a position or a time; step by step; or decide every command again."""
    base = loaded.settings.public_base_url
    with opened(places.source(loaded, arguments)) as reader:
        if arguments.verify:
            return _verify(reader)
        until = _until(reader, arguments)
        if 0 < reader.floor >= until:
            raise LogError(f"The log begins behind position {reader.floor}: what was before is pruned.")
        streams = () if arguments.job is None else (stream(arguments.job),)
        jobs = _base(reader).jobs
        records = reader.rows(Filter(until=until, streams=streams))
        if arguments.steps:
            for step in past.steps(records, jobs):
                places.line(_difference(step, base))
            return 0
        return _states(reader, past.fold(records, jobs), until, arguments.job, base)


def _base(reader: LogReader) -> Models:
    """What was known where the log begins: nothing, unless its first rows are pruned."""
    models = Models()
    reader.begin(Ledger(), models)
    return models


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `replay` to the command line."""
    parser = commands.add_parser("replay", help=replay.__doc__, description=replay.__doc__)
    parser.set_defaults(run=replay)
    places.add_source(parser)
    parser.add_argument("--at", type=_moment, metavar="POSITION|TIME", help="as of then (default: now)")
    parser.add_argument("--job", metavar="ID", help="only this job")
    parser.add_argument("--steps", action="store_true", help="print what each event changed")
    parser.add_argument(
        "--verify", action="store_true", help="verify the log, and decide every command of it again"
    )


def _states(reader: LogReader, jobs: Jobs, until: int, job_id: str | None, base: str) -> int:
    last = reader.row(until)
    now = last.at if last else 0
    entries = [entry for entry in jobs.in_creation_order() if job_id in (None, entry.job.job_id)]
    for entry in entries:
        places.line({"kind": "job", **_shown(entry.job, now, base)})
    if job_id is not None and not entries:
        print(f"umd: there was no job {job_id} at position {until}.", file=sys.stderr)
        return EXIT_DIFFERS
    return 0


def _verify(reader: LogReader) -> int:
    report = verify(reader)
    again = Again(_base(reader))
    differences = 0
    for difference in again.differences(reader.rows(Filter(until=report.position))):
        differences += 1
        places.line({"kind": "difference", **msgspec.structs.asdict(difference)})
    places.line(
        {
            "kind": "verified",
            "position": report.position,
            **msgspec.structs.asdict(again.decided),
            "differences": differences,
        }
    )
    return EXIT_DIFFERS if differences else 0


def _shown(job: Job, now: Micros, base: str) -> dict[str, Any]:
    """A job as GET answers it."""
    from umd.api import links, views  # noqa: PLC0415  # only this command needs a server's imports

    # Without the signature that opens the file: this prints what a log says, and lets nobody in.
    answer = views.show_past(job, now, base, lambda path: links.file(base, path))
    shown: dict[str, Any] = msgspec.to_builtins(answer)
    return shown


def _difference(step: past.Step, base: str) -> dict[str, object]:
    record = step.fact.record
    before = {} if step.before is None else _shown(step.before, record.at, base)
    after = _shown(step.after, record.at, base)
    return {
        "kind": "step",
        "position": record.position,
        "job_id": step.after.job_id,
        "at": rfc3339(record.at),
        "type": record.type,
        "changed": {
            name: {"from": before.get(name), "to": value}
            for name, value in after.items()
            if before.get(name) != value
        },
    }


def _until(reader: LogReader, arguments: argparse.Namespace) -> int:
    head = reader.head
    if arguments.at is None:
        return head
    what, value = arguments.at
    if what == "time":
        return reader.position_at(value)
    if value > head:
        raise LogError(f"The log ends at position {head}.")
    return int(value)


def _moment(text: str) -> tuple[str, int]:
    if text.isdigit():
        return "position", places.position(text)
    return "time", places.time(text)
