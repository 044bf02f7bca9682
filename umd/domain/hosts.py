"""What a host names: an address in one of its many spellings, or a name, and whether that is an inner one.

`getaddrinfo`, browsers, curl and yt-dlp each read more spellings of an address than the dotted one. All of
them are read here, and where two readers would disagree, as on `0177.0.0.1`, both readings are given.
"""

import functools
import re
import unicodedata
from collections.abc import Iterator
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from itertools import product
from urllib.parse import unquote

import idna

from umd.domain.addresses import Address

LOOPBACK = IPv4Address("127.0.0.1")

METADATA_NAMES = frozenset(
    ("metadata", "metadata.google.internal", "metadata.goog", "instance-data", "instance-data.ec2.internal")
)
_INNER_SUFFIXES = (
    *("internal", "local", "localdomain", "lan", "home", "corp", "private", "intranet"),
    *("home.arpa", "consul", "svc"),
)
"""Names that no public resolver answers for; `internal` has those of Railway, AWS and Google below it."""

_SPELLED_DOTS = str.maketrans("\u3002\uff0e\uff61", "...")
_IGNORED = re.compile(
    r"[\s\u00ad\u034f\u061c\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff]"
)
_NUMBER = re.compile(r"0[xX][0-9a-fA-F]*|[0-9]+")
_TO_THE_LEFT = 4
_KNOWN_MAX = 1_024
"""Of how many hosts it is remembered how they are read: a download asks for the same few again and again."""
_DIGITS_MAX = 40
"""No address has so many."""


class Unreadable(ValueError):
    """A host that has the form of an address, and is none."""


@functools.lru_cache(_KNOWN_MAX)
def readings(host: str) -> tuple[Address, ...]:
    """What addresses a host may be read as, `getaddrinfo`'s first; none for a name. Raises `Unreadable`."""
    host = plain(host)
    if ":" in host:
        return (_six(host),)
    if host == "localhost" or host.endswith(".localhost"):
        return (LOOPBACK,)  # RFC 6761: no name to be looked up
    labels = host.split(".")
    if not _NUMBER.fullmatch(labels[-1]):
        return ()
    found = tuple(dict.fromkeys(_four(labels)))
    if not found:
        raise Unreadable(host)
    return found


@functools.lru_cache(_KNOWN_MAX)
def plain(host: str) -> str:
    """A host in lower case with ASCII digits and dots, no brackets and no dot at the end."""
    text = unquote(unquote(host)).translate(_SPELLED_DOTS)
    text = _IGNORED.sub("", unicodedata.normalize("NFKC", text)).translate(_SPELLED_DOTS)
    digits = "".join(str(unicodedata.decimal(character, character)) for character in text)
    return digits.strip("[]").rstrip(".").lower()


@functools.lru_cache(_KNOWN_MAX)
def folded(host: str) -> str:
    """A name as one that is equal to it folds: lower case, ASCII (IDNA), no dot at the end."""
    name = plain(host)
    try:
        return idna.encode(name, uts46=True).decode() if not name.isascii() else name
    except idna.IDNAError:
        return _folded_once(name)


def is_inner_name(name: str) -> bool:
    """Whether a name, folded, is one that only an inner network resolves."""
    return "." not in name or belongs(name, _INNER_SUFFIXES)


def belongs(name: str, domains: tuple[str, ...]) -> bool:
    """Whether a name is one of the domains, or below one."""
    return any(name == domain or name.endswith(f".{domain}") for domain in domains)


def _folded_once(name: str) -> str:
    """What IDNA of 2008 forbids (an emoji), as that of 2003 writes it; yt-dlp still does."""
    try:
        return name.encode("idna").decode()
    except UnicodeError:
        return name


def _six(host: str) -> IPv6Address:
    try:
        return IPv6Address(host.partition("%")[0])
    except AddressValueError:
        raise Unreadable(host) from None


def _four(labels: list[str]) -> Iterator[IPv4Address]:
    """As `inet_aton` reads one to four numbers: the last one fills what the others leave."""
    if len(labels) > _TO_THE_LEFT or not all(_NUMBER.fullmatch(label) for label in labels):
        return
    for *first, last in product(*(tuple(_values(label)) for label in labels)):
        room = 256 ** (_TO_THE_LEFT - len(first))
        if last < room and all(value < 256 for value in first):  # noqa: PLR2004  # one byte
            high = sum(value << 8 * (3 - index) for index, value in enumerate(first))
            yield IPv4Address(high + last)


def _values(label: str) -> Iterator[int]:
    """A number as octal where it begins with a zero, as most read it, and as it stands; zeros are padding."""
    is_hex = label.startswith("0x")
    digits = (label[2:] if is_hex else label).lstrip("0") or "0"
    if len(digits) > _DIGITS_MAX:
        return
    if is_hex:
        yield int(digits, 16)
        return
    if label.startswith("0") and not set(digits) & set("89"):
        yield int(digits, 8)
    yield int(digits)
