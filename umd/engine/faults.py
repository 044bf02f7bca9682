"""What went wrong, as one of the documented codes: the one table from yt-dlp's errors to ours.

An error is looked at with its whole chain. Classes are known by their names, so that the table can be read
and tested without yt-dlp; words decide only where yt-dlp has no class. The first row that fits wins.
"""

import errno
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from umd.domain.events import Fault
from umd.domain.faults import fault
from umd.engine.wording import readable

DETAIL_CHARACTERS_MAX = 300
CHAIN_MAX = 12
_DIGITS_MAX = 6


class Row(NamedTuple):
    """Fits where any of its signs is found in the chain."""

    code: str
    sentence: str
    classes: tuple[str, ...] = ()
    statuses: tuple[int, ...] = ()
    errnos: tuple[int, ...] = ()
    words: str = ""
    detail: bool = True
    """Whether what yt-dlp said tells more than the sentence does."""


PLAYLIST = "This address is a list of several items; POST /api/v1/playlist/download takes it."

TABLE = (
    Row(
        "network",
        "The site cannot be reached.",
        # In the words of umd's own proxy, where a request does not go through a tunnel.
        words=r"HTTP Error 50[24]: (unreachable|timeout)\b",
        detail=False,
    ),
    Row(
        "storage_full",
        "There is no space left on the volume.",
        errnos=(errno.ENOSPC, errno.EDQUOT),
        words=r"No space left on device|Disk quota exceeded",
        detail=False,
    ),
    Row(
        "too_large",
        "The file is larger than the limit.",
        classes=("Oversized",),
        errnos=(errno.EFBIG,),
        words=r"File too large|larger than max-filesize|exited with code -25\b",
        detail=False,
    ),
    Row("unsupported_url", PLAYLIST, classes=("ManyItems",), detail=False),
    Row("unsupported_url", "This address leads to no media.", classes=("NoMedia",), detail=False),
    Row(
        "unsupported_url",
        "The site offers this item over protocols only that umd does not speak, such as RTMP or RTSP.",
        classes=("ProtocolNotAllowed",),
        detail=False,
    ),
    Row(
        "format_unavailable",
        "The item has no such section.",
        classes=("NoSuchSection",),
        detail=False,
    ),
    Row(
        "format_unavailable",
        "More sections fit than one job may download.",
        classes=("TooManySections",),
        detail=False,
    ),
    Row(
        "format_unavailable",
        "What the site offers does not fit into the wanted container, and encoding is not permitted.",
        classes=("EncodingNotPermitted",),
        detail=False,
    ),
    Row(
        "ffmpeg_missing",
        "The server has no ffmpeg and ffprobe, which this needs.",
        classes=("ToolMissing",),
        words=r"ff(mpeg|probe)( and ff\w+)? (is )?not (found|installed)|ff\w+ could not be found",
        detail=False,
    ),
    Row("drm_protected", "The item is protected by DRM.", words=r"\bDRM\b", detail=False),
    Row(
        "geo_blocked",
        "The site does not offer this item in the server's country.",
        classes=("GeoRestrictedError",),
        statuses=(451,),
        words=r"(not|n.t) .{0,40}available (in|from) your (country|location|region)|geo.?restrict",
        detail=False,
    ),
    Row(
        "live_not_started",
        "The live stream has not begun.",
        classes=("UserNotLive", "NotBegun"),
        words=r"\bpremieres in\b|will begin in|\bis upcoming\b|not currently live|is offline",
    ),
    Row(
        "private",
        "The item is private.",
        words=r"private video|(video|post|account|album|playlist|content) is private",
    ),
    Row(
        "blocked_by_site",
        "The site takes the server for a robot.",
        words=r"not a bot\b|captcha|anti-bot|unusual traffic",
    ),
    Row(
        "age_restricted",
        "The site shows this item only to those who have proved their age.",
        words=r"confirm your age|age.restrict|age.verif|inappropriate for some users",
    ),
    Row(
        "rate_limited_by_site",
        "The site wants fewer requests.",
        statuses=(429,),
        words=r"rate.?limit|too many requests|HTTP Error 429",
    ),
    Row(
        "login_required",
        "The site shows this item only to those who are signed in; a stored cookie jar may help.",
        classes=("CookieLoadError",),
        statuses=(401, 402),
        words=r"sign(ing|ed)? in\b|log(ging|ged)? ?in\b|registered users|members.only"
        r"|subscri(be|ption)|premium|Netscape format",
    ),
    Row(
        "not_found",
        "The site has no such item.",
        statuses=(404, 410),
        words=r"HTTP Error (404|410)|video unavailable|been (removed|deleted)|does(n.t| not) exist"
        r"|no longer (available|exists)|could not be found",
    ),
    Row(
        "blocked_by_site",
        "The site refuses this request.",
        statuses=(403,),
        words=r"HTTP Error 403|403 Forbidden",
    ),
    Row(
        "format_unavailable",
        "The site does not offer the wanted format.",
        classes=("SyntaxError", "RecursionError"),
        words=r"Requested format is not available|No video formats found|Invalid format spec",
    ),
    Row(
        "unsupported_url",
        "This address leads to no media that yt-dlp knows.",
        classes=("UnsupportedError", "NoSupportingHandlers", "UnsupportedRequest", "_UnsafeExtensionError"),
        words=r"Unsupported URL|No suitable extractor|is not a valid URL|unusual and will be skipped",
        detail=False,
    ),
    Row(
        "upstream_error",
        "The site failed.",
        statuses=tuple(range(500, 600)),
        words=r"HTTP Error 5|Server returned 5",
    ),
    Row(
        "upstream_error",
        "The site sent no data.",
        words=r"downloaded file is empty|Did not get any data blocks|fragment \d+ not found",
        detail=False,
    ),
    Row("upstream_error", "The site refuses this request.", statuses=tuple(range(300, 500))),
    Row(
        "network",
        "The connection to the site failed.",
        classes=(
            "TransportError",
            "ContentTooShortError",
            "TimeoutError",
            "ConnectionError",
            "gaierror",
            "SSLError",
        ),
        words=r"timed out|bytes read|more expected|Connection (refused|reset|aborted)|Remote end closed"
        r"|Name or service not known|name resolution|Network is unreachable|Input/output error",
    ),
    Row("worker_crashed", "The worker ran out of memory.", classes=("MemoryError",), detail=False),
    Row(
        "postprocessing_failed",
        "The file was downloaded, and could not be processed.",
        classes=("PostProcessingError",),
        words=r"Postprocessing:|Preprocessing:|ff(mpeg|probe) exited with code|conversion failed",
    ),
)

