"""The service's settings: environment variables, typed, bounded, and checked before anything starts.

Each field of `Settings` is one variable, `UMD_` and the field's name in capitals. A bad value, or a
`UMD_` name that does not exist, raises `SettingsError` with one clear line.
"""

import ipaddress
import os
import re
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from umd.errors import SettingsError

PREFIX = "UMD_"
_ADOPTED = {
    "port": "PORT",
    "data_dir": "RAILWAY_VOLUME_MOUNT_PATH",
    "public_base_url": "RAILWAY_PUBLIC_DOMAIN",
}
"""Names of the platform's that are honoured: `PORT` wins, the volume's path and the domain are defaults."""

PORT_MAX = 65_535
_DOMAIN = re.compile(r"(\*?\.)?[^\s/:@*]+")

ON_RAILWAY = "RAILWAY_ENVIRONMENT_ID"
RAILWAY_EDGE = "100.64.0.0/10"
"""From where requests reach a container on Railway that came in at its edge."""

DEFAULT_RATE_LIMIT_ANONYMOUS = "100/hour"

SECRETS = frozenset({"api_keys", "cookie_key", "link_secret", "webhook_secret"})
"""Fields whose values are never shown."""

MASK = "********"

MAY_BE_EMPTY = frozenset({"rate_limit", "rate_limit_anonymous"})
"""Fields for which an empty variable says something: no limit. For the others it is as if absent."""

_USERINFO = re.compile(r"://[^/@]*@")

GIB = 2**30
MIB = 2**20


