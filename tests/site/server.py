"""The site itself: starts on loopback, keeps a journal of requests, and stops whatever still hangs."""

import asyncio
from pathlib import Path
from types import TracebackType
from urllib.parse import urlencode

from aiohttp import web

from tests.site import api, control, files, lures, pages, streams
from tests.site.journal import WAIT_SEC, Record
from tests.site.media import Media
from tests.site.state import RECORD, STATE, Handler, State

PLUGINS = Path(__file__).with_name("plugins")
"""Put this on PYTHONPATH of the process that runs yt-dlp: then it understands `/site/...`."""


class Site:
    """`async with Site() as site:` runs it on 127.0.0.1, on a free port unless told which.

    It lives in the caller's event loop: a test that blocks the loop blocks the site. Entering makes the media
    if the cache lacks them. Leaving ends every answer that is still going on, may be done twice, and is
    complete on return. The journal can still be read afterwards.
    """

    def __init__(self, port: int = 0, host: str = "127.0.0.1", media: Media | None = None) -> None:
        self._host, self._port = host, port
        self._media = media
        self._state: State | None = None
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> "Site":
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        media = self._media
        if media is None:
            media = await asyncio.to_thread(Media.ensure)
        state = State(media)
        app = web.Application(middlewares=[_journaled])
        app[STATE] = state
        for room in (control, files, streams, lures, pages, api):
            app.add_routes(room.ROUTES)
        # Without handler_cancellation a stalled handler would never learn that its client has gone.
        runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        await web.TCPSite(runner, self._host, self._port, backlog=1024).start()
        self._state, self._runner = state, runner
        self._port = runner.addresses[0][1]

    async def stop(self) -> None:
        if (runner := self._runner) is None:
            return
        self._runner = None
        self._running.stopping = True
        for task in self._running.handlers:
            task.cancel()
        await runner.cleanup()

    def url(self, path: str, **query: object) -> str:
        """The full URL; keywords become its query: `site.url("/media/small/a.mp4", rate=50_000)`."""
        joint = "&" if "?" in path else "?"
        return f"http://{self._host}:{self._port}{path}" + (joint + urlencode(query) if query else "")

    @property
    def port(self) -> int:
        return self._port

    @property
    def media(self) -> Media:
        return self._running.media

    @property
    def requests(self) -> list[Record]:
        """All records, oldest first."""
        return self._running.journal.records

    def requests_for(self, pattern: str) -> list[Record]:
        """Those for one path, or for a shell pattern of paths."""
        return self._running.journal.matching(pattern)

    @property
    def active(self) -> int:
        """How many requests are being answered now."""
        return self._running.journal.active

    @property
    def max_active(self) -> int:
        return self._running.journal.max_active

    def peak(self, pattern: str) -> int:
        """The most requests for these paths that were being answered at the same time."""
        return self._running.journal.peak(pattern)

    def open_gate(self, name: str) -> None:
        """Let go what waits at `?gate=name` or `?hold=name`, now and later."""
        self._running.gates.open(name)

    def close_gate(self, name: str) -> None:
        self._running.gates.close(name)

    async def wait_request(self, pattern: str, timeout_sec: float = WAIT_SEC, *, count: int = 1) -> Record:
        """The `count`-th request for these paths, as soon as it has come in."""

        def look() -> Record | None:
            found = self.requests_for(pattern)
            return found[count - 1] if len(found) >= count else None

        return await self._running.journal.until(look, f"request {count} for {pattern}", timeout_sec)

    async def wait_bytes(self, pattern: str, count: int, timeout_sec: float = WAIT_SEC) -> Record:
        """The first request for these paths that has been sent `count` bytes."""

        def look() -> Record | None:
            return next((record for record in self.requests_for(pattern) if record.bytes_sent >= count), None)

        return await self._running.journal.until(look, f"{count} bytes of {pattern}", timeout_sec)

    async def wait_closed(self, which: str | Record, timeout_sec: float = WAIT_SEC) -> Record:
        """When this request, or all so far (one at least) for these paths, have ended: the last to end."""

        def look() -> Record | None:
            found = [which] if isinstance(which, Record) else self.requests_for(which)
            if not found or any(record.is_open for record in found):
                return None
            return max(found, key=lambda record: record.closed_at or 0.0)

        what = which.path if isinstance(which, Record) else which
        return await self._running.journal.until(look, f"the end of {what}", timeout_sec)

    async def wait_active(self, count: int, timeout_sec: float = WAIT_SEC) -> None:
        """Until exactly `count` requests are being answered."""

        def look() -> bool | None:
            return True if self.active == count else None

        await self._running.journal.until(look, f"active == {count}", timeout_sec)

    @property
    def _running(self) -> State:
        if self._state is None:
            raise RuntimeError("the site has not been started")
        return self._state


@web.middleware
async def _journaled(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Write each request down, and note how it ended."""
    state = request.app[STATE]
    if request.path.startswith(control.PREFIX):
        return await handler(request)
    task = asyncio.current_task()
    assert task is not None
    state.handlers.add(task)
    record = request[RECORD] = state.journal.open(request)
    try:
        response = await handler(request)
        record.status = response.status
        if isinstance(response, web.Response) and isinstance(response.body, bytes):
            state.journal.sent(record, len(response.body))
        return response
    except web.HTTPException as refused:
        record.status = refused.status
        raise
    except ValueError as error:
        record.status = 400
        return web.Response(status=400, text=f"{error}\n")
    except (asyncio.CancelledError, ConnectionError):
        record.aborted = not state.stopping
        raise
    finally:
        state.handlers.discard(task)
        state.journal.close(record)
