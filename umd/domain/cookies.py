"""Reads and writes cookie jars in Netscape's format, strictly: what is not understood is refused.

The format is the one that browsers' exporters and curl write: seven fields a line, separated by tabs
(https://curl.se/docs/http-cookies.html). An error names the line and never repeats it.
"""

import re
from collections.abc import Iterator

import msgspec

from umd.clock import SECOND, Micros
from umd.errors import FieldError, InvalidInput

JAR_BYTES_MAX = 65_536
"""One message to a worker carries it: the cookies of some sites fit, those of a whole browser may not."""
JAR_ESCAPED_BYTES_MAX = 98_304
COOKIES_MAX = 2_000
COOKIE_BYTES_MAX = 8_192
ERRORS_MAX = 20

HEADER = "# Netscape HTTP Cookie File\n"
_HTTP_ONLY = "#HttpOnly_"
_FIELDS = 7
_DOMAIN = re.compile(
    r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?\.)+[a-z0-9-]{1,63}|localhost|\[[0-9a-f:.]+\]"
)
_NAME = re.compile(r"[^\x00-\x20\x7f;,=]+")
_VALUE = re.compile(r"[^\x00-\x1f\x7f;\ud800-\udfff]*")
_PATH = re.compile(r"/[^\x00-\x1f\x7f;]*")
_EXPIRES = re.compile(r"([0-9]{0,15})(?:\.[0-9]+)?")
_FLAGS = {"TRUE": True, "FALSE": False}


class Cookie(msgspec.Struct, frozen=True):
    """One cookie. `expires` is in seconds since 1970, 0 for one that lasts a session."""

    domain: str
    subdomains: bool
    path: str
    secure: bool
    expires: int
    name: str
    value: str


class Copy(msgspec.Struct, frozen=True):
    """A jar for one attempt, in Netscape's format; `hand_back` asks for it again where sites change it."""

    netscape: str = ""
    hand_back: bool = False


def parse(text: str) -> tuple[Cookie, ...]:
    """The cookies of a jar; of two with one name, path and domain the last counts.

    Raises `InvalidInput` with an entry for each line that is not understood, up to a limit.
    """
    if is_too_long(text):
        raise _invalid(
            f"A jar has at most {JAR_BYTES_MAX:,} bytes. Export those of the sites that are wanted alone."
        )
    found: dict[tuple[str, str, str], Cookie] = {}
    faults: list[FieldError] = []
    for number, line in _lines(text):
        cookie = _cookie(line)
        if isinstance(cookie, str):
            faults.append(FieldError("/cookies", f"Line {number}: {cookie}"))
        else:
            found[cookie.domain, cookie.path, cookie.name] = cookie
        if len(faults) == ERRORS_MAX:
            break
    if faults:
        raise InvalidInput(*faults)
    if not found:
        raise _invalid("There is no cookie in it.")
    if len(found) > COOKIES_MAX:
        raise _invalid(f"A jar has at most {COOKIES_MAX:,} cookies.")
    return tuple(found.values())


def updated(text: str, scope: tuple[str, ...]) -> tuple[Cookie, ...]:
    """The cookies of a jar that comes back from a worker: what is understood of it, of these domains alone.

    A worker has been told by sites what to keep, and a list leads to many of them.
    """
    found: dict[tuple[str, str, str], Cookie] = {}
    for _, line in () if is_too_long(text) else _lines(text):
        cookie = _cookie(line)
        if isinstance(cookie, Cookie) and cookie.domain in scope and len(found) < COOKIES_MAX:
            found[cookie.domain, cookie.path, cookie.name] = cookie
    return tuple(found.values())


def is_too_long(text: str) -> bool:
    """Whether a jar is longer than may be stored, and handed to a worker."""
    return len(text.encode()) > JAR_BYTES_MAX or len(msgspec.json.encode(text)) > JAR_ESCAPED_BYTES_MAX


def render(cookies: tuple[Cookie, ...], at: Micros) -> str:
    """The cookies that have not expired, in Netscape's format as yt-dlp reads it."""
    alive = (cookie for cookie in cookies if not cookie.expires or cookie.expires * SECOND > at)
    return HEADER + "".join(_line(cookie) for cookie in alive)


def domains(cookies: tuple[Cookie, ...]) -> tuple[str, ...]:
    """The domains that a jar names."""
    return tuple(sorted({cookie.domain for cookie in cookies}))


def expires_at(cookies: tuple[Cookie, ...]) -> Micros | None:
    """When the last cookie expires; None where one of them has no date."""
    dates = [cookie.expires for cookie in cookies]
    return None if 0 in dates else max(dates) * SECOND


def _lines(text: str) -> Iterator[tuple[int, str]]:
    for number, raw in enumerate(text.split("\n"), start=1):
        line = raw.removesuffix("\r").removeprefix(_HTTP_ONLY)
        if line.strip() and not line.startswith("#"):
            yield number, line


def _cookie(line: str) -> Cookie | str:
    """A line's cookie, or what is wrong with it."""
    fields = line.split("\t")
    if len(fields) != _FIELDS:
        return f"It has {len(fields)} fields separated by tabs, and Netscape's format has {_FIELDS}."
    domain, subdomains, path, secure, expires, name, value = fields
    host = domain.lower().removeprefix(".")
    date = _EXPIRES.fullmatch(expires)
    if not _DOMAIN.fullmatch(host):
        return "The domain (field 1) is none that a site can have."
    if subdomains not in _FLAGS or secure not in _FLAGS:
        return "Fields 2 and 4 are TRUE or FALSE."
    if not _PATH.fullmatch(path):
        return "The path (field 3) begins with a slash."
    if date is None:
        return "The expiry (field 5) is a number of seconds, 0 for a session."
    if not _NAME.fullmatch(name):
        return "The name (field 6) is empty or has characters that a cookie cannot have."
    if not _VALUE.fullmatch(value) or len(name) + len(value) > COOKIE_BYTES_MAX:
        return "The value (field 7) is too long or has characters that a cookie cannot have."
    return Cookie(
        host,
        _FLAGS[subdomains] or domain.startswith("."),
        path,
        _FLAGS[secure],
        int(date[1] or 0),
        name,
        value,
    )


def _line(cookie: Cookie) -> str:
    flags = ("FALSE", "TRUE")
    domain = f".{cookie.domain}" if cookie.subdomains else cookie.domain
    fields = (domain, flags[cookie.subdomains], cookie.path, flags[cookie.secure], str(cookie.expires))
    return "\t".join((*fields, cookie.name, cookie.value)) + "\n"


def _invalid(message: str) -> InvalidInput:
    return InvalidInput(FieldError("/cookies", message))