def _number(minimum: int, maximum: int, meaning: str) -> Meta:
    return Meta(ge=minimum, le=maximum, description=meaning)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All settings, with defaults that work on a newcomer's machine."""

    host: Annotated[str, Meta(min_length=1, description="address to listen on")] = "127.0.0.1"
    port: Annotated[int, _number(0, 65_535, "port to listen on; 0 takes a free one")] = 8080
    data_dir: Annotated[str, Meta(min_length=1, description="event log, media and temporary files")] = (
        "./data"
    )
    public_base_url: Annotated[
        str,
        Meta(pattern=r"^(https?://[^/\s]+(/[^\s]*[^/\s])?)?$", description="base of the links in answers"),
    ] = ""
    max_concurrent_downloads: Annotated[int, _number(1, 1_000, "downloads that run at once")] = 10
    max_concurrent_per_site: Annotated[int, _number(1, 1_000, "downloads that run at once from one site")] = 4
    queue_max: Annotated[int, _number(1, 1_000_000, "jobs that may wait")] = 10_000
    batches_max: Annotated[int, _number(1, 100_000, "batches that may be under way")] = 1_000
    default_timeout_sec: Annotated[int, _number(60, 7_200, "a job's time, where the request names none")] = (
        1_800
    )
    probes_max: Annotated[
        int, _number(1, 100, "sites that are asked at once for formats, metadata and lists")
    ] = 4
    probe_timeout_sec: Annotated[
        int, _number(1, 600, "seconds that a site has to tell formats, metadata or a list")
    ] = 30
    stall_timeout_sec: Annotated[
        int, _number(1, 3_600, "seconds without a sign of life that end an attempt")
    ] = 120
    max_retries: Annotated[
        int, _number(0, 20, "retries of a failed attempt, where the request names none")
    ] = 3
    retry_base_sec: Annotated[int, _number(0, 3_600, "first wait before a retry; it doubles each time")] = 5
    retention_sec: Annotated[int, _number(0, 31_536_000, "seconds after which the files of a job go")] = 3_600
    storage_quota_bytes: Annotated[
        int, _number(0, 2**60, "bytes that results may take; the oldest go when it is reached; 0 is no quota")
    ] = 0
    min_free_bytes: Annotated[
        int, _number(0, 2**60, "bytes to be left free; below it the oldest results go, and jobs wait")
    ] = 512 * MIB
    orphan_grace_sec: Annotated[
        int, _number(0, 31_536_000, "seconds after which a media file that no job knows is deleted")
    ] = 86_400
    max_filesize_bytes: Annotated[int, _number(1, 2**50, "the largest result")] = 10 * GIB
    allow_addresses: Annotated[
        str,
        Meta(
            description="networks that are connected to although they are not public, on every port, such as "
            "`192.168.1.0/24, fd00::/8`; a cloud's metadata address passes only where it is named alone"
        ),
    ] = ""
    allowed_domains: Annotated[
        str,
        Meta(
            description="if set, only URLs of these sites and what is below them are taken, such as "
            "`vimeo.com, example.org`; their media may come from hosts of other names"
        ),
    ] = ""
    blocked_domains: Annotated[
        str,
        Meta(
            description="sites that are neither taken in a request nor connected to, with what is below them"
        ),
    ] = ""
    allow_youtube: Annotated[bool, Meta(description="false blocks YouTube's domains")] = True
    allowed_ports: Annotated[
        str,
        Meta(
            description="ports of public addresses that are connected to, such as `80, 443, 8000-8999`; "
            "empty is 80, 443 and all from 1024 up but for those of databases and other inner services"
        ),
    ] = ""
    proxy: Annotated[
        str,
        Meta(
            pattern=r"^((http|socks5|socks5h)://([^/\s@]+@)?[^/\s@]+:\d{1,5}/?)?$",
            description="a proxy that downloads and webhooks go through, `http://`, `socks5://` or "
            "`socks5h://`, with `user:password@` if needed; an HTTP one has to permit CONNECT to every port. "
            "It is asked for addresses that were judged here; only with socks5h it looks names up, and "
            "then it is the proxy that has to refuse what leads into its own network",
        ),
    ] = ""
    log_reserve_bytes: Annotated[
        int, _number(0, 10 * GIB, "bytes that the event log keeps free for itself on a full volume; 0: none")
    ] = 16 * MIB
    log_retention_days: Annotated[
        int, _number(0, 36_500, "days after which rows of the event log are pruned; 0 keeps them for ever")
    ] = 0
    allow_reencode: Annotated[
        bool, Meta(description="encode a video whose codecs do not fit into the wanted container")
    ] = True
    allow_request_proxy: Annotated[bool, Meta(description="a request may name a proxy of its own")] = False
    allow_endless_retention: Annotated[
        bool, Meta(description="a request may keep its files for ever, by `retention_sec: null`")
    ] = True
    sponsorblock_api: Annotated[
        str,
        Meta(pattern=r"^https?://[^/\s]+(/[^\s]*[^/\s])?$", description="where SponsorBlock is asked"),
    ] = "https://sponsor.ajay.app"
    js_runtime: Annotated[str, Meta(description="path of deno, `auto`, or empty for none")] = "auto"
    engine_mode: Annotated[
        Literal["auto", "fork", "spawn"],
        Meta(description="fork from a warm process, or start a fresh one each time"),
    ] = "auto"
    sandbox: Annotated[
        Literal["netns", "landlock", "proxy"],
        Meta(description="the least that shuts downloads off; with less the service does not start"),
    ] = "proxy"
    worker_memory_bytes: Annotated[
        int, _number(256 * MIB, 2**46, "the most data that a process of a download may hold in memory")
    ] = 4 * GIB
    engine_update_hours: Annotated[
        int, _number(0, 8_760, "hours after which a newer yt-dlp is looked for and installed; 0 is never")
    ] = 0
    ytdlp_plugin_dir: Annotated[str, Meta(description="a directory of yt-dlp plugins; empty loads none")] = ""
    cookie_key: Annotated[
        str,
        Meta(
            pattern=r"^([A-Za-z0-9+/_-]{43}=?(,[A-Za-z0-9+/_-]{43}=?)*)?$",
            description="base64 of 32 random bytes: encrypts cookie jars and secrets of requests; several, "
            "comma-separated, for rotation: the first encrypts, all decrypt; empty keeps none",
        ),
    ] = ""
    browser_profiles: Annotated[
        str,
        Meta(
            pattern=r"^([a-z]+=/[^,=]+(,[a-z]+=/[^,=]+)*)?$",
            description="directories of browser profiles that cookies may be taken from, as "
            "`firefox=/srv/firefox,chrome=/srv/chrome`",
        ),
    ] = ""
    webhook_secret: Annotated[
        str,
        Meta(
            pattern=r"^(whsec_[A-Za-z0-9+/]{32,86}={0,2}(,whsec_[A-Za-z0-9+/]{32,86}={0,2})?)?$",
            description="signs webhooks whose request names no secret: `whsec_` and base64 of 24 to 64 "
            "bytes; two, comma-separated, for rotation: both sign; empty sends them without a signature",
        ),
    ] = ""
    webhook_timeout_sec: Annotated[int, _number(1, 120, "seconds that a webhook's receiver may take")] = 15
    webhook_schedule_sec: Annotated[
        str,
        Meta(
            pattern=r"^[0-9]{1,6}(,[0-9]{1,6}){0,19}$",
            description="waits before each attempt at a webhook, give or take a tenth; the last one is final",
        ),
    ] = "0,5,300,1800,7200,18000,36000,50400,72000,86400"
    overwrite_deleted: Annotated[
        bool, Meta(description="overwrite the files of downloads before they are deleted")
    ] = False
    sse_max_subscribers: Annotated[int, _number(1, 100_000, "event streams at once")] = 5_000
    sse_max_per_caller: Annotated[
        int, _number(1, 100_000, "event streams at once of one key, or of one address without a key")
    ] = 100
    sse_max_sec: Annotated[
        int, _number(1, 86_400, "seconds after which a stream is ended, to be resumed")
    ] = 840
    sse_heartbeat_sec: Annotated[int, _number(1, 300, "seconds between two heartbeats of a stream")] = 15
    api_keys: Annotated[
        str, Meta(description="`name:scope:key`, comma-separated; the key may be given as `sha256$…`")
    ] = ""
    require_api_key: Annotated[
        bool | Literal["auto"],
        Meta(description="`auto`: true, but false on a loopback address without keys"),
    ] = "auto"
    link_secret: Annotated[
        str,
        Meta(
            pattern=r"^([^\s,]{32,200}(,[^\s,]{32,200})*)?$",
            description="signs links to files, at least 32 characters; several, comma-separated, for "
            "rotation: the first signs; empty keeps a random one in the data directory",
        ),
    ] = ""
    link_sec: Annotated[int, _number(60, 86_400, "seconds that a link to a file is valid")] = 3_600
    stream_token_sec: Annotated[
        int, _number(1, 600, "seconds within which a stream token has to be used")
    ] = 60
    rate_limit: Annotated[
        str,
        Meta(
            description="requests of one key, in the notation of the `limits` library, several separated by "
            "`;`; empty switches it off"
        ),
    ] = "1000/hour"
    rate_limit_anonymous: Annotated[
        str,
        Meta(
            description="requests of one address without a key; as long as it is the default it does not "
            "hold on a loopback address without keys"
        ),
    ] = DEFAULT_RATE_LIMIT_ANONYMOUS
    trusted_proxies: Annotated[
        str,
        Meta(
            description="CIDRs, comma-separated, of the proxies whose `X-Real-IP` and `X-Forwarded-*` are "
            "believed; on Railway its edge"
        ),
    ] = ""
    allowed_hosts: Annotated[
        str,
        Meta(
            description="host names, comma-separated, that requests may be made to; empty takes any, but on "
            "a loopback address without keys only this machine's own"
        ),
    ] = ""
    require_https: Annotated[
        bool, Meta(description="redirect or refuse requests that came in clear from elsewhere")
    ] = False
    cors_origins: Annotated[
        str,
        Meta(
            pattern=r"^(https?://[a-z0-9.-]+(:[0-9]{1,5})?(,https?://[a-z0-9.-]+(:[0-9]{1,5})?)*)?$",
            description="origins, comma-separated, whose pages may use the API from a browser",
        ),
    ] = ""
    log_addresses: Annotated[
        Literal["none", "hashed", "truncated", "full"],
        Meta(description="how the log of requests shows a client's address; a hash holds until the restart"),
    ] = "none"
    drain_sec: Annotated[int, _number(0, 600, "seconds that a stop may take")] = 30
    docs_enabled: Annotated[
        bool, Meta(description="serve `/api/docs`, `/api/redoc`, `/api/openapi.json`")
    ] = True
    metrics_require_key: Annotated[
        bool, Meta(description="ask for a key with the scope `read` at `/api/v1/metrics`")
    ] = False
    watchdog_sec: Annotated[
        int,
        _number(0, 3_600, "seconds for which the event loop may hang before the process ends itself; 0: off"),
    ] = 30
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="least level that is logged")
    ] = "info"
    log_format: Annotated[
        Literal["auto", "console", "json"], Meta(description="`auto`: console on a terminal, else json")
    ] = "auto"

    def __post_init__(self) -> None:
        """Refuse what a type cannot say. Raises `ValueError`, which msgspec passes on as its own error."""
        for item in filter(None, map(str.strip, self.allow_addresses.split(","))):
            _check_network(item)
        for item in filter(None, map(str.strip, self.allowed_ports.split(","))):
            _check_ports(item)
        for item in filter(None, map(str.strip, f"{self.allowed_domains},{self.blocked_domains}".split(","))):
            if not _DOMAIN.fullmatch(item):
                raise ValueError(f"{item!r} is no domain such as example.com")
        if self.proxy and int(self.proxy.rstrip("/").rpartition(":")[2]) > PORT_MAX:
            raise ValueError(f"a port is at most {PORT_MAX:,}")

    @property
    def root(self) -> Path:
        """The data directory as an absolute path."""
        return Path(self.data_dir).expanduser().absolute()

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine can reach the service."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def shown(self) -> dict[str, str]:
        """Every field's value as it may be shown."""
        values = {
            name: _USERINFO.sub("://***@", _text(getattr(self, name))) for name in self.__struct_fields__
        }
        return {name: MASK if value and name in SECRETS else value for name, value in values.items()}


