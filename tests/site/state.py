"""What the route handlers of one running site share."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from urllib.parse import urljoin

from aiohttp import web

from tests.site.gates import ENDLESS_SEC, Gates
from tests.site.journal import Journal, Record
from tests.site.knobs import PAGE_PREFIX, Faults, Knobs
from tests.site.media import Media

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(slots=True)
class State:
    """Everything that changes while the site runs."""

    media: Media
    journal: Journal = field(default_factory=Journal)
    gates: Gates = field(default_factory=Gates)
    faults: Faults = field(default_factory=Faults)
    first_seen: dict[str, float] = field(default_factory=dict)
    """When a live stream or a premiere was first asked for: their clocks start then."""
    handlers: set[asyncio.Task[object]] = field(default_factory=set)
    stopping: bool = False

    def age_sec(self, name: str) -> float:
        now = time.monotonic()
        return now - self.first_seen.setdefault(name, now)


STATE = web.AppKey("state", State)
RECORD = web.RequestKey("record", Record)


def absolute(request: web.Request, path: str) -> str:
    """A full URL on the host that the client used, which may be a name that only a test knows."""
    return urljoin(f"{request.scheme}://{request.host}/", path)


async def refusal(request: web.Request, knobs: Knobs) -> web.Response | None:
    """What happens before any content: the delay, the gate, and the refusal if there is to be one."""
    if knobs.delay_ms:
        await asyncio.sleep(min(knobs.delay_ms / 1000, ENDLESS_SEC))
    if knobs.hold is not None:
        await request.app[STATE].gates.wait(knobs.hold)
    if knobs.fail is None:
        return None
    headers = {"Retry-After": knobs.retry_after} if knobs.retry_after else {}
    return web.Response(status=knobs.fail, text=f"Told to answer {knobs.fail}.\n", headers=headers)


def page(handler: Handler) -> Handler:
    """A handler that obeys the `page_...` knobs first."""

    async def obeying(request: web.Request) -> web.StreamResponse:
        knobs = request.app[STATE].faults.due(request.query, request.path, PAGE_PREFIX)
        refused = await refusal(request, knobs)
        return await handler(request) if refused is None else refused

    return obeying
