"""What the attempts of one job have said, read from its stream."""

from collections.abc import AsyncIterator
from typing import Annotated, get_args

import msgspec
from aiohttp import web

from umd.api import answers
from umd.api.context import CONTEXT
from umd.api.decoding import read_query
from umd.api.download import find
from umd.api.views import LogEntry, LogsResponse
from umd.clock import micros, rfc3339
from umd.domain.events import JobLog, LogLevel
from umd.domain.job import stream
from umd.log import EventLog
from umd.log.codec import facts

PAGE_ROWS = 500

_SEVERITY = {level: severity for severity, level in enumerate(get_args(LogLevel))}


class LogsQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which lines: of at least this level, behind this position, about so many."""

    level: LogLevel = "debug"
    after: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] = 0
    limit: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 1_000


async def logs(request: web.Request) -> web.Response:
    """A job's log lines. Those of one position come together, so that `after` never leaves one out."""
    context = request.app[CONTEXT]
    query = read_query(request, LogsQuery)
    entry = find(request)
    job_id = entry.job.job_id
    shown: list[LogEntry] = []
    total = 0
    cut = entry.created_position <= context.log.floor  # what it said at first may be pruned
    async for position, said in _said(context.log, job_id):
        lines = _lines(said, position, query.level)
        total += len(lines)
        full = bool(shown) and len(shown) + len(lines) > query.limit
        cut = cut or full or said.dropped > 0
        if position > query.after and not full:
            shown += lines
    return answers.answer(LogsResponse(job_id, shown, total, cut))


async def _said(log: EventLog, job_id: str) -> AsyncIterator[tuple[int, JobLog]]:
    after = 0
    while records := await log.read(after, PAGE_ROWS, stream=stream(job_id)):
        for fact in facts(records):
            if isinstance(fact.event, JobLog):
                yield fact.record.position, fact.event
        after = records[-1].position


def _lines(said: JobLog, position: int, level: LogLevel) -> list[LogEntry]:
    return [
        LogEntry(rfc3339(micros(line.at)), line.level, line.message, position)
        for line in said.lines
        if _SEVERITY[line.level] >= _SEVERITY[level]
    ]
