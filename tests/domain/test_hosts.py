"""Every spelling of an address is read as that address, and names fold as equals."""

from contextlib import suppress
from ipaddress import IPv4Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from umd.domain import hosts

LOOPBACK = (
    *("127.0.0.1", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7F.0X0.0.1", "0x7f.1", "017700000001"),
    *("0177.0.0.1", "0177.0.0.01", "127.0.0.01", "127.000.000.001", "00000177.0x0.0.1", "0000127.0.0.1"),
    *("１２７.0.0.1", "①②⑦.⓪.⓪.①", "127。0。0。1", "127．0．0．1", "127｡0｡0｡1", "０ｘ７ｆ.1", "²130706433"),
    *("%31%32%37.0.0.1", "%2531%2532%2537.0.0.1", "127%2e0%2e0%2e1", "127.0.0.1.", "127.0.0.1..."),
    *("127.0.0.1\u200b", "12\u00ad7.0.0.1", "١٢٧.٠.٠.١", "१२७.0.0.1", "𝟏𝟐𝟕.0.0.1", " 127.0.0.1"),
    *(
        "localhost",
        "LOCALHOST",
        "localhost.",
        "ｌｏｃａｌｈｏｓｔ",
        "a.b.localhost",
        "loc%61lhost",
        "ⓛocalhost",
    ),
)
LOOPBACK_V6 = (
    *(
        "::1",
        "[::1]",
        "0:0:0:0:0:0:0:1",
        "0000::0001",
        "::0.0.0.1",
        "[::1%25lo]",
        "::1%1",
        "[::1%lo]",
        "[：：1]",
    ),
)
MALFORMED = (
    *("256.0.0.1", "1.2.3.4.5", "4294967296", "127..1", "08.0x.0.999", "1.2.3.4.0x", "0x1ffffffff", "a.1"),
    *("[::g]", "[1:2]", "::1::", "[fe80::1::]", "999999999999999999999999999999999999999999999999"),
)
NAMES = (
    "example.com",
    "1.example.com",
    "127.0.0.1.nip.io",
    "0x7f.com",
    "face.b00c",
    "dead.beef",
    "münchen.de",
)


@pytest.mark.parametrize("host", LOOPBACK)
def test_a_spelling_of_loopback_is_read_as_that(host: str) -> None:
    assert IPv4Address("127.0.0.1") in hosts.readings(host)


@pytest.mark.parametrize("host", LOOPBACK_V6)
def test_a_spelling_of_loopback_in_ipv6_is_read_as_that(host: str) -> None:
    assert hosts.readings(host) == (ip_address("::1"),)


@pytest.mark.parametrize("zeros", [0, 1, 30, 37, 38, 39, 40, 41, 200])
def test_zeros_pad_a_number_in_any_base(zeros: int) -> None:
    padding = "0" * zeros

    assert hosts.readings(f"0x{padding}7f000001") == (hosts.LOOPBACK,)
    assert hosts.readings(f"0{padding}17700000001") == (hosts.LOOPBACK,)
    assert hosts.readings(f"0{padding}177.1")[0] == hosts.LOOPBACK


def test_where_readers_disagree_both_readings_are_given() -> None:
    assert set(hosts.readings("0177.0.0.1")) == {ip_address("127.0.0.1"), ip_address("177.0.0.1")}
    assert set(hosts.readings("010.8.8.8")) == {ip_address("8.8.8.8"), ip_address("10.8.8.8")}


@pytest.mark.parametrize("host", MALFORMED)
def test_a_malformed_address_is_no_name(host: str) -> None:
    with pytest.raises(hosts.Unreadable):
        hosts.readings(host)


@pytest.mark.parametrize("host", NAMES)
def test_a_name_has_no_reading(host: str) -> None:
    assert hosts.readings(host) == ()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Bücher.DE", "xn--bcher-kva.de"),
        ("EXAMPLE.com.", "example.com"),
        ("ｅｘａｍｐｌｅ。com", "example.com"),
        ("exa\u00admple.com", "example.com"),
        ("straße.de", "xn--strae-oqa.de"),
        ("%65xample.com", "example.com"),
        ("bu\u0308cher.de", "bücher.de"),
        ("i❤.ws", "xn--i-7iq.ws"),
        ("_dmarc.example.com", "_DMARC.example.com"),
    ],
)
def test_equal_names_fold_to_one(one: str, other: str) -> None:
    assert hosts.folded(one) == hosts.folded(other)


def test_a_domain_has_what_is_below_it_and_nothing_beside() -> None:
    domains = ("example.com",)

    assert hosts.belongs("example.com", domains)
    assert hosts.belongs("a.b.example.com", domains)
    assert not hosts.belongs("badexample.com", domains)
    assert not hosts.belongs("example.com.evil.org", domains)


@pytest.mark.parametrize(
    "name", ["redis", "db.railway.internal", "nas.local", "nas.home.arpa", "a.cluster.local"]
)
def test_names_of_an_inner_network_are_known(name: str) -> None:
    assert hosts.is_inner_name(name)
    assert not hosts.is_inner_name(f"{name}.example.com")


@given(host=st.text(max_size=60) | st.text("0123456789abcdefx.:[]%/-。１", max_size=40))
def test_any_text_is_read_or_refused(host: str) -> None:
    hosts.folded(host)
    with suppress(hosts.Unreadable):
        for address in hosts.readings(host):
            assert address in hosts.readings(str(address))
