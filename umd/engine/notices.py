"""What happens to the worker processes, for whoever counts or logs it: nothing in this room logs."""

from collections.abc import Callable
from typing import Literal

import msgspec

from umd.engine.protocol import Ended

Happening = Literal[
    "sandbox",
    "zygote_ready",
    "zygote_lost",
    "zygote_failed",
    "child_started",
    "child_ended",
    "child_broken",
    "leftover_killed",
]


class Notice(msgspec.Struct, frozen=True):
    """One thing that happened; `pid` is the process that it happened to."""

    what: Happening
    pid: int | None = None
    detail: str = ""
    ended: Ended | None = None
    """Of `child_ended`."""


Listener = Callable[[Notice], None]
"""Is called on the event loop, and must neither raise nor wait."""


def ignore(notice: Notice) -> None:
    """The listener where nobody listens."""
