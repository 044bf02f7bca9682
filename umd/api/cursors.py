"""Cursors of lists: a position in the log, in a form that invites nobody to compute with it."""

import base64
import binascii

from umd.api.problems import HttpRefusal


def encode(position: int | None) -> str | None:
    """The cursor of what was created before a position; None where nothing was."""
    if position is None:
        return None
    return base64.urlsafe_b64encode(str(position).encode()).decode().rstrip("=")


def decode(cursor: str | None) -> int | None:
    """The position in a cursor. Raises `HttpRefusal` for one that this service did not make."""
    if cursor is None:
        return None
    try:
        position = int(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
    except (ValueError, binascii.Error):
        position = 0
    if position < 1 or encode(position) != cursor:
        raise HttpRefusal("invalid_query", "The cursor is none that this service gave out.")
    return position
