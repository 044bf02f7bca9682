"""A worker's copy of a cookie jar, to be handed back where sites have changed it."""

from typing import Any

from umd.domain.cookies import HEADER, is_too_long
from umd.engine.metadata import storable


def lines(jar: Any) -> frozenset[str]:
    """The cookies in Netscape's format, one a line.

    yt-dlp's own way to save a jar dates its session cookies to 1970, and they are sent no more.
    """
    return frozenset(storable(_line(cookie)) for cookie in jar)


def changed(before: frozenset[str], jar: Any) -> str | None:
    """The jar, if it is not what it was before and not too long to be handed back."""
    now = lines(jar)
    text = HEADER + "".join(sorted(now))
    return None if now == before or is_too_long(text) else text


def _line(cookie: Any) -> str:
    flags = ("FALSE", "TRUE")
    fields = (
        cookie.domain,
        flags[cookie.domain.startswith(".")],
        cookie.path,
        flags[cookie.secure],
        str(int(cookie.expires or 0)),
        cookie.name,
        cookie.value or "",
    )
    return "\t".join(fields) + "\n"
