"""The operator's rules, at the door and for each connection."""

from ipaddress import ip_address

import pytest

from tests.domain.test_hosts import LOOPBACK, LOOPBACK_V6
from umd.domain import destinations
from umd.domain.destinations import Rules, check_addresses, check_host, check_receiver, check_site, rules_of
from umd.errors import AddressNotAllowed, DomainNotAllowed, NotAllowed
from umd.settings import Settings

INNER = (
    *("redis", "metadata.google.internal", "metadata.goog", "metadata", "db.railway.internal"),
    *("nas.local", "nas.home.arpa", "router.lan", "METADATA.GOOGLE.INTERNAL."),
    *("169.254.169.254", "0xA9FEA9FE", "2852039166", "[fd00:ec2::254]", "100.100.100.200", "168.63.129.16"),
    *(
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "0",
        "[::]",
    ),
    *("10.0.0.1", "192.0.0.8", "224.0.0.1", "255.255.255.255", "256.1.1.1", "1.2.3.4.5", "[fe80::1%25eth0]"),
)
SIX = sorted({f"[{host.strip('[]')}]" for host in LOOPBACK_V6 if host.isascii()})
PUBLIC = ip_address("93.184.215.14")


def refusal(url: str, rules: Rules | None = None) -> str | None:
    try:
        check_site(rules or Rules(), url)
    except NotAllowed as error:
        return error.code
    return None


@pytest.mark.parametrize("host", [*LOOPBACK, *SIX, *INNER])
def test_an_inner_host_is_refused_at_the_door(host: str) -> None:
    assert refusal(f"http://{host}/x") == "address_not_allowed"
    with pytest.raises(AddressNotAllowed):
        check_receiver(Rules(), f"https://{host}/x")


def test_public_hosts_pass_the_door() -> None:
    for url in (
        "https://example.com/x",
        "http://1.1.1.1:8080/x",
        "https://[2606:4700::1111]/",
        "http://a.b:8443",
    ):
        assert refusal(url) is None, url


def test_allowed_addresses_pass_the_door_on_every_port() -> None:
    rules = rules_of(Settings(allow_addresses="127.0.0.0/8, 192.168.1.0/24"))

    for host in (
        "127.0.0.1:22",
        "2130706433:6379",
        "localhost:5432",
        "192.168.1.9:1",
        "nas.local",
        "redis:6379",
    ):
        assert refusal(f"http://{host}/", rules) is None, host
    for host in ("192.168.2.9", "[::1]", "metadata.google.internal", "169.254.169.254"):
        assert refusal(f"http://{host}/", rules) == "address_not_allowed", host


def test_an_inner_name_has_to_lead_to_allowed_addresses_only() -> None:
    rules = rules_of(Settings(allow_addresses="192.168.1.0/24"))

    check_addresses(rules, "nas.local", 22, [ip_address("192.168.1.9")])
    for addresses in ([PUBLIC], [ip_address("192.168.1.9"), PUBLIC], [ip_address("192.168.2.9")]):
        with pytest.raises(AddressNotAllowed):
            check_addresses(rules, "nas.local", 80, addresses)


def test_one_inner_answer_refuses_the_host() -> None:
    with pytest.raises(AddressNotAllowed) as refused:
        check_addresses(Rules(), "example.com", 80, [PUBLIC, ip_address("10.0.0.1")])

    assert "private" not in str(refused.value)  # what a name resolves to inside stays inside


def test_a_literal_address_is_told_why() -> None:
    with pytest.raises(AddressNotAllowed, match="private"):
        check_site(Rules(), "http://10.0.0.1/")


def test_a_blocked_domain_is_refused_everywhere() -> None:
    rules = rules_of(Settings(blocked_domains="Evil.example, *.bücher.de ,.third.org"))

    for host in ("evil.example", "a.EVIL.example.", "xn--bcher-kva.de", "x.third.org"):
        assert refusal(f"http://{host}/", rules) == "domain_not_allowed"
        with pytest.raises(DomainNotAllowed):
            check_host(rules, host)
        with pytest.raises(DomainNotAllowed):
            check_receiver(rules, f"http://{host}/")
    assert refusal("http://notevil.example/", rules) is None


def test_allowed_domains_are_asked_at_the_door_only() -> None:
    rules = rules_of(Settings(allowed_domains="vimeo.com"))

    assert refusal("https://player.vimeo.com/1", rules) is None
    assert refusal("https://vimeo.com.evil.org/1", rules) == "domain_not_allowed"
    assert refusal("https://1.1.1.1/1", rules) == "domain_not_allowed"
    assert refusal("http://127.0.0.1/1", rules) == "address_not_allowed"
    assert check_host(rules, "cdn.example.net") == ()
    check_receiver(rules, "https://hooks.example.net/")


def test_youtube_can_be_switched_off() -> None:
    rules = rules_of(Settings(allow_youtube=False))

    for host in ("www.youtube.com", "youtu.be", "r1---sn.googlevideo.com", "m.YouTube.com"):
        assert refusal(f"https://{host}/watch?v=1", rules) == "domain_not_allowed"
        assert refusal(f"https://{host}/watch?v=1") is None


@pytest.mark.parametrize("port", [80, 443, 1024, 1935, 8000, 8080, 8443, 65_535])
def test_ports_of_media_are_open(port: int) -> None:
    assert destinations.is_open(Rules(), port)


@pytest.mark.parametrize("port", [1, 22, 25, 81, 445, 1023, 2375, 3306, 5432, 6379, 11_211, 27_017])
def test_ports_of_other_services_are_not(port: int) -> None:
    assert refusal(f"http://example.com:{port}/") == "address_not_allowed"
    with pytest.raises(AddressNotAllowed, match=str(port)):
        check_addresses(Rules(), "example.com", port, [PUBLIC])


def test_the_operator_may_choose_the_ports() -> None:
    rules = rules_of(Settings(allowed_ports="80, 6379,8000-8010"))

    assert [port for port in range(1, 65_536) if destinations.is_open(rules, port)] == [
        *(80, 6379),
        *range(8_000, 8_011),
    ]
