"""Whether the service is well: as a whole, alive, and ready for work."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import structlog
from aiohttp import web

from umd import __version__
from umd.api import answers
from umd.api.context import CONTEXT, Check, CheckStatus, Context
from umd.clock import SECOND, rfc3339

CHECK_WAIT_SEC = 2.0
LOG_CHECK = "event_log"

_ORDER: tuple[CheckStatus, ...] = ("healthy", "degraded", "unhealthy")
_log = structlog.get_logger(__name__)


class HealthResponse(msgspec.Struct, frozen=True):
    """The service and its components; the worst of them decides.

    `open` says that requests are taken without an API key.
    """

    status: CheckStatus
    version: str
    open: bool
    uptime_seconds: float
    checks: dict[str, Check]
    timestamp: str


class ProbeResponse(msgspec.Struct, frozen=True):
    """A probe's answer: `alive`, or the phase that the service is in."""

    status: str
    timestamp: str


async def health(request: web.Request) -> web.Response:
    """Every component's word; 503 when one is unhealthy."""
    context = request.app[CONTEXT]
    found = await asyncio.gather(*(_checked(name, check) for name, check in context.checks.items()))
    worst = _ORDER[max((_ORDER.index(check.status) for check in found), default=0)]
    now = context.clock.now()
    uptime = max(0.0, round((now - context.readiness.started_at) / SECOND, 3))
    checks = dict(zip(context.checks, found, strict=True))
    body = HealthResponse(worst, __version__, context.gate.is_open, uptime, checks, rfc3339(now))
    return answers.answer(body, status=503 if worst == "unhealthy" else 200)


async def live(request: web.Request) -> web.Response:
    """The event loop answers."""
    return _probe(request.app[CONTEXT], "alive")


async def ready(request: web.Request) -> web.Response:
    """Whether the service takes new work; 503 before and after, and while nothing new could be stored."""
    context = request.app[CONTEXT]
    phase: str = context.readiness.phase
    if phase == "ready" and not await _can_store(context):
        phase = "read_only"
    return _probe(context, phase, code=200 if phase == "ready" else 503)


async def _can_store(context: Context) -> bool:
    check = context.checks.get(LOG_CHECK)
    return check is None or (await _checked(LOG_CHECK, check)).status != "unhealthy"


def _probe(context: Context, status: str, *, code: int = 200) -> web.Response:
    return answers.answer(ProbeResponse(status, rfc3339(context.clock.now())), status=code)


async def _checked(name: str, check: Callable[[], Awaitable[Check]]) -> Check:
    try:
        async with asyncio.timeout(CHECK_WAIT_SEC):
            return await check()
    except TimeoutError:
        return Check("unhealthy", f"No answer within {CHECK_WAIT_SEC:g} s.")
    except Exception as error:  # noqa: BLE001  # a check that fails is an answer, too
        _log.error("health.check_failed", check=name, exc_info=error)
        return Check("unhealthy", "The check failed; the service's log tells why.")
