"""What happened, in small frozen records: other rooms hand them out, whoever counts or logs listens."""

from collections.abc import Callable

import msgspec


class Answered(msgspec.Struct, frozen=True):
    """A request was answered.

    `route` is its template, never its path; `code` that of its problem. A stream's time says how long its
    client stayed, not how quick the service was.
    """

    method: str
    route: str
    status: int
    duration_sec: float
    code: str | None = None
    stream: bool = False


class Committed(msgspec.Struct, frozen=True):
    """A batch of appends became durable; each waited so long from its call to its answer."""

    rows: int
    waited_sec: tuple[float, ...]


class WorkerEvent(msgspec.Struct, frozen=True):
    """Something happened to a worker process or to the warm one; `crashed` that one ended by a signal."""

    what: str
    crashed: bool = False


Record = Answered | Committed | WorkerEvent
Listener = Callable[[Record], None]
"""Is called on the event loop, and must neither raise nor wait."""


def ignore(_record: Record) -> None:
    """The listener where nobody listens."""
