"""A real server on loopback, with everything behind it but the engine: no job starts by itself."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import ClientResponse, ClientSession
from multidict import CIMultiDict

from tests.actors.probing import ScriptedProber
from tests.actors.world import ScriptedLister
from tests.domain.builders import DONE, LIMITS
from umd.actors.admission import Admission
from umd.actors.batch_crew import BatchCrew
from umd.actors.expansion import BatchOffice
from umd.actors.probes import Probes
from umd.actors.space import Space
from umd.actors.supervisor import Supervisor
from umd.api.context import Check, Context, Readiness, Vitals
from umd.api.gate import Gate
from umd.api.server import Server
from umd.api.sse import Hub, StreamLimits
from umd.clock import SECOND, Micros, encode_id
from umd.dispatcher import Dispatcher
from umd.domain import commands as c
from umd.domain import destinations
from umd.domain import events as e
from umd.domain.validation import Permits
from umd.live import Live
from umd.log.memory import MemoryLog
from umd.projections.jobs import Entry
from umd.projections.models import Models
from umd.settings import Settings
from umd.storage.cookies import CookieStore
from umd.storage.vault import Vault
from umd.storage.volume import Volume
from umd.telemetry.counts import Counts

DEADLINE_SEC = 60.0
URL = "https://example.com/watch?v=1"
PREFIX = "/api/v1"
COOKIE_KEY = "A" * 43 + "="
JAR = "# Netscape HTTP Cookie File\n.example.com\tTRUE\t/\tTRUE\t0\tsid\tcrumbs\n"


class HandClock:
    """A clock that moves when it is told to, and ids that count."""

    def __init__(self) -> None:
        self.at: Micros = 1_700_000_000 * SECOND
        self._ids = 0

    def now(self) -> Micros:
        return self.at

    def new_id(self) -> str:
        self._ids += 1
        return encode_id(self._ids.to_bytes(16, "big"))


@dataclass(frozen=True)
class Answer:
    """What came over the wire."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:  # noqa: ANN401  # tests look into it
        return msgspec.json.decode(self.body)