_REFUSAL = Row("upstream_error", "The site refused.")
_BUG = Row("internal", "This item made yt-dlp fail; another release of it may do better.")

_BOILERPLATE = re.compile(
    r";? *please report this issue on .*|\(caused by .*|Use --\S+ .*|You might want to use a VPN.*", re.DOTALL
)
_ITEM = re.compile(r"^(ERROR: *)?\[[\w:+.-]+\] \S+: ")
_ADDRESS = re.compile(r"\S+://\S+")
_PREFIX = re.compile(r"^(ERROR: *)?(\[[\w:+.-]+\] *)?(Postprocessing: *)?")


def explain(error: BaseException, heard: Sequence[str] = ()) -> Fault:
    """The fault of an attempt that ended with this error. `heard` is what its ffmpeg wrote last."""
    chain = list(_chain(error))
    said = [*_said(chain), *heard]
    row = next((row for row in TABLE if _fits(row, chain, said)), None) or _remaining(chain)
    return _fault(row, _detail(chain), _retry_after_sec(chain))


def too_large() -> Fault:
    """The fault of a file over the limit, which yt-dlp leaves out without an error."""
    return _fault(next(row for row in TABLE if row.code == "too_large"), "")


def no_file() -> Fault:
    """The fault of an attempt that ended without an error and without a file."""
    return fault("upstream_error", "The download ended without a file.")


def _fits(row: Row, chain: list[BaseException], said: list[str]) -> bool:
    return any(_is(row, one) for one in chain) or _says(row, said)


def _said(chain: list[BaseException]) -> list[str]:
    """The texts of a chain without the item's id and its address, which decide nothing."""
    extractors = [str(one.orig_msg) for one in chain if hasattr(one, "orig_msg")]
    others = [str(one) for one in chain if not extractors or type(one).__name__ != "DownloadError"]
    return [_ADDRESS.sub("", _ITEM.sub("", text)) for text in extractors + others]


def _is(row: Row, one: BaseException) -> bool:
    names = {kind.__name__ for kind in type(one).__mro__}
    return (
        not names.isdisjoint(row.classes)
        or ("HTTPError" in names and getattr(one, "status", None) in row.statuses)
        or (isinstance(one, OSError) and one.errno in row.errnos)
    )


def _says(row: Row, said: list[str]) -> bool:
    return bool(row.words) and any(re.search(row.words, text, re.IGNORECASE) for text in said)


def _remaining(chain: list[BaseException]) -> Row:
    """What no row knows: the site's own words, if the extractor meant to say them, else a bug."""
    expected = any(getattr(one, "expected", False) for one in chain)
    return _REFUSAL if expected else _BUG


def _fault(row: Row, detail: str, retry_after_sec: int | None = None) -> Fault:
    sentence = f"{row.sentence} ({detail})" if detail and row.detail else row.sentence
    return fault(row.code, sentence, retry_after_sec)


def _retry_after_sec(chain: list[BaseException]) -> int | None:
    """What the site asks for in seconds (RFC 9110, 10.2.3); a date is left to our own wait."""
    for one in chain:
        headers = getattr(getattr(one, "response", None), "headers", None)
        told = str(headers.get("Retry-After", "")) if headers is not None else ""
        if told.isascii() and told.isdigit() and len(told) <= _DIGITS_MAX:
            return int(told)
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what caused it, the outermost first."""
    waiting, seen = [error], set[int]()
    while waiting and len(seen) < CHAIN_MAX:
        one = waiting.pop(0)
        if id(one) not in seen:
            seen.add(id(one))
            yield one
            waiting += [cause for cause in _causes(one) if isinstance(cause, BaseException)]


def _causes(one: BaseException) -> list[Any]:
    """`__context__` only of what yt-dlp raises while it reports another error: else it may be unrelated."""
    exc_info = getattr(one, "exc_info", None)
    inner = exc_info[1] if isinstance(exc_info, tuple) and len(exc_info) > 1 else None
    context = one.__context__ if type(one).__name__ in ("DownloadError", "UnavailableVideoError") else None
    return [inner, getattr(one, "cause", None), one.__cause__, context]


def _detail(chain: list[BaseException]) -> str:
    """What yt-dlp or the site said, without the advice for users of the command line."""
    spoken = next((one for one in chain if hasattr(one, "orig_msg")), chain[0])
    text = _BOILERPLATE.sub("", str(getattr(spoken, "orig_msg", spoken)))
    return readable(_PREFIX.sub("", text), DETAIL_CHARACTERS_MAX).strip(" ;,.")
