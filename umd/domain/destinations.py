"""Where a download may go: the operator's rules on domains, addresses and ports.

They are asked twice. At the door with the address that a request names (`check_site`, `check_receiver`):
a fast and friendly refusal, which looks nothing up. And at the egress for each connection, with the name
(`check_host`) and with everything that it resolves to (`check_addresses`): that one holds.

`allowed_domains` is about the site that a request names, and so is asked at the door only: a site's media
lie on hosts of other names. `blocked_domains` are asked everywhere.
"""

from collections.abc import Iterable
from urllib.parse import urlsplit

import msgspec

from umd.domain import hosts
from umd.domain.addresses import Address, Network, inner, is_allowed, networks
from umd.errors import AddressNotAllowed, DomainNotAllowed
from umd.settings import Settings

YOUTUBE = (
    *("youtube.com", "youtu.be", "youtube-nocookie.com", "youtubekids.com", "yt.be"),
    *("googlevideo.com", "ytimg.com", "youtube.googleapis.com", "youtubei.googleapis.com"),
)
INNER_PORTS = frozenset(
    (
        *(1433, 1521, 3306, 5432, 5984, 6379, 9042, 9200, 9300, 11211, 27017),  # databases and caches
        *(2375, 2376, 2377, 2379, 2380, 6443, 10250),  # Docker, etcd, Kubernetes
        *(2049, 3389, 5900, 5985, 5986, 6000, 6667, 6697),  # file shares, remote desktops, IRC
    )
)
"""Above 1023, and yet never a web server."""


class Rules(msgspec.Struct, frozen=True):
    """What the operator's settings say. `ports` is None for the built-in choice."""

    allowed_networks: tuple[Network, ...] = ()
    allowed_domains: tuple[str, ...] = ()
    blocked_domains: tuple[str, ...] = ()
    ports: tuple[range, ...] | None = None


def rules_of(settings: Settings) -> Rules:
    """The settings, made ready to be asked."""
    blocked = (*_domains(settings.blocked_domains), *(() if settings.allow_youtube else YOUTUBE))
    return Rules(
        networks(settings.allow_addresses),
        _domains(settings.allowed_domains),
        blocked,
        _ports(settings.allowed_ports) or None,
    )


def check_site(rules: Rules, *urls: str) -> None:
    """Hold the addresses that a request wants to have downloaded to the rules.

    They are valid URLs already (`umd.domain.urls`). Raises `AddressNotAllowed` and `DomainNotAllowed`.
    """
    for url in urls:
        host, port = _place(url)
        _check_at_the_door(rules, host, port)
        if rules.allowed_domains and not hosts.belongs(hosts.folded(host), rules.allowed_domains):
            raise DomainNotAllowed("This server downloads from a list of sites, and this one is not on it.")


def check_receiver(rules: Rules, url: str) -> None:
    """Hold the address of a webhook to the rules. Raises `AddressNotAllowed` and `DomainNotAllowed`."""
    _check_at_the_door(rules, *_place(url))


def check_host(rules: Rules, host: str) -> tuple[Address, ...]:
    """Hold a host to the rules before it is looked up; returns the addresses that its spelling stands for.

    Raises `AddressNotAllowed` and `DomainNotAllowed`.
    """
    name = hosts.folded(host)
    if hosts.belongs(name, rules.blocked_domains):
        raise DomainNotAllowed("This server does not connect to this site.")
    try:
        addresses = hosts.readings(host)
    except hosts.Unreadable:
        raise AddressNotAllowed("The host is a malformed address.") from None
    if not addresses and _is_never_outside(rules, name):
        raise AddressNotAllowed("The host has the name of something inside a network.")
    return addresses


def check_addresses(rules: Rules, host: str, port: int, addresses: Iterable[Address]) -> None:
    """Hold everything that a host resolves to, or may be read as, to the rules.

    One bad address is enough to refuse the host. An inner name has to lead to allowed addresses only.
    Raises `AddressNotAllowed`.
    """
    literal = _is_literal(host)
    named_inside = not literal and hosts.is_inner_name(hosts.folded(host))
    for address in addresses:
        if (kind := inner(address, rules.allowed_networks)) is not None:
            # What a name resolves to inside is nobody's business.
            told = f" ({kind})" if literal else ""
            raise AddressNotAllowed(f"The host is not on the public Internet{told}.")
        if is_allowed(address, rules.allowed_networks):
            continue  # all of its ports are free: the operator has named it
        if named_inside:
            raise AddressNotAllowed("The host has the name of something inside a network.")
        if not is_open(rules, port):
            raise AddressNotAllowed(f"Port {port} is not one that media is served from.")


def check_unresolved(rules: Rules, host: str, port: int) -> None:
    """Hold a name that only a proxy will look up to the rules: where it leads, nobody here will know.

    So an inner name is not allowed even where inner addresses are. Raises `AddressNotAllowed`.
    """
    if hosts.is_inner_name(hosts.folded(host)):
        raise AddressNotAllowed("The host has the name of something inside a network.")
    if not is_open(rules, port):
        raise AddressNotAllowed(f"Port {port} is not one that media is served from.")


def is_open(rules: Rules, port: int) -> bool:
    """Whether connections to this port of a public address are made.

    Media comes from 80 and 443, and from any higher port (8080, 8443, a streaming server's own); what
    else listens below 1024 speaks no HTTP, and a few services above never should be spoken to.
    """
    if rules.ports is not None:
        return any(port in ports for ports in rules.ports)
    return port in (80, 443) or (1_024 <= port <= 65_535 and port not in INNER_PORTS)  # noqa: PLR2004


def _check_at_the_door(rules: Rules, host: str, port: int) -> None:
    addresses = check_host(rules, host)
    if addresses:
        check_addresses(rules, host, port, addresses)
    elif not rules.allowed_networks and not is_open(rules, port):
        raise AddressNotAllowed(f"Port {port} is not one that media is served from.")


def _is_never_outside(rules: Rules, name: str) -> bool:
    """An inner name may be meant where the operator allows inner addresses; then what it leads to decides."""
    if hosts.belongs(name, tuple(hosts.METADATA_NAMES)):
        return True
    return hosts.is_inner_name(name) and not rules.allowed_networks


def _is_literal(host: str) -> bool:
    try:
        return bool(hosts.readings(host))
    except hosts.Unreadable:
        return True


def _place(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


def _domains(text: str) -> tuple[str, ...]:
    """Domains as an operator writes them; `*.example.com` and `.example.com` mean `example.com`."""
    items = (item.strip().removeprefix("*").removeprefix(".") for item in text.split(","))
    return tuple(hosts.folded(item) for item in items if item)


def _ports(text: str) -> tuple[range, ...]:
    items = [item.strip().partition("-") for item in text.split(",") if item.strip()]
    return tuple(range(int(first), int(last or first) + 1) for first, _, last in items)