def _check_network(item: str) -> None:
    try:
        ip_network(item)
    except ValueError:
        raise ValueError(f"{item!r} is no network such as 192.168.1.0/24 or fd00::/8") from None


def _check_ports(item: str) -> None:
    first, _, last = item.partition("-")
    numbers = (first, last or first)
    if not all(number.isascii() and number.isdigit() for number in numbers) or not (
        1 <= int(numbers[0]) <= int(numbers[1]) <= PORT_MAX
    ):
        raise ValueError(f"{item!r} is no port and no range of ports such as 8000-8999")


class Loaded(msgspec.Struct, frozen=True):
    """Settings, and for each field where its value came from: a variable's name, or `default`."""

    settings: Settings
    origins: dict[str, str]


def load(environment: Mapping[str, str] = os.environ) -> Loaded:
    """Read the settings from the environment. Raises `SettingsError`."""
    known = {PREFIX + name.upper(): name for name in Settings.__struct_fields__}
    unknown = sorted(name for name in environment if name.startswith(PREFIX) and name not in known)
    if unknown:
        raise SettingsError(f"{unknown[0]} is not a setting of umd; `umd config` lists them all.")
    values: dict[str, str] = {}
    origins = dict.fromkeys(Settings.__struct_fields__, "default")
    for name, variable in _variables(environment):
        given = environment[variable]
        values[name] = f"https://{given}" if variable == "RAILWAY_PUBLIC_DOMAIN" else given
        origins[name] = variable
    if environment.get(ON_RAILWAY) and "trusted_proxies" not in values:
        values["trusted_proxies"], origins["trusted_proxies"] = RAILWAY_EDGE, ON_RAILWAY
    return Loaded(_converted(values, origins), origins)


def _variables(environment: Mapping[str, str]) -> list[tuple[str, str]]:
    """The variables that are set, the ones that win last."""
    own = [(name, PREFIX + name.upper()) for name in Settings.__struct_fields__]
    defaults = [(name, _ADOPTED[name]) for name in ("data_dir", "public_base_url")]
    candidates = [*defaults, *own, ("port", _ADOPTED["port"])]
    return [
        (name, variable)
        for name, variable in candidates
        if environment.get(variable, "") != "" or (name in MAY_BE_EMPTY and variable in environment)
    ]


def _converted(values: dict[str, str], origins: dict[str, str]) -> Settings:
    for name, value in values.items():
        try:
            msgspec.convert({name: value}, Settings, strict=False)
        except msgspec.ValidationError as error:
            reason = str(error).partition(" - at")[0]
            told = MASK if name in SECRETS else repr(value)
            raise SettingsError(f"{origins[name]}: {reason} (it is {told}).") from None
    return msgspec.convert(values, Settings, strict=False)


def _text(value: object) -> str:
    """A value as a variable gives it."""
    return str(value).lower() if isinstance(value, bool) else str(value)
