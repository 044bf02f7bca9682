"""The real service in a process of its own, as its clients and its operator see it."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar, TypeAlias
from weakref import WeakSet

import aiohttp
import msgspec
import psutil

from tests.e2e.canaries import HEADERS, JAR, JOB_SECRET, PASSWORD, SERVE, SETTINGS, Canaries
from tests.site import PLUGINS
from umd.settings import SECRETS

ROOT = Path(__file__).parent.parent.parent
WAIT_SEC = 90.0
FINAL = ("completed", "failed", "cancelled")


Json: TypeAlias = Any
"""What an answer says: the tests know its shape."""


class Event(msgspec.Struct, frozen=True):
    """One message of an event stream."""

    type: str
    data: Json
    id: int | None


class Service:
    """`python -m umd serve` on a free port, and a client for it. May be started again after its end.

    It has secrets, whatever it is tested for, and they are looked for at each of its ends: `canaries`.
    """

    known: ClassVar[WeakSet["Service"]] = WeakSet()
    """All services, for whoever looks at them after a test."""

    def __init__(self, data_dir: Path, **settings: object) -> None:
        self.data_dir = data_dir
        self.lines: list[dict[str, Json]] = []
        self.tracer: tuple[str, ...] = ()
        """The command that runs the service, where one looks on. Its process must become the service's."""
        self._settings = {
            "data_dir": data_dir,
            "port": 0,
            "log_format": "json",
            "ytdlp_plugin_dir": PLUGINS,
            "allow_addresses": "127.0.0.0/8",
            "max_concurrent_per_site": 10,
            "retry_base_sec": 0,
            **SETTINGS,
            **settings,
        }
        self.canaries = Canaries(data_dir, [str(self._settings.get(name, "")) for name in SECRETS])
        self._said: list[bytes] = []
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._client: aiohttp.ClientSession | None = None
        self._changed = asyncio.Event()
        self.known.add(self)

    @property
    def was_launched(self) -> bool:
        return self._process is not None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def port(self) -> int:
        return int(next(line["port"] for line in reversed(self.lines) if line["event"] == "app.ready"))

    async def start(self) -> None:
        """Start and wait until it is ready."""
        await self.launch()
        await self.ready()

    async def ready(self) -> None:
        """Wait until it is ready."""
        await self.logged("app.ready")
        looking = aiohttp.TraceConfig()
        looking.on_response_chunk_received.append(self._look_at_answer)
        base = f"http://127.0.0.1:{self.port}/api/v1/"
        self._client = aiohttp.ClientSession(base, headers=HEADERS, trace_configs=[looking])
        await self._plant()

    async def _plant(self) -> None:
        """Tell the service secrets, let it tell one, and leave everything as it was."""
        refused = {"url": f"http://me:{PASSWORD}@127.0.0.1/"}
        await self.call("POST", "download", 422, json=refused)
        jar = await self.call("POST", "auth/cookies", 201, json={"name": "canary", "cookies": JAR})
        await self.call("DELETE", f"auth/cookies/{jar['cookie_id']}")
        token = (await self.call("POST", "auth/token", 201, json={"path": "/api/v1/events"}))["token"]
        self.canaries.give(token)
        async with self.client.get("events", params={"token": token}) as answer:
            assert answer.status == 200

    async def warm(self) -> None:
        """Wait until workers begin at once; those that are asked for before have to wait a moment."""
        await self.logged("engine.zygote_ready")

    async def launch(self, *arguments: str) -> None:
        """Start the process."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        settings = {f"UMD_{name.upper()}": str(value) for name, value in self._settings.items()}
        self.lines.clear()
        self._said.clear()
        self._process = await asyncio.create_subprocess_exec(
            *self.tracer,
            sys.executable,
            *SERVE,
            *arguments,
            cwd=ROOT,
            env={**kept, **settings},
            stderr=asyncio.subprocess.PIPE,
            limit=2**20,
        )
        self._reader = asyncio.create_task(self._read())

    async def stop(self, number: signal.Signals | None = signal.SIGTERM) -> int:
        """Send a signal, or none, and wait for the end; returns the exit code. May be called twice."""
        if self._client is not None:
            await self._client.close()
            self._client = None
        if self._process is None:
            return 0
        ended = self._process.returncode is not None
        self.look()
        if not ended and number is not None:
            with suppress(ProcessLookupError):
                # Not by the process object: its way to look first whether the process lives would reap it.
                os.kill(self._process.pid, number)
        async with asyncio.timeout(WAIT_SEC):
            code = await self._process.wait()
            if self._reader is not None:
                await self._reader
        if not ended:
            self.look()
            await asyncio.to_thread(self.canaries.look_at_files)
        return code

    def look(self) -> None:
        """Look for secrets in what was logged, and at the processes that there are."""
        self.canaries.logged(self._said)
        with suppress(psutil.NoSuchProcess):
            self.canaries.look_at_processes(psutil.Process(self.pid).children(recursive=True))

    def signal(self, number: signal.Signals) -> None:
        """Send a signal and go on."""
        os.kill(self.pid, number)

    async def kill(self) -> None:
        """End the service itself, and nothing else, as a crash does."""
        await self.stop(signal.SIGKILL)

    async def logged(self, event: str) -> dict[str, Json]:
        """Wait for a line of the service's own log."""
        async with asyncio.timeout(WAIT_SEC):
            while True:
                found = next((line for line in self.lines if line["event"] == event), None)
                if found is not None:
                    return found
                assert self._reader is not None
                assert not self._reader.done(), f"the service ended: {self.lines[-5:]}"
                self._changed.clear()
                waiting = asyncio.ensure_future(self._changed.wait())
                await asyncio.wait({waiting, self._reader}, return_when=asyncio.FIRST_COMPLETED)
                waiting.cancel()

    def processes(self) -> list[psutil.Process]:
        """The engine's processes: the warm one and all below it."""
        found = psutil.Process(self.pid).children(recursive=True)
        self.canaries.look_at_processes(found)
        return found

    @property
    def client(self) -> aiohttp.ClientSession:
        assert self._client is not None
        return self._client

    async def call(self, method: str, path: str, expect: int = 200, **request: Json) -> Json:
        """A request whose JSON answer must have this status."""
        try:
            async with self.client.request(method, path, **request) as answer:
                body = await answer.read()
        except aiohttp.ClientConnectorError as error:
            error.add_note(f"The service said last: {self.lines[-5:]}")
            raise
        assert answer.status == expect, (answer.status, body)
        return json.loads(body) if body else None

    async def submit(self, url: str, **options: object) -> str:
        """Submit a download; returns its id. Where it names no receiver, it has a secret for one."""
        secret = {} if "webhook_url" in options else {"webhook_secret": JOB_SECRET}
        answer = await self.call("POST", "download", 202, json={"url": url, **secret, **options})
        return str(answer["request_id"])

    async def show(self, job_id: str) -> Json:
        return await self.call("GET", f"download/{job_id}")

    async def download(self, url: str, **options: object) -> Json:
        """Submit a download and wait for its end; returns it as it then is."""
        return await self.final(await self.submit(url, **options))

    async def final(self, job_id: str) -> Json:
        """Wait, on the job's own stream, until it has ended."""
        return await self.until(job_id, *(f"job.{state}" for state in FINAL))

    async def until(self, job_id: str, *types: str) -> Json:
        """Wait, on the job's own stream from its beginning, for one of these events; returns the job."""
        async with asyncio.timeout(WAIT_SEC), self.events(f"download/{job_id}/events", last=0) as events:
            async for event in events:
                if event.type in types:
                    break
        return await self.show(job_id)

    @asynccontextmanager
    async def events(self, path: str, last: int | None = None) -> AsyncIterator[AsyncIterator[Event]]:
        """Subscribe to an event stream."""
        headers = {} if last is None else {"Last-Event-ID": str(last)}
        timeout = aiohttp.ClientTimeout(total=None)
        async with self.client.get(path, headers=headers, timeout=timeout) as answer:
            assert answer.status == 200, await answer.text()
            yield parsed(answer.content, self.canaries)

    async def _look_at_answer(
        self,
        _session: aiohttp.ClientSession,
        _context: object,
        part: aiohttp.TraceResponseChunkReceivedParams,
    ) -> None:
        self.canaries.answered(f"{part.method} {part.url.path}", part.chunk)

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            self._said.append(line)
            try:
                self.lines.append(json.loads(line))
            except ValueError:
                self.lines.append({"event": line.decode(errors="replace").rstrip()})
            self._changed.set()


async def parsed(content: aiohttp.StreamReader, canaries: Canaries) -> AsyncIterator[Event]:
    """The messages of an event stream, as a client by the HTML standard understands them."""
    fields: dict[str, str] = {}
    async for raw in content:
        canaries.answered("a stream", raw)
        line = raw.decode().rstrip("\n")
        if line:
            name, _, value = line.partition(": ")
            fields[name] = value
        elif "data" in fields:
            number = fields.get("id")
            yield Event(fields["event"], json.loads(fields["data"]), None if number is None else int(number))
            fields = {}


@asynccontextmanager
async def running(data_dir: Path, **settings: object) -> AsyncIterator[Service]:
    """A service that is warm, until its end, which must be clean."""
    service = Service(data_dir, **settings)
    try:
        await service.start()
        await service.warm()
        yield service
    finally:
        code = await service.stop()
    assert code in (0, -signal.SIGKILL), service.lines[-5:]
    assert service.canaries.leaks == {}, service.canaries.leaks
