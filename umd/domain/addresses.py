"""The verdict on an IP address: whether it lies on the public Internet, or which block says that it does not.

The tables follow the IANA special-purpose address registries (RFC 6890). Python's `is_global` does not do:
it takes a dozen forms of inner addresses for public ones. Here IPv6 is public only below `2000::/3`, and
what carries an IPv4 address inside is judged by that as well.
"""

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from types import MappingProxyType
from typing import TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

METADATA = frozenset(
    map(
        ip_address,
        (
            "169.254.169.254",  # AWS, Azure, Google, DigitalOcean, Oracle and most others
            "169.254.170.2",  # AWS ECS
            "169.254.170.23",  # AWS EKS
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd20:ce::254",  # Google, on IPv6 only
            "100.100.100.200",  # Alibaba
            "168.63.129.16",  # Azure, and a public address by the registries
            "192.0.0.192",  # Oracle
        ),
    )
)
"""Where clouds hand out the machine's own credentials."""

_INNER_V4 = MappingProxyType(
    {
        IPv4Network("0.0.0.0/8"): "this network",
        IPv4Network("10.0.0.0/8"): "private",
        IPv4Network("100.64.0.0/10"): "shared by a provider",
        IPv4Network("127.0.0.0/8"): "loopback",
        IPv4Network("169.254.0.0/16"): "link-local",
        IPv4Network("172.16.0.0/12"): "private",
        # With the two anycast addresses that are global (.9 and .10): nothing to download lies there.
        IPv4Network("192.0.0.0/24"): "reserved for protocols",
        IPv4Network("192.0.2.0/24"): "documentation",
        IPv4Network("192.88.99.0/24"): "6to4 relay",
        IPv4Network("192.168.0.0/16"): "private",
        IPv4Network("198.18.0.0/15"): "benchmarking",
        IPv4Network("198.51.100.0/24"): "documentation",
        IPv4Network("203.0.113.0/24"): "documentation",
        IPv4Network("224.0.0.0/4"): "multicast",
        IPv4Network("240.0.0.0/4"): "reserved",
    }
)
_PUBLIC_V6 = IPv6Network("2000::/3")
"""All that IANA has allocated as global unicast."""

_NAT64 = IPv6Network("64:ff9b::/96")
_NAT64_LOCAL = IPv6Network("64:ff9b:1::/48")
_INNER_V6 = MappingProxyType(
    {
        # With the few anycast and identifier blocks in it that are global: nothing to download lies there.
        IPv6Network("2001::/23"): "reserved for protocols",
        IPv6Network("2001:db8::/32"): "documentation",
        IPv6Network("2002::/16"): "6to4",
        IPv6Network("3fff::/20"): "documentation",
    }
)
_TEREDO = IPv6Network("2001::/32")
_SIX_TO_FOUR = IPv6Network("2002::/16")
_LOW_96 = frozenset(
    map(IPv6Network, ("::/96", "::ffff:0:0:0/96", "64:ff9b::/96"))
)  # compatible (RFC 4291), translated (RFC 2765), NAT64 (RFC 6052)
_ISATAP = frozenset((0x0000_5EFE, 0x0200_5EFE))
"""The upper half of an interface identifier whose lower half is an IPv4 address (RFC 5214)."""


def inner(address: Address, allowed: Iterable[Network] = ()) -> str | None:
    """Say which kind of inner address this is, or None for one on the public Internet.

    `allowed` lets through what the tables deny. A metadata address passes only where it stands there alone:
    a network that merely contains it is meant for something else.
    """
    allowed = tuple(allowed)
    for judged in _meant(address):
        if (kind := _kind(judged)) is not None and not is_allowed(judged, allowed):
            return kind
    return None


def is_allowed(address: Address, allowed: Iterable[Network]) -> bool:
    """Whether the operator lets this very address through."""
    address = _unmapped(address)
    alone = address in METADATA
    return any(
        address in network and (not alone or network.prefixlen == address.max_prefixlen)
        for network in allowed
    )


def networks(text: str) -> tuple[Network, ...]:
    """Comma-separated networks, as the settings have them; they are valid there."""
    return tuple(ip_network(item) for item in map(str.strip, text.split(",")) if item)


def _kind(address: Address) -> str | None:
    if address in METADATA:
        return "cloud metadata"
    if isinstance(address, IPv4Address):
        return next((kind for network, kind in _INNER_V4.items() if address in network), None)
    if address in _NAT64:
        return None  # as public as the IPv4 address inside, which is judged as well
    if address not in _PUBLIC_V6:
        return _kind_outside(address)
    return next((kind for network, kind in _INNER_V6.items() if address in network), None)


def _kind_outside(address: IPv6Address) -> str:
    """A word for what is not global unicast."""
    if address.is_loopback:
        return "loopback"
    if address.is_multicast:
        return "multicast"
    if address.is_link_local:
        return "link-local"
    return "private" if address in IPv6Network("fc00::/7") else "reserved"


def _meant(address: Address) -> Iterator[Address]:
    """The address itself, and the IPv4 addresses that packets to it may end at."""
    address = _unmapped(address)
    yield address
    if isinstance(address, IPv6Address):
        yield from map(IPv4Address, _carried(address))


def _unmapped(address: Address) -> Address:
    """A mapped address is the IPv4 address itself: that is what a system connects to."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return address if mapped is None else mapped


def _carried(address: IPv6Address) -> Iterator[int]:
    bits = int(address)
    low = bits & 0xFFFF_FFFF
    if any(address in network for network in _LOW_96):
        yield low
    if address in _NAT64_LOCAL:
        # The block may be cut at /96 or be the prefix itself, with the address around the bits 64 to 71.
        yield low if bits & 0xFF_FFFF_FFFF else (bits >> 64 & 0xFFFF) << 16 | bits >> 40 & 0xFFFF
    if address in _SIX_TO_FOUR:
        yield bits >> 80 & 0xFFFF_FFFF
    if address in _TEREDO:
        yield from (bits >> 64 & 0xFFFF_FFFF, low ^ 0xFFFF_FFFF)  # the server, and the client behind a NAT
    if bits >> 32 & 0xFFFF_FFFF in _ISATAP:
        yield low
