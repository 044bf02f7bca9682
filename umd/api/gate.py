"""What decides who may come in, made from the settings once: keys, links, tokens, limits, proxies, hosts."""

import ipaddress
from collections.abc import Iterable
from typing import TypeAlias
from urllib.parse import urlsplit

from umd.api.file_links import FileLinks
from umd.api.quotas import Quotas
from umd.api.stream_tokens import StreamTokens
from umd.clock import Clock
from umd.domain.access import ANONYMOUS, Caller, Keyring, parse_keys
from umd.errors import SettingsError
from umd.settings import DEFAULT_RATE_LIMIT_ANONYMOUS, Settings

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "[::1]"})


class Gate:
    """The rules at the door. Raises `SettingsError` where the settings leave it open by mistake.

    `is_private` says that the service listens on loopback only and knows no keys: one person's own, where
    nobody else can come. Whoever makes requests there may do everything and is not counted.
    """

    def __init__(self, settings: Settings, clock: Clock, link_secret: bytes) -> None:
        self.keys = _keyring(settings.api_keys)
        self.is_private = settings.on_loopback and not self.keys
        self.is_open = _is_open(settings, self.keys)
        self.anonymous = Caller(ANONYMOUS, "write" if self.keys else "admin")
        self.links = FileLinks(_link_secrets(settings, link_secret), settings.link_sec)
        self.tokens = StreamTokens(clock, settings.stream_token_sec, settings.sse_max_per_caller)
        self.proxies = _networks(settings.trusted_proxies)
        self.hosts = _hosts(settings, is_private=self.is_private)
        self.origins = frozenset(filter(None, settings.cors_origins.split(",")))
        uncounted = self.is_private and settings.rate_limit_anonymous == DEFAULT_RATE_LIMIT_ANONYMOUS
        self.quotas = Quotas(clock, settings.rate_limit, "" if uncounted else settings.rate_limit_anonymous)


def check(settings: Settings) -> None:
    """Hold the settings to the rules before anything starts. Raises `SettingsError`."""
    _is_open(settings, _keyring(settings.api_keys))
    _networks(settings.trusted_proxies)
    Quotas.parse(settings.rate_limit, "UMD_RATE_LIMIT")
    Quotas.parse(settings.rate_limit_anonymous, "UMD_RATE_LIMIT_ANONYMOUS")


def _keyring(text: str) -> Keyring:
    try:
        return Keyring(parse_keys(text))
    except ValueError as error:
        raise SettingsError(f"UMD_API_KEYS: {error}") from None


def _is_open(settings: Settings, keys: Keyring) -> bool:
    """Whether requests without a key are taken."""
    match settings.require_api_key:
        case "auto":
            is_open = settings.on_loopback and not keys
        case required:
            is_open = not required
    if not is_open and not keys:
        raise SettingsError(
            "UMD_API_KEYS is empty, so nobody could use the service. Set it to name:scope:key (`umd key new` "
            "makes a key), or set UMD_REQUIRE_API_KEY=false to let everybody in."
        )
    return is_open


def _link_secrets(settings: Settings, kept: bytes) -> list[bytes]:
    return [secret.encode() for secret in settings.link_secret.split(",") if secret] or [kept]


def _networks(text: str) -> tuple[Network, ...]:
    try:
        return tuple(ipaddress.ip_network(each.strip()) for each in text.split(",") if each.strip())
    except ValueError as error:
        raise SettingsError(f"UMD_TRUSTED_PROXIES: {error}.") from None


def _hosts(settings: Settings, *, is_private: bool) -> frozenset[str] | None:
    """The names that the service answers to; None for any.

    A service without keys on a loopback address takes no other name than its own: else any page in a
    browser of this machine could reach it, by a name of its own that it lets point to 127.0.0.1.
    """
    named = [each.strip().lower() for each in settings.allowed_hosts.split(",") if each.strip()]
    if not named and not is_private:
        return None
    return frozenset([*named, *LOCAL_HOSTS, *_host_of(settings.public_base_url)])


def _host_of(url: str) -> Iterable[str]:
    host = urlsplit(url).netloc.lower()
    return [host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host] if host else []
