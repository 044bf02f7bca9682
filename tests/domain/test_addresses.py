"""The verdict on addresses, against every block of the IANA registries and against random ones."""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from random import Random  # noqa: TID251  # seeded

import pytest

from umd.domain.addresses import METADATA, Address, Network, inner

COUNTS = [50_000, pytest.param(500_000, marks=pytest.mark.soak)]
"""Of random addresses."""

# https://www.iana.org/assignments/iana-ipv4-special-registry and -ipv6-special-registry, and what stands
# outside of them: multicast, and what was never allocated for the public. True is globally reachable.
IANA_V4 = {
    "0.0.0.0/8": False,
    "10.0.0.0/8": False,
    "100.64.0.0/10": False,
    "127.0.0.0/8": False,
    "169.254.0.0/16": False,
    "172.16.0.0/12": False,
    "192.0.0.0/24": False,
    "192.0.0.0/29": False,
    "192.0.0.8/32": False,
    "192.0.0.170/31": False,
    "192.0.2.0/24": False,
    "192.31.196.0/24": True,
    "192.52.193.0/24": True,
    "192.88.99.0/24": False,
    "192.168.0.0/16": False,
    "192.175.48.0/24": True,
    "198.18.0.0/15": False,
    "198.51.100.0/24": False,
    "203.0.113.0/24": False,
    "224.0.0.0/4": False,
    "240.0.0.0/4": False,
    "255.255.255.255/32": False,
}
IANA_V6 = {
    "::1/128": False,
    "::/128": False,
    "::/96": False,
    "::ffff:0:0:0/96": False,
    "64:ff9b:1::/48": False,
    "100::/64": False,
    "100:0:0:1::/64": False,
    "2001::/32": False,
    "2001::/23": False,
    "2001:2::/48": False,
    "2001:10::/28": False,
    "2001:db8::/32": False,
    "2002::/16": False,
    "2620:4f:8000::/48": True,
    "3fff::/20": False,
    "5f00::/16": False,
    "fc00::/7": False,
    "fe80::/10": False,
    "fec0::/10": False,
    "ff00::/8": False,
    "4000::/3": False,
    "8000::/1": False,
}
STRICTER = (
    *("192.0.0.9/32", "192.0.0.10/32", "2001:1::1/128", "2001:1::2/128", "2001:1::3/128"),
    *("2001:3::/32", "2001:4:112::/48", "2001:20::/28", "2001:30::/28"),
)
"""Global by the registries: anycast services of the network itself and identifiers, refused on purpose."""

PUBLIC = ("1.1.1.1", "8.8.8.8", "93.184.215.14", "192.0.1.0", "223.255.255.255", "2606:4700::1111")


