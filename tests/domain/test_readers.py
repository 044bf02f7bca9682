"""What other programs read in an address is what the rules were asked about.

Several read each one on its way: the service (urllib), the sender of webhooks (yarl), yt-dlp's handlers
(urllib3, requests), curl, and `getaddrinfo` at the end. Where two of them could be led to see two hosts in
one address, a check of the one says nothing of the other.
"""

import re
import socket
from contextlib import suppress
from ipaddress import ip_address
from urllib.parse import urlsplit

import pytest
import urllib3
import yarl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from umd.domain import hosts, urls
from umd.domain.addresses import Address

QUICK = settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow], deadline=None)
LONG = settings(QUICK, max_examples=5_000)

HOSTS = st.sampled_from(
    (
        *(
            "a.example",
            "127.0.0.1",
            "[::1]",
            "[::ffff:7f00:1]",
            "localhost",
            "0x7f.1",
            "2130706433",
            "0177.1",
        ),
        *(
            "１２７.0.0.1",
            "①②⑦.0.0.1",
            "127。0。0。1",
            "xn--a",
            "bücher.example",
            "a_b.example",
            "1.2.3.4.",
            "",
        ),
    )
)
MARKS = st.sampled_from(
    (
        *(
            "@",
            ":",
            "/",
            "?",
            "#",
            "\\",
            "//",
            "%40",
            "%2f",
            "%5c",
            "%23",
            "%3a",
            "[",
            "]",
            ";",
            "&",
            "=",
            "*",
            "!",
        ),
        *(
            "\t",
            "\r",
            "\n",
            " ",
            "\0",
            "%00",
            "%0a",
            "\u200b",
            "\u00ad",
            "\u2100",
            "\uff0f",
            "\uff20",
            "\uff03",
        ),
        *(
            "..",
            ".",
            "-",
            "_",
            "|",
            "^",
            "~",
            "$",
            "+",
            ",",
            "'",
            "(",
            "80",
            ":80",
            ":0",
            ":99999",
            "user:pw@",
        ),
    )
)
ADDRESSES = st.builds(
    lambda scheme, pieces: scheme + "".join(pieces),
    st.sampled_from(("http://", "https://", "HTTP://", "http:", "http:/", "//", "http:///", "http:\\\\")),
    st.lists(HOSTS | MARKS | st.text(max_size=3), min_size=1, max_size=6),
)

DIGITS = st.integers(0, 2**34) | st.integers(0, 300)
NUMBERS = st.builds(
    lambda value, form, zeros: form.format("0" * zeros, value),
    DIGITS,
    st.sampled_from(("{0}{1}", "0x{0}{1:x}", "0X{0}{1:X}", "0{0}{1:o}", "{1}")),
    st.sampled_from((0, 0, 1, 3, 30)),
)
NUMERIC = st.builds(
    lambda labels, end: ".".join(labels) + end,
    st.lists(NUMBERS, min_size=1, max_size=5),
    st.sampled_from(("", "", ".", " ", "%lo", "x")),
) | st.text("0123456789abcdefxX.:%", max_size=40)


PLACE = re.compile(r"(?!.*xn--)[0-9a-z_-]{1,63}(\.[0-9a-z_-]{1,63})*|[0-9a-f:.]*:[0-9a-f:.]*(%.*)?")


def others(url: str) -> dict[str, str]:
    """The host that each of the others sees; what they refuse they cannot be led to."""
    seen: dict[str, str] = {}
    with suppress(ValueError):
        seen["yarl"] = yarl.URL(url).host or ""
    with suppress(ValueError, urllib3.exceptions.LocationParseError):
        seen["urllib3"] = urllib3.util.parse_url(url).host or ""
    return seen


def compare(url: str) -> None:
    if urls.problem(url) is not None or any(mark.isdecimal() and not mark.isascii() for mark in url):
        return  # A digit of another script is judged as the ASCII one that some make of it.
    ours = hosts.folded(urlsplit(url).hostname or "")
    for reader, host in others(url).items():
        theirs = hosts.folded(host)
        # What is neither a name nor an address is nothing that the egress proxy takes from anybody, and what
        # is no letter in any script each edition of IDNA spells as it likes.
        assert theirs == ours or not PLACE.fullmatch(theirs), (reader, url)


def numeric(host: str) -> set[Address]:
    """What this host is to the system, as far as it needs no name server."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError, ValueError):
        return set()
    return {ip_address(str(address[0]).partition("%")[0]) for *_, address in found}


def read(host: str) -> None:
    """Whatever the system takes for an address is one of those that are judged."""
    for address in numeric(host):
        assert address in hosts.readings(host), host


@QUICK
@given(ADDRESSES)
def test_t1_nobody_else_sees_another_host_in_an_address(url: str) -> None:
    compare(url)


@QUICK
@given(NUMERIC)
def test_t1_the_system_reads_no_address_that_is_not_judged(host: str) -> None:
    read(host)


@pytest.mark.soak
@LONG
@given(ADDRESSES)
def test_t1_nobody_else_sees_another_host_in_many_addresses(url: str) -> None:
    compare(url)


@pytest.mark.soak
@LONG
@given(NUMERIC)
def test_t1_the_system_reads_no_address_that_is_not_judged_of_many(host: str) -> None:
    read(host)
