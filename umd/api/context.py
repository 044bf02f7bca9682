"""What the handlers work with: built once by `umd.app`, handed to each handler, nothing global."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import msgspec
from aiohttp import web

from umd.actors.admission import Admission
from umd.actors.batch_crew import BatchCrew
from umd.actors.probes import Probes
from umd.api.gate import Gate
from umd.clock import Clock, Micros
from umd.dispatcher import Dispatcher
from umd.domain.destinations import Rules
from umd.domain.events import Limits
from umd.domain.validation import Permits
from umd.live import Live
from umd.log import EventLog
from umd.projections.batches import Batches
from umd.projections.files import Files
from umd.projections.jobs import Jobs
from umd.projections.statistics import Statistics
from umd.settings import Settings
from umd.storage.cookies import CookieStore
from umd.storage.vault import Vault
from umd.storage.volume import Volume
from umd.telemetry.counts import Counts

CheckStatus = Literal["healthy", "degraded", "unhealthy"]


BrowserReader = Callable[[str, str], Awaitable[str]]
"""Takes the cookies out of a browser's profile: the browser, and the profile's directory."""

Details = dict[str, str | int | float | bool | None]


class Check(msgspec.Struct, frozen=True):
    """What a component says of itself."""

    status: CheckStatus
    message: str
    details: Details = {}


class Vitals(msgspec.Struct, frozen=True):
    """What only the service as a whole knows of its parts."""

    ytdlp_version: str
    worker_events: tuple[str, ...]
    sandbox_level: str | None
    restarts: Mapping[str, int]
    cleanup_overdue_sec: float
    webhooks_pending: int = 0
    webhooks_in_flight: int = 0
    snapshot_position: int = 0
    log_bytes: Mapping[str, int] = {}


class Readiness:
    """Whether the service takes work: `umd.app` notes it here, the probes tell it."""

    def __init__(self, started_at: Micros) -> None:
        self.started_at = started_at
        self.phase: Literal["starting", "ready", "read_only", "stopping"] = "starting"


@dataclass(frozen=True)
class Context:
    """The parts of the service that the wire shows. `limits` are a job's where its request names none."""

    settings: Settings
    limits: Limits
    rules: Rules
    clock: Clock
    dispatcher: Dispatcher
    jobs: Jobs
    batches: Batches
    batch_crew: BatchCrew
    log: EventLog
    live: Live
    admission: Admission
    probes: Probes
    volume: Volume
    files: Files
    cookies: CookieStore
    vault: Vault
    browser: BrowserReader
    readiness: Readiness
    gate: Gate
    checks: Mapping[str, Callable[[], Awaitable[Check]]]
    statistics: Statistics
    counts: Counts
    vitals: Callable[[], Vitals]
    permits: Permits = field(default_factory=Permits)


CONTEXT: web.AppKey[Context] = web.AppKey("context", Context)