def corners(network: Network) -> tuple[Address, ...]:
    middle = network[network.num_addresses // 2]
    return network[0], middle, network[-1]


def literal(address: Address) -> Network:
    return ip_network(f"{address}/{address.max_prefixlen}")


@pytest.mark.parametrize(("block", "public"), [*IANA_V4.items(), *IANA_V6.items()])
def test_every_block_of_the_registries(block: str, public: bool) -> None:
    for address in corners(ip_network(block)):
        assert (inner(address) is None) is public, address


@pytest.mark.parametrize("block", STRICTER)
def test_what_is_refused_although_it_is_global(block: str) -> None:
    assert all(inner(address) for address in corners(ip_network(block)))


@pytest.mark.parametrize("text", PUBLIC)
def test_public_addresses_pass(text: str) -> None:
    assert inner(ip_address(text)) is None


def test_the_edges_of_every_inner_ipv4_block_are_sharp() -> None:
    blocks = [ip_network(block) for block, public in IANA_V4.items() if not public]
    for block in blocks:
        for neighbour in (int(block[0]) - 1, int(block[-1]) + 1):
            if 0 <= neighbour < 2**32 and not any(IPv4Address(neighbour) in other for other in blocks):
                assert inner(IPv4Address(neighbour)) is None, IPv4Address(neighbour)


@pytest.mark.parametrize("count", COUNTS)
def test_random_ipv4_addresses_are_judged_as_the_table_says(count: int) -> None:
    denied = sorted(
        (int(network[0]), int(network[-1]))
        for network in (ip_network(block) for block, public in IANA_V4.items() if not public)
    )
    draw = Random(4)
    for number in (draw.getrandbits(32) for _ in range(count)):
        expected = any(first <= number <= last for first, last in denied)
        assert (inner(IPv4Address(number)) is not None) is (expected or number == 0xA83F8110), number


@pytest.mark.parametrize("count", COUNTS)
def test_random_ipv6_addresses_are_judged_as_the_table_says(count: int) -> None:
    denied = [
        (int(network[0]), int(network[-1]))
        for network in (
            ip_network(block) for block in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
        )
    ]
    draw = Random(6)
    for index in range(count):
        # Every other one below 2000::/3, where the verdict is not always the same.
        number = draw.getrandbits(125) | 1 << 125 if index % 2 else draw.getrandbits(128)
        public = number >> 125 == 1 and not any(first <= number <= last for first, last in denied)
        assert (inner(IPv6Address(number)) is None) is public, IPv6Address(number)


@pytest.mark.parametrize(("inside", "public"), [("127.0.0.1", False), ("10.1.2.3", False), ("1.1.1.1", True)])
def test_nat64_is_as_public_as_the_address_inside(inside: str, public: bool) -> None:
    address = IPv6Address(int(IPv6Address("64:ff9b::")) | int(IPv4Address(inside)))

    assert (inner(address) is None) is public
    assert (inner(IPv6Address(f"::ffff:{inside}")) is None) is public


def wrapped(number: int) -> dict[str, int]:
    """An IPv4 address inside an IPv6 one, in every way there is."""
    return {
        "mapped": 0xFFFF << 32 | number,
        "compatible": number,
        "translated": 0xFFFF << 48 | number,
        "nat64": 0x64_FF9B << 96 | number,
        "nat64 local, /96": int(IPv6Address("64:ff9b:1::")) | number,
        "nat64 local, /48": int(IPv6Address("64:ff9b:1::")) | number >> 16 << 64 | (number & 0xFFFF) << 40,
        "6to4": 0x2002 << 112 | number << 80,
        "teredo client": 0x2001_0000 << 96 | 0x0808_0808 << 64 | number ^ 0xFFFF_FFFF,
        "teredo server": 0x2001_0000 << 96 | number << 64 | 0x0808_0808 ^ 0xFFFF_FFFF,
        "isatap": 0x2606_4700 << 96 | 0x5EFE << 32 | number,
        "isatap, global": 0x2606_4700 << 96 | 0x0200_5EFE << 32 | number,
    }


@pytest.mark.parametrize("form", wrapped(0))
@pytest.mark.parametrize("inside", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "192.168.0.1"])
def test_an_address_inside_another_is_refused(form: str, inside: str) -> None:
    assert inner(IPv6Address(wrapped(int(IPv4Address(inside)))[form])), (form, inside)


@pytest.mark.parametrize("form", [form for form in wrapped(0) if form != "mapped"])
def test_allowing_the_outer_form_does_not_allow_what_is_inside(form: str) -> None:
    address = IPv6Address(wrapped(int(IPv4Address("10.0.0.1")))[form])

    assert inner(address, [IPv6Network("::/0")]) == "private"
    assert inner(address, [IPv6Network("::/0"), ip_network("10.0.0.0/8")]) is None


@pytest.mark.parametrize("address", sorted(METADATA, key=str), ids=str)
def test_metadata_passes_only_where_it_is_allowed_alone(address: Address) -> None:
    everything = [ip_network("0.0.0.0/0"), ip_network("::/0")]

    assert inner(address) == "cloud metadata"
    assert inner(address, everything) == "cloud metadata"
    assert inner(address, [literal(address)]) is None


def test_allowed_networks_pass_and_their_neighbours_do_not() -> None:
    allowed = [ip_network("192.168.1.0/24"), ip_network("fd12::/16")]

    assert inner(ip_address("192.168.1.7"), allowed) is None
    assert inner(ip_address("::ffff:192.168.1.7"), allowed) is None
    assert inner(ip_address("fd12::1"), allowed) is None
    assert inner(ip_address("192.168.2.7"), allowed) == "private"
    assert inner(ip_address("fd13::1"), allowed) == "private"
