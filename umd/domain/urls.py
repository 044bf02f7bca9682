"""Which addresses a request may name, and the site that an address belongs to.

This is the fast and friendly refusal at the door. What really keeps a download away from the inside of
a network stands in `umd.egress`, where every connection is judged.
"""

import re
from urllib.parse import unquote, urlsplit

URL_CHARACTERS_MAX = 2_048
HOST_CHARACTERS_MAX = 253
"""RFC 1035, without the root's dot."""

_FORBIDDEN = re.compile(r"[\x00-\x20\x7f\\<>\"^`{|}\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
_SMUGGLE = "__youtubedl_smuggle"


def problem(url: str) -> str | None:
    """Say why this is no URL that umd takes, or None.

    A fragment may carry data for yt-dlp's own use (`__youtubedl_smuggle`); from outside it is refused.
    """
    if len(url) > URL_CHARACTERS_MAX:
        return f"A URL has at most {URL_CHARACTERS_MAX:,} characters."
    if _FORBIDDEN.search(url):
        return "A URL holds no spaces, control characters, backslashes or quotes."
    if _SMUGGLE in unquote(unquote(url)):
        return "This fragment is reserved."
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "This is not a valid URL."
    if parts.scheme not in ("http", "https"):
        return "A URL begins with http:// or https://."
    if "@" in parts.netloc:
        return "A URL carries no user name and no password; use a stored cookie jar."
    if not host or host.strip(".") == "" or len(host) > HOST_CHARACTERS_MAX or port == 0:
        return "A URL names a host."
    return None


def proxy_problem(url: str) -> str | None:
    """Say why this is no proxy that a download could use, or None. It may carry a name and a password."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "This is not a valid URL."
    if _FORBIDDEN.search(url) or parts.scheme not in ("http", "socks5", "socks5h"):
        return "A proxy is a URL that begins with http://, socks5:// or socks5h://."
    if not host or not port or parts.path not in ("", "/") or parts.query or parts.fragment:
        return "A proxy's URL names a host and a port, and no path."
    return None


def site(url: str) -> str:
    """The lane of a URL: its host without `www.`, so that one site's jobs share one limit."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    return host.removeprefix("www.")
