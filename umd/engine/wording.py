"""Makes text of yt-dlp's fit to be stored and shown: no colours, no controls, no secrets."""

import re

from umd.domain import redaction
from umd.engine.metadata import storable

LINE_CHARACTERS_MAX = 2_000

_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x07\x1b]*\x07")
_BLANKS = re.compile(r"[\x00-\x20\x7f-\x9f]+")


def readable(text: str, characters_max: int = LINE_CHARACTERS_MAX) -> str:
    """One clean line without secrets."""
    cut = storable(text[: 4 * characters_max])
    plain = _BLANKS.sub(" ", _COLOURS.sub("", cut))
    return redaction.text(plain).strip()[:characters_max]


def lines(text: str) -> list[str]:
    """The lines of a message, cleaned; empty ones are left out."""
    cleaned = (readable(one) for one in _COLOURS.sub("", text).splitlines())
    return [one for one in cleaned if one]
