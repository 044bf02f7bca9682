"""The query parameters that make one request slow, stalled, broken or refused.

They are a part of the URL and not of the server's state: every test has its own, and none disturbs another.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any
from urllib.parse import urlencode, urlsplit

PAGE_PREFIX = "page_"
"""On pages, manifests and the site's API plain names are for the media behind them; these are their own."""


@dataclass(frozen=True, slots=True)
class Knobs:
    """What may be said about one answer. Byte positions count from the start of the file, not of the answer.

    All numbers are whole ones: a dot or slash in the query would become a part of the generic extractor's id.
    """

    rate: int | None = None
    """Bytes a second."""
    delay_ms: int = 0
    """Time before the status line."""
    hold: str | None = None
    """Wait for that gate before the status line."""
    stall_after: int | None = None
    """Send nothing from that byte on: until the client goes, or until `gate` opens."""
    gate: str | None = None
    break_after: int | None = None
    """Close the connection before that byte. A Range, wherever it starts, is answered in full."""
    break_every: int | None = None
    """Close the connection after so many bytes of each answer, a Range's too."""
    reset: int = 0
    """With either break: a TCP reset in place of an orderly end."""
    fail: int | None = None
    """Answer with that status."""
    retry_after: str | None = None
    length_off: int = 0
    """Added to Content-Length: above 0 the body is too short for it, below 0 the client misses its end."""
    chunked: int = 0
    """No Content-Length, so the size is unknown."""
    ranges: int = 1
    """0: Range is ignored."""
    content_type: str | None = None
    key: str | None = None
    """What `skip` and `times` count by; the path if absent."""
    skip: int = 0
    """So many requests are served normally first: the generic extractor asks once before it downloads."""
    times: int | None = None
    """So many requests get the fault, the rest are served normally."""
    only: str | None = None
    """On manifests and pages: hand the knobs only to URLs that contain this."""
    x: str | None = None
    """Ignored: makes a URL fresh."""

    @classmethod
    def parse(cls, query: Mapping[str, str], prefix: str = "") -> "Knobs":
        """The knobs among `query`; other names are left to the route. ValueError names what is no number."""
        given: dict[str, Any] = {name: query[prefix + name] for name in NAMES if prefix + name in query}
        for name in _NUMBERS & given.keys():
            try:
                given[name] = int(given[name])
            except ValueError:
                raise ValueError(f"{prefix}{name}={given[name]}: not a whole number") from None
        knobs = cls(**given)
        if knobs.rate is not None and knobs.rate <= 0:
            raise ValueError(f"{prefix}rate: to send nothing is stall_after=0")
        return knobs

    def without_faults(self) -> "Knobs":
        spared = replace(self, fail=None, delay_ms=0, hold=None, stall_after=None, length_off=0)
        return replace(spared, break_after=None, break_every=None)


NAMES = frozenset(field.name for field in fields(Knobs))
_NUMBERS = {field.name for field in fields(Knobs) if field.type in (int, int | None)}


def handed_down(query: Mapping[str, str]) -> dict[str, str]:
    """The knobs that a page or manifest passes on to the media it names."""
    return {name: value for name, value in query.items() if name in NAMES}


def with_knobs(url: str, knobs: Mapping[str, str]) -> str:
    """`url` with the knobs added, unless `only` means another; playlists always pass them on."""
    path = urlsplit(url).path
    if not knobs or (not path.endswith((".m3u8", ".mpd")) and knobs.get("only", "") not in path):
        return url
    return url + ("&" if "?" in url else "?") + urlencode(knobs)


class Faults:
    """Counts requests by key, so that a fault can be limited to some of them."""

    def __init__(self) -> None:
        self._seen: Counter[str] = Counter()

    def due(self, query: Mapping[str, str], path: str, prefix: str = "") -> Knobs:
        """The knobs of this request, its faults taken out where `skip` and `times` say that it is spared."""
        knobs = Knobs.parse(query, prefix)
        if not knobs.skip and knobs.times is None:
            return knobs
        key = prefix + (knobs.key or path)
        turn = self._seen[key] - knobs.skip
        self._seen[key] += 1
        struck = turn >= 0 and (knobs.times is None or turn < knobs.times)
        return knobs if struck else knobs.without_faults()
