"""Keeps secrets out of what is shown: the one place for every sink.

What the event log stores of a request is whole, for a download needs the query of its URL, and so does its
retry after a restart; the secrets that umd itself needs later (`webhook_secret`) are stored sealed. What
leaves the service goes through here, in one of two strengths:

- `text` for readers who need not know the request: the service's own log, log lines and errors of a
  download, problems. A URL loses user, query and fragment; headers, tokens and passwords are masked.
- `shown` and `shown_url` for those that may see the resource: answers, event streams, `/log`, webhooks. A
  URL keeps its query, since that often is the name of the item (`watch?v=…`), without the values of
  parameters whose names say that they are secrets. Of a webhook's address only the host is left: its path
  is often the secret.
"""

import re
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit, urlunsplit

import msgspec

MASK: Final = "…"

Json: TypeAlias = Any
"""A value as JSON has it."""

SECRET_FIELDS: Final = frozenset(
    {"api_key", "authorization", "cookie", "cookies", "password", "secret", "token", "webhook_secret"}
)
"""Names of fields whose values are never shown."""

SIGNED_BY_THE_SITE: Final = frozenset({"thumbnail"})
"""Fields with addresses that the site made: a picture whose signature is masked could not be shown."""

# Anybody may have written what is read here, so each pattern takes time in proportion to the text: it begins
# where a word begins, and never goes over a word again.
_URL = re.compile(r"(?<![A-Za-z0-9+.-])([0-9+.-]*+)([A-Za-z][A-Za-z0-9+.-]*+://[^\s'\"<>]+)")
_SECRET_NAME = re.compile(
    r"token|secret|passw|passphrase|pwd|signature|credential|auth(?!or)|session|cookie|(?:api|access|private)key"
    r"|^(?:code|hdnea|hdntl|hdnts|hmac|jwt|key|keypairid|pass|policy|pw|sid|sig)$"
)
_PARAMETER = re.compile(r"(?<![^&;=?#])([^&;=?#]++)=([^&;]*+)")
_HEADER = re.compile(
    r"\b((?:proxy-)?authorization|x-api-key|(?:set-)?cookie)(['\"]?\s*:\s*['\"]?)[^\r\n'\"]+", re.IGNORECASE
)
_BEARER = re.compile(r"\b(bearer|basic) +[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE)
_KNOWN = re.compile(r"\b(whsec_|umd_|sealed\.)[A-Za-z0-9+/=_.-]{24,}")
_PAIR = re.compile(
    r"(?<![\w.-])(?=[\w.-]*?(?:token|secret|passwd|password|api[_-]?key|signature|session_?id))([\w.-]++)"
    r"(['\"]?\s*+=\s*+['\"]?|['\"]\s*+:\s*+['\"])[^\s'\"&;,)]+",
    re.IGNORECASE,
)


def bare_url(url: str) -> str:
    """A URL without user, query and fragment."""
    try:
        parts = urlsplit(url)
    except ValueError:  # as of a host in broken brackets: better no URL than one with a secret in it
        return f"{url.partition('://')[0]}://{MASK}"
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}{f'?{MASK}' if parts.query else ''}"


def shown_url(url: str) -> str:
    """A URL without user, and without the values of parameters that are secrets by their names."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return f"{url.partition('://')[0]}://{MASK}"
    return urlunsplit(
        parts._replace(
            netloc=parts.netloc.rpartition("@")[2],
            query=_PARAMETER.sub(_parameter, parts.query),
            fragment=_PARAMETER.sub(_parameter, parts.fragment),
        )
    )


def host_only(url: str) -> str:
    """Of a URL no more than where it leads."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return MASK
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/{MASK}"


def text(words: str) -> str:
    """Words that anybody said, without secrets."""
    if "://" in words:
        words = _URL.sub(lambda found: found[1] + bare_url(found[2]), words)
    words = _HEADER.sub(rf"\1\2{MASK}", words)
    words = _BEARER.sub(rf"\1 {MASK}", words)
    words = _KNOWN.sub(rf"\1{MASK}", words)
    return _PAIR.sub(rf"\1\2{MASK}", words)


def logged(name: str, value: Json) -> Json:
    """A value of the service's own log, however deep."""
    match value:
        case str():
            return MASK if value and name in SECRET_FIELDS else text(value)
        case dict():
            return {key: logged(str(key), inner) for key, inner in value.items()}
        case list() | tuple():
            return [logged(name, inner) for inner in value]
        case _:
            return value


def shown(data: bytes) -> bytes:
    """A row of the event log as it may be shown; one that is damaged, as text."""
    if b"://" not in data and b'_secret":' not in data and b'"proxy":' not in data:
        return data
    try:
        value = msgspec.json.decode(data)
    except msgspec.DecodeError:
        return msgspec.json.encode(text(data.decode(errors="replace")))
    return msgspec.json.encode(_shown("", value))


def _shown(name: str, value: Json) -> Json:
    match value:
        case dict():
            return {key: _shown(key, inner) for key, inner in value.items()}
        case list():
            return [_shown(name, inner) for inner in value]
        case str() if value:
            return _shown_text(name, value)
        case _:
            return value


def _shown_text(name: str, value: str) -> str:
    if name in SECRET_FIELDS:
        return MASK
    if name == "webhook_url":
        return host_only(value)
    if name == "proxy" and "://" not in value:
        return value.rpartition("@")[2]
    if "://" not in value or name in SIGNED_BY_THE_SITE:
        return value
    return _URL.sub(lambda found: found[1] + shown_url(found[2]), value)


def _parameter(found: re.Match[str]) -> str:
    name = re.sub(r"[^a-z0-9]", "", found[1].lower())
    return f"{found[1]}={MASK}" if found[2] and _SECRET_NAME.search(name) else found[0]
