"""The event log row by row, for debugging."""

from typing import Annotated

import msgspec
from aiohttp import web

from umd.api import answers
from umd.api.context import CONTEXT
from umd.api.decoding import read_query
from umd.log.show import LogRow, show


class LogQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which rows: behind this position, of all streams or of one."""

    after: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] = 0
    limit: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 100
    stream: Annotated[str, msgspec.Meta(min_length=1, max_length=100)] | None = None


class LogPage(msgspec.Struct, frozen=True):
    """Some rows; `next` is the `after` of those that follow, null at the end.

    `floor` is the last position whose row is pruned, 0 where none is.
    """

    events: list[LogRow]
    next: int | None
    floor: int


async def rows(request: web.Request) -> web.Response:
    """Rows of the event log, in order."""
    query = read_query(request, LogQuery)
    log = request.app[CONTEXT].log
    records = await log.read(query.after, query.limit + 1, stream=query.stream)
    page = [show(record) for record in records[: query.limit]]
    more = len(records) > query.limit
    return answers.answer(LogPage(page, page[-1].position if more else None, log.floor))
