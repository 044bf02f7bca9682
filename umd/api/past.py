"""`?at=`: a resource as it was when the log ended at a position."""

from typing import Annotated

import msgspec
from aiohttp import web

from umd.api.context import CONTEXT
from umd.api.problems import HttpRefusal
from umd.clock import Micros


class PastQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """As of which position of the log; the newest where none is named."""

    at: Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)] | None = None


async def time_at(request: web.Request, position: int) -> Micros:
    """When the row at a position was written. Refuses one that the log does not have yet, or no more."""
    log = request.app[CONTEXT].log
    if position > log.head:
        raise HttpRefusal("invalid_query", f"at: The log ends at position {log.head}.")
    if position <= log.floor:
        raise HttpRefusal("invalid_query", f"at: The log begins behind position {log.floor}.")
    [row] = await log.read(position - 1, 1)
    return row.at


def require_beginning(request: web.Request, what: str, created_position: int) -> None:
    """Refuse what has its first rows among those that are pruned."""
    if created_position <= request.app[CONTEXT].log.floor:
        raise HttpRefusal("invalid_query", f"at: The first rows of {what} are pruned.")
