"""What happened, in small frozen records: other rooms hand them out, whoever counts or logs listens."""

from collections.abc import Callable
from typing import Literal

import msgspec

Source = Literal["site", "shared", "kept"]
ReadingEnd = Literal["whole", "refused", "timeout", "abandoned"]


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


class WebhookPosted(msgspec.Struct, frozen=True):
    """A webhook was posted, and answered with this status, or not at all."""

    status: int | None
    duration_sec: float


class ProbeAsked(msgspec.Struct, frozen=True):
    """Somebody wants to see something of a site, and it comes from there, or from who asked before him."""

    source: Source


class ProbeEnded(msgspec.Struct, frozen=True):
    """A site was asked, and this came of it; the wait for a place counts."""

    outcome: ReadingEnd
    duration_sec: float


Record = Answered | Committed | WorkerEvent | WebhookPosted | ProbeAsked | ProbeEnded
Listener = Callable[[Record], None]
"""Is called on the event loop, and must neither raise nor wait."""


def ignore(_record: Record) -> None:
    """The listener where nobody listens."""
