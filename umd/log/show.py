"""A row of the log as people see it: the same over HTTP and on the command line."""

import msgspec

from umd.clock import rfc3339
from umd.domain import redaction
from umd.log import Record, RowKind


class LogRow(msgspec.Struct, frozen=True):
    """A row; `data` is the command or the event as it was stored, without its secrets."""

    position: int
    stream: str
    version: int
    kind: RowKind
    type: str
    schema_version: int
    at: str
    correlation: str
    causation: int | None
    data: msgspec.Raw


def show(record: Record) -> LogRow:
    return LogRow(
        record.position,
        record.stream,
        record.version,
        record.kind,
        record.type,
        record.schema_version,
        rfc3339(record.at),
        record.correlation,
        record.causation,
        msgspec.Raw(redaction.shown(record.data)),
    )
