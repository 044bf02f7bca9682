"""A receiver of webhooks that verifies each with the library of the specification, and keeps the ids."""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Self

from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError

from tests.e2e.canaries import EVERY, WEBHOOK_SECRET
from tests.e2e.service import Json

WAIT_SEC = 60.0


class Receiver:
    """Answers by `answer`, which is told a message's id and how often it has come; None hangs up."""

    def __init__(self, answer: Callable[[str, int], int | None] = lambda _id, _count: 200) -> None:
        self.answer = answer
        self.seen: Counter[str] = Counter()
        self.accepted: dict[str, Json] = {}
        self.forged = 0
        self.leaks: set[str] = set()
        """The secrets of the service that came with a message."""
        self._changed = asyncio.Event()

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/in", self._take)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{port}/in"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()
        assert self.leaks == set()

    async def when(self, met: Callable[[], bool]) -> None:
        """Wait until something is true of what has come."""
        async with asyncio.timeout(WAIT_SEC):
            while not met():
                self._changed.clear()
                await self._changed.wait()

    async def _take(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        words = f"{request.rel_url} {dict(request.headers)}".encode() + body
        self.leaks.update(secret for secret in EVERY if secret.encode() in words)
        try:
            message = Webhook(WEBHOOK_SECRET).verify(body, dict(request.headers))
        except WebhookVerificationError:
            self.forged += 1
            raise web.HTTPForbidden from None
        name = request.headers["webhook-id"]
        self.seen[name] += 1
        status = self.answer(name, self.seen[name])
        if status is not None and 200 <= status < 300:
            self.accepted[name] = message
        self._changed.set()
        if status is None:
            assert request.transport is not None
            request.transport.abort()
        return web.Response(status=status or 500, headers={"Location": self.url} if status == 302 else {})


def unsteady(name: str, count: int) -> int | None:
    """Three of ten fail, in every way that there is."""
    draw = hashlib.sha256(f"{name}/{count}".encode()).digest()[0]
    return 200 if draw >= 77 else (500, 503, 302, 429, None)[draw % 5]
