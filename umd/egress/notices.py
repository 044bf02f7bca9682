"""What happens at the egress, for whoever counts or logs it: nothing in this room logs."""

from collections.abc import Callable
from typing import Literal

import msgspec

Happening = Literal["connected", "refused", "failed", "closed"]


class Notice(msgspec.Struct, frozen=True):
    """One thing that happened to a connection. `host` and `port` are what was asked for, nothing more."""

    what: Happening
    host: str
    port: int
    code: str = ""
    """Of `refused`."""
    seconds: float = 0.0
    """Of `connected`: what the name and the connection took. Of `closed`: how long it stood."""
    bytes_in: int = 0
    """Of `closed`."""
    bytes_out: int = 0


Listener = Callable[[Notice], None]
"""Is called on the event loop, and must neither raise nor wait."""


def ignore(notice: Notice) -> None:
    """The listener where nobody listens."""