@dataclass
class World:
    """The parts of the service behind the server, and short ways to make things happen."""

    root: Path
    settings: Settings = field(default_factory=lambda: Settings(port=0, cookie_key=COOKIE_KEY))
    log: MemoryLog = field(default_factory=MemoryLog)
    checks: dict[str, Callable[[], Any]] = field(default_factory=dict)
    permits: Permits = field(default_factory=Permits)

    def __post_init__(self) -> None:
        self.clock = HandClock()
        self.faults: list[BaseException] = []
        self.models = Models()
        self.jobs = self.models.jobs
        self.batches = self.models.batches
        self.releases = self.models.releases
        self.archive = self.models.archive
        self.files = self.models.files
        self.statistics = self.models.statistics
        self.counts = Counts(self.clock)
        self.live = Live()
        self.volume = Volume(self.root)
        self.vault = Vault.of(self.settings.cookie_key)
        self.cookies = CookieStore(self.root, self.vault)
        self.dispatcher = Dispatcher(
            self.log, self.jobs, self.batches, self.releases, self.models.sweeps, self.clock
        )
        space = Space(self.settings, self.volume, self.files)
        self.admission = Admission(self.settings, self.clock, self.jobs, space, lambda _job_id, _ended: None)
        office = BatchOffice(
            self.dispatcher,
            self.batches,
            self.jobs,
            self.archive,
            self.admission,
            ScriptedLister(),
            destinations.rules_of(self.settings),
        )
        self.batch_crew = BatchCrew(office, Supervisor("batches", self.faults.append), batches_max=50)
        self.prober = ScriptedProber()
        self.probes = Probes(
            self.prober,
            self.clock,
            self.settings.probes_max,
            self.settings.probe_timeout_sec,
            self.counts.note,
        )
        self.readiness = Readiness(self.clock.now())
        self.readiness.phase = "ready"
        self.hub = Hub(self.log, self.live, StreamLimits.of(self.settings))
        self.gate = Gate(self.settings, self.clock, b"k" * 32)
        self.server = Server(self.context, self.hub)

    @property
    def context(self) -> Context:
        return Context(
            settings=self.settings,
            limits=LIMITS,
            rules=destinations.rules_of(self.settings),
            clock=self.clock,
            dispatcher=self.dispatcher,
            jobs=self.jobs,
            batches=self.batches,
            batch_crew=self.batch_crew,
            log=self.log,
            live=self.live,
            admission=self.admission,
            probes=self.probes,
            volume=self.volume,
            files=self.files,
            cookies=self.cookies,
            vault=self.vault,
            browser=self.browser,
            readiness=self.readiness,
            gate=self.gate,
            checks=self.checks,
            statistics=self.statistics,
            counts=self.counts,
            vitals=lambda: Vitals(
                "2026.10.26",
                ("child_started",),
                "netns",
                {"root": 0, "jobs": 0},
                0.0,
                log_bytes={"database": 4_096, "wal": 0},
            ),
            permits=self.permits,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator["World"]:
        self.volume.prepare()
        self.cookies.prepare()
        await self.log.start(models=self.models)
        self.log.follow(self.admission.apply)
        self.log.follow(self.batch_crew.apply)
        self.hub.start()
        await self.server.start()
        self.port = self.server.port
        try:
            async with ClientSession(f"http://127.0.0.1:{self.port}") as self.session:
                yield self
        finally:
            async with asyncio.timeout(DEADLINE_SEC):
                await self.batch_crew.stop()
                await self.probes.stop()
                await self.hub.close()
                await self.server.stop()
                await self.log.stop()

    async def browser(self, browser: str, directory: str) -> str:
        """A profile that lies on the volume as a jar; what is asked for is not remembered."""
        return (Path(directory) / f"{browser}.txt").read_text()

    async def ask(self, method: str, path: str, **options: Any) -> Answer:  # noqa: ANN401  # aiohttp's
        """One request below the prefix, answered whole."""
        async with (
            asyncio.timeout(DEADLINE_SEC),
            self.session.request(method, PREFIX + path, **options) as got,
        ):
            return await _answer(got)

    async def get(self, path: str, **headers: str) -> Answer:
        return await self.ask(
            "GET", path, headers={name.replace("_", "-"): text for name, text in headers.items()}
        )

    async def post(self, body: bytes | object = None, path: str = "/download", **headers: str) -> Answer:
        """POST a body: bytes as they are, anything else as JSON."""
        data = body if isinstance(body, bytes) else msgspec.json.encode(body)
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        return await self.ask("POST", path, data=data, headers={"Content-Type": "application/json", **named})

    async def submit(self, **fields: object) -> str:
        """Accept a download; returns its id."""
        answer = await self.post({"url": URL, **fields})
        assert answer.status == 202, answer.body
        job_id: str = answer.json["request_id"]
        return job_id

    async def submit_batch(self, *urls: str, **fields: object) -> str:
        """Accept a batch of addresses; returns its id."""
        answer = await self.post({"urls": urls or [URL], **fields}, "/batch/download")
        assert answer.status == 202, answer.body
        batch_id: str = answer.json["batch_id"]
        return batch_id

    async def execute(self, command: c.AnyJobCommand) -> Entry:
        return await self.dispatcher.execute(command)

    async def start(self, job_id: str) -> None:
        await self.execute(c.StartAttempt(job_id, "2026.10.26"))

    async def complete(self, job_id: str, files: Mapping[str, bytes] | None = None) -> list[e.File]:
        """Let a job end well with these files."""
        stored = [self.store(path, data) for path, data in (files or {"videos/a.mp4": b"0123456789"}).items()]
        await self.start(job_id)
        await self.execute(
            c.CompleteAttempt(job_id, self.jobs.require(job_id).job.attempt, tuple(stored), DONE)
        )
        return stored

    async def completed(self, files: Mapping[str, bytes]) -> str:
        """A job that has left these files."""
        job_id = await self.submit()
        await self.complete(job_id, files)
        return job_id

    def store(self, path: str, data: bytes, mime_type: str = "video/mp4") -> e.File:
        """Put a file onto the volume."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        return e.File(path, len(data), hashlib.sha256(data).hexdigest(), mime_type, "mp4", "media")

    @property
    def connections(self) -> int:
        """How many connections the server holds."""
        server = self.server._runner.server
        return len(server.connections) if server is not None else 0

    async def raw(self, request: bytes) -> Answer:
        """Send bytes as they are and read one answer."""
        async with self.connected() as (reader, writer):
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(parse(head).headers["Content-Length"])
            return parse(head + await reader.readexactly(length))

    async def exchange(self, request: bytes, *, close: bool = False) -> bytes:
        """Send bytes as they are and read to the end; `close` ends our side after sending."""
        async with self.connected() as (reader, writer):
            writer.write(request)
            if close:
                writer.write_eof()
            return await reader.read()

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """A connection of its own, under a deadline."""
        async with asyncio.timeout(DEADLINE_SEC):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            try:
                yield reader, writer
            finally:
                writer.close()


async def until(condition: Callable[[], bool]) -> None:
    """Let the others work until something is so."""
    async with asyncio.timeout(DEADLINE_SEC):
        while not condition():  # noqa: ASYNC110  # what is waited for has no event
            await asyncio.sleep(0)


def parse(answer: bytes) -> Answer:
    """The first answer in what a connection brought."""
    head, _, body = answer.partition(b"\r\n\r\n")
    line, *fields = head.decode("latin-1").split("\r\n")
    headers = CIMultiDict((name, text) for name, _, text in (entry.partition(": ") for entry in fields))
    return Answer(int(line.split()[1]), headers, body)


def is_problem(answer: Answer, code: str, status: int) -> bool:
    """Whether the answer is a problem of this code, as the contract describes it."""
    body = answer.json
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert {"type", "title", "status", "detail", "code", "request_id"} <= body.keys()
    assert body["request_id"] == answer.headers["X-Request-ID"]
    assert body["status"] == answer.status
    return (body["code"], answer.status) == (code, status)


def healthy(**details: str) -> Callable[[], Any]:
    """A check that is content."""

    async def check() -> Check:
        return Check("healthy", "All is well.", dict(details))

    return check


async def _answer(got: ClientResponse) -> Answer:
    return Answer(got.status, got.headers, await got.read())
