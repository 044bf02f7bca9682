"""Whether the preconditions of a request hold for what it asks for (RFC 9110, section 13)."""

import re
from datetime import UTC
from email.utils import parsedate_to_datetime

import msgspec
from multidict import CIMultiDictProxy

Headers = CIMultiDictProxy[str]

_ETAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\U0010ffff]*)"')


class Validators(msgspec.Struct, frozen=True):
    """What tells one state of a file from another: a strong tag, without its quotes, and whole seconds."""

    etag: str
    modified: int


def failed(headers: Headers, validators: Validators) -> bool:
    """`If-Match`, or else `If-Unmodified-Since`, does not hold: nothing is to be sent."""
    if "If-Match" in headers:
        return not _matches(headers, "If-Match", validators.etag, weakly=False)
    since = _date(headers.get("If-Unmodified-Since"))
    return since is not None and validators.modified > since


def unchanged(headers: Headers, validators: Validators) -> bool:
    """`If-None-Match`, or else `If-Modified-Since`, says that the client has this already."""
    if "If-None-Match" in headers:
        return _matches(headers, "If-None-Match", validators.etag, weakly=True)
    since = _date(headers.get("If-Modified-Since"))
    return since is not None and validators.modified <= since


def range_holds(headers: Headers, validators: Validators) -> bool:
    """`If-Range` is absent, or names this very state; otherwise the whole is to be sent."""
    condition = headers.get("If-Range")
    if condition is None:
        return True
    if match := _ETAG.fullmatch(condition.strip()):
        return match[1] is None and match[2] == validators.etag
    return _date(condition) == validators.modified


def _matches(headers: Headers, name: str, etag: str, *, weakly: bool) -> bool:
    listed = ",".join(headers.getall(name))
    if listed.strip() == "*":
        return True
    return any(tag == etag for weak, tag in _ETAG.findall(listed) if weakly or not weak)


def _date(text: str | None) -> int | None:
    """An HTTP date in any of its three forms; None for what is none, which is to be ignored."""
    try:
        date = parsedate_to_datetime(text or "")
        return int((date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
