"""`umd replay`: jobs and batches as of a position or a time, as GET would have answered."""

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from umd.cli import places
from umd.clock import Micros, rfc3339
from umd.domain.job import stream
from umd.errors import LogError
from umd.log import Fact, Record
from umd.log.codec import facts
from umd.log.ledger import Ledger
from umd.log.reader import Filter, LogReader, opened
from umd.log.verify import verify
from umd.projections.models import Models
from umd.replay.again import Again
from umd.replay.past import Past, concerned, fold
from umd.settings import Loaded

if TYPE_CHECKING:
    from umd.api.batch_views import Known

EXIT_DIFFERS = 1

Answer = dict[str, Any]
View = tuple[str, str, Callable[[], Answer]]
"""What a change is looked at by: the kind and the id of a resource, and what GET answers of it."""


def replay(loaded: Loaded, arguments: argparse.Namespace) -> int:
    """Print jobs and batches as they were at a position or a time; step by step; or decide all again."""
    base = loaded.settings.public_base_url
    with opened(places.source(loaded, arguments)) as reader:
        if arguments.verify:
            return _verify(reader)
        until = _until(reader, arguments)
        if 0 < reader.floor >= until:
            raise LogError(f"The log begins behind position {reader.floor}: what was before is pruned.")
        streams = () if arguments.job is None else (stream(arguments.job),)
        known = _base(reader)
        records = reader.rows(Filter(until=until, streams=streams))
        if arguments.steps:
            for step in _steps(records, Past(known), base, arguments.batch):
                places.line(step)
            return 0
        last = reader.row(until)
        past, now = fold(records, known), last.at if last else 0
        found = False
        for state in _states(past, now, base, arguments):
            found = True
            places.line(state)
        name = arguments.job or arguments.batch
        if found or name is None:
            return 0
        print(f"umd: there was no {name} at position {until}.", file=sys.stderr)
        return EXIT_DIFFERS


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
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--job", metavar="ID", help="only this job")
    only.add_argument("--batch", metavar="ID", help="only this batch")
    parser.add_argument("--steps", action="store_true", help="print what each event changed")
    parser.add_argument(
        "--verify", action="store_true", help="verify the log, and decide every command of it again"
    )


def _states(past: Past, now: Micros, base: str, only: argparse.Namespace) -> Iterator[Answer]:
    """Every job and every batch, or one of them; each oldest first."""
    for job in past.jobs.in_creation_order() if only.batch is None else ():
        if only.job in (None, job.job.job_id):
            yield {"kind": "job", **_job(past, job.job.job_id, now, base)}
    for batch in past.batches.in_creation_order() if only.job is None else ():
        if only.batch in (None, batch.batch.batch_id):
            yield _batch(past, batch.batch.batch_id, now, base)  # which has a `kind` already


def _steps(records: Iterable[Record], past: Past, base: str, batch_id: str | None) -> Iterator[Answer]:
    """What each event changed of its own job or batch, and of the batch of its job."""
    for record in records:
        [fact] = facts([record])
        views = list(_views(past, fact, base, batch_id)) if fact.event is not None else []
        before = [view() for _, _, view in views]
        past.apply([fact])
        for (kind, name, view), earlier in zip(views, before, strict=True):
            later = view()
            changed = {
                field: {"from": earlier.get(field), "to": value}
                for field, value in later.items()
                if earlier.get(field) != value
            }
            if changed or (later and fact.record.stream == f"{kind}-{name}"):
                yield _step(fact, {f"{kind}_id": name}, changed)


def _views(past: Past, fact: Fact, base: str, wanted_batch: str | None) -> Iterator[View]:
    job_id, batch_id = concerned(past, fact)
    at = fact.record.at
    if job_id is not None and wanted_batch is None:
        yield "job", job_id, partial(_job, past, job_id, at, base)
    if batch_id is not None and wanted_batch in (None, batch_id):
        yield "batch", batch_id, partial(_summary, past, batch_id, at, base)


def _step(fact: Fact, whose: Answer, changed: Answer) -> Answer:
    return {
        "kind": "step",
        "position": fact.record.position,
        **whose,
        "at": rfc3339(fact.record.at),
        "type": fact.record.type,
        "changed": changed,
    }


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


# As GET answers. Without the signature that opens a file: this prints what a log says, and lets nobody in.


def _job(past: Past, job_id: str, now: Micros, base: str) -> Answer:
    from umd.api import links, views  # noqa: PLC0415  # only this command needs a server's imports

    entry = past.jobs.get(job_id)
    if entry is None:
        return {}
    answer: Answer = msgspec.to_builtins(
        views.show_past(entry.job, now, base, lambda path: links.file(base, path))
    )
    return answer


def _batch(past: Past, batch_id: str, now: Micros, base: str) -> Answer:
    from umd.api import batch_views  # noqa: PLC0415  # as above

    entry = past.batches.require(batch_id)
    answer: Answer = msgspec.to_builtins(batch_views.show(entry, _known(past, now, base)))
    return answer


def _summary(past: Past, batch_id: str, now: Micros, base: str) -> Answer:
    """A batch without its jobs, which have steps of their own."""
    from umd.api import batch_views  # noqa: PLC0415  # as above

    entry = past.batches.get(batch_id)
    if entry is None:
        return {}
    answer: Answer = msgspec.to_builtins(batch_views.summarize(entry, _known(past, now, base)))
    return answer


def _known(past: Past, now: Micros, base: str) -> "Known":
    from umd.api import batch_views, links  # noqa: PLC0415  # as above

    return batch_views.Known(past.batches, past.jobs, now, lambda _: lambda path: links.file(base, path))


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
