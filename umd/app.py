"""Builds every object once, starts them in order and stops them in the reverse order; nothing is global."""

import asyncio
import gc
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import get_args

import structlog

from umd import __version__
from umd.actors.actor import Actor
from umd.actors.admission import Admission
from umd.actors.batch_crew import BatchCrew
from umd.actors.cleanup import Cleanup
from umd.actors.crew import Crew
from umd.actors.expansion import BatchOffice
from umd.actors.jars import Jars
from umd.actors.job import Workshop
from umd.actors.notifier import Notifier, Terms
from umd.actors.probes import Probes
from umd.actors.recovery import recover
from umd.actors.space import Space
from umd.actors.subjects import Subjects
from umd.actors.supervisor import Supervisor
from umd.actors.sweep import Stock, Sweep
from umd.actors.updater import Updater
from umd.actors.upkeep import Upkeep
from umd.api.checks import Checks, Parts
from umd.api.context import Context, Readiness, Vitals
from umd.api.gate import Gate
from umd.api.server import Server
from umd.api.sse import Hub, StreamLimits
from umd.clock import Clock, SystemClock
from umd.dispatcher import Dispatcher
from umd.domain import destinations, webhooks
from umd.domain.events import Limits
from umd.domain.validation import Permits
from umd.egress.delivery import Poster
from umd.egress.proxy import Egress
from umd.egress.resolver import LOOKUPS_OF_WEBHOOKS, SystemResolver
from umd.egress.webhooks import RouteConnector
from umd.engine import browser, ffmpeg, runner
from umd.engine import config as engine_config
from umd.engine.errand import Errands
from umd.engine.lister import EngineLister
from umd.engine.notices import Happening, Notice
from umd.engine.prober import EngineProber
from umd.engine.shelf import Shelf
from umd.errors import LogCorrupt, SettingsError
from umd.live import Live
from umd.log.sqlite import SqliteLog
from umd.projections.models import Models
from umd.settings import Settings
from umd.storage import secret
from umd.storage.cookies import CookieStore
from umd.storage.vault import Vault
from umd.storage.volume import Volume
from umd.telemetry.counts import Counts
from umd.telemetry.records import WorkerEvent

LINK_KEY_FILE = ".links.key"
"""The file of the secret that signs links, below the data directory."""

_log = structlog.get_logger(__name__)


class App:
    """The service. `stop` is complete when it returns, and undoes however much of `start` was done."""

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        self._settings = settings
        self._clock = clock or SystemClock()
        self._end: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()
        self._stops: list[Callable[[], Awaitable[object]]] = []
        self._volume = Volume(settings.root, overwrites=settings.overwrite_deleted)
        self._vault = Vault.of(settings.cookie_key)
        self._cookies = CookieStore(settings.root, self._vault)
        self._jars = Jars(self._cookies, self._clock)
        self._counts = Counts(self._clock)
        self._log = SqliteLog(
            settings.root / "log",
            on_failure=self.fail,
            reserve_bytes=settings.log_reserve_bytes,
            on_commit=self._counts.note,
        )
        self._models = Models()
        self._jobs = self._models.jobs
        self._batches = self._models.batches
        self._releases = self._models.releases
        self._archive = self._models.archive
        self._statistics = self._models.statistics
        self._files = self._models.files
        self._upkeep = Upkeep(self._log, self._clock, settings.log_retention_days)
        self._space = Space(settings, self._volume, self._files)
        self._live = Live()
        self._readiness = Readiness(self._clock.now())
        self._dispatcher = Dispatcher(
            self._log, self._jobs, self._batches, self._releases, self._models.sweeps, self._clock
        )
        stock = Stock(
            self._dispatcher, self._jobs, self._files, self._models.sweeps, self._volume, self._clock
        )
        self._cleanup = Cleanup(stock, self._space, Sweep(stock, settings.orphan_grace_sec))
        self._root = Supervisor("root", self.fail, restarts_max=5, period_sec=30)
        self._resolver = SystemResolver()
        self._rules = destinations.rules_of(settings)
        self._egress = Egress(self._rules, self._resolver, proxy=settings.proxy)
        self._webhook_secrets = _webhook_secrets(settings)
        connector = partial(RouteConnector, self._egress.route(lookups_max=LOOKUPS_OF_WEBHOOKS))
        self._poster = Poster(settings.webhook_timeout_sec, connector, self._counts.note)
        subjects = Subjects(self._dispatcher, self._jobs, self._batches)
        self._notifier = Notifier(subjects, self._clock, self._poster, self._vault, self._webhook_terms)
        self._workers = Supervisor("jobs", self.fail)
        self._hub = Hub(self._log, self._live, StreamLimits.of(settings))
        self._resting: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        """The port that the service listens on."""
        return self._server.port

    async def stand_by(self) -> bool:
        """Wait until no other server holds the log; False when the service is to end before that."""
        _log.info("app.standing_by", data_dir=str(self._settings.root))
        waiting = asyncio.create_task(self._log.stand_by())
        self._end.add_done_callback(lambda _: waiting.cancel())
        try:
            await waiting
        except asyncio.CancelledError:
            return False
        return not self._end.done()

    async def start(self) -> None:
        """Fold the log, settle what was left in the middle, then act, then listen.

        On a damaged log nobody acts: what can be read is served, and nothing is changed, so that no state is
        invented and all that is left can be saved. Raises `LogLocked` when another server holds the log, and
        other errors of the tree or `OSError` when the service cannot run here.
        """
        began = asyncio.get_running_loop().time()
        await asyncio.to_thread(self._volume.prepare)
        link_secret = await asyncio.to_thread(secret.keep, self._settings.root / LINK_KEY_FILE)
        self._gate = Gate(self._settings, self._clock, link_secret)
        warming = asyncio.create_task(self._warm_engine())
        try:
            self._stops.append(self._log.stop)
            await self._log.start(models=self._models)
            self._stops.insert(1, self._upkeep.put_by_last)  # when all others have stopped
        finally:
            await warming
        await asyncio.to_thread(self._cookies.prepare)
        await asyncio.to_thread(self._cookies.sweep, self._clock.now())
        if self._log.corruption is None:
            await self._engine.sweep()
            await recover(self._workshop, self._files)
        await self._start_serving()
        self._stops.append(self._poster.stop)
        await self._poster.start()
        damaged = self._log.corruption is not None  # it may have been found meanwhile
        if not damaged:
            self._start_actors()
        gc.freeze()  # what the log was folded into stays: the collector need not look at it again
        self._readiness.phase = "read_only" if damaged else "ready"
        _log.info(
            "app.ready",
            version=__version__,
            port=self.port,
            data_dir=str(self._settings.root),
            position=self._log.head,
            read_only=damaged,
            seconds=round(asyncio.get_running_loop().time() - began, 3),
        )
        if self._gate.is_open:
            _log.warning("app.open", told="Requests without an API key are taken.", host=self._settings.host)

    async def start_unless_ended(self) -> None:
        """Start; but where the service is to stop before it has, give the start up."""
        starting = asyncio.create_task(self.start(), name="start")
        ended = asyncio.create_task(self.ended(), name="end")
        await asyncio.wait({starting, ended}, return_when=asyncio.FIRST_COMPLETED)
        ended.cancel()
        if not starting.done():
            starting.cancel()
            await asyncio.wait({starting})
        if not starting.cancelled():
            starting.result()

    async def ended(self) -> BaseException | None:
        """Wait until the service is to stop; what made it, None for a request."""
        return await asyncio.shield(self._end)

    def end(self) -> None:
        """Ask the service to stop."""
        if not self._end.done():
            self._end.set_result(None)

    def fail(self, fault: BaseException) -> None:
        """Stop the service because it cannot go on: the platform starts it anew, and the log is replayed.

        Where the log was found to be damaged a new start would not help: those who act are stopped, and the
        service goes on read-only.
        """
        if self._log.corruption is not None:
            self._rest(self._log.corruption)
        elif not self._end.done():
            self._end.set_result(fault)

    def _rest(self, corrupt: LogCorrupt) -> None:
        if self._resting is None:
            _log.critical("app.read_only", position=corrupt.position, reason=str(corrupt))
            self._readiness.phase = "read_only"
            self._resting = asyncio.create_task(self._stop_acting(), name="app-rest")

    async def _stop_acting(self) -> None:
        await self._root.stop()
        await self._batch_crew.stop()
        await self._workers.stop()

    async def stop(self) -> None:
        """Take no new work, interrupt what runs so that it can go on later, and close the log last."""
        self._readiness.phase = "stopping"
        if self._resting is not None:
            await self._resting
        while self._stops:
            await self._stops.pop()()

    async def _warm_engine(self) -> None:
        """Let the engine warm up while the log is folded and after that: jobs are taken, and wait for it."""
        tools = await asyncio.to_thread(ffmpeg.find, engine_config.scratch_folder(self._settings))
        self._tools = tools
        self._engine_config = engine_config.configure(self._settings, tools)
        self._engine = runner.create(
            self._engine_config, self._settings.engine_mode, self._egress, self._note_engine
        )
        self._stops += [self._stop_egress, self._engine.stop]
        await self._engine.start()
        warming = asyncio.create_task(self._engine.warm(), name="app-warming")
        warming.add_done_callback(self._note_warming)
        self._workshop = Workshop(
            self._dispatcher,
            self._jobs,
            self._engine,
            self._volume,
            self._live,
            self._clock,
            self._settings.stall_timeout_sec,
            self._jars,
        )
        self._crew = Crew(self._workshop, self._workers)
        self._admission = Admission(
            self._settings, self._clock, self._jobs, self._space, self._crew.start_job
        )
        errands = Errands(
            self._engine, self._clock.new_id, self._volume.working_folder, self._volume.discard, self._jars
        )
        office = BatchOffice(
            self._dispatcher,
            self._batches,
            self._jobs,
            self._archive,
            self._admission,
            EngineLister(errands),
            self._rules,
        )
        timeout_sec = self._settings.probe_timeout_sec
        prober = EngineProber(errands, timeout_sec)
        self._probes = Probes(prober, self._clock, self._settings.probes_max, timeout_sec, self._counts.note)
        self._batch_crew = BatchCrew(office, Supervisor("batches", self.fail), self._settings.batches_max)

    def _note_warming(self, warming: asyncio.Task[None]) -> None:
        """Without an engine that can be warmed no job could be done: the next start may have better luck."""
        if not warming.cancelled() and (fault := warming.exception()) is not None:
            self.fail(fault)

    async def _start_serving(self) -> None:
        """Listen before anybody acts, so that the server outlives the actors when the service stops."""
        context = Context(
            settings=self._settings,
            limits=_default_limits(self._settings),
            rules=self._rules,
            clock=self._clock,
            dispatcher=self._dispatcher,
            jobs=self._jobs,
            batches=self._batches,
            batch_crew=self._batch_crew,
            log=self._log,
            live=self._live,
            admission=self._admission,
            probes=self._probes,
            volume=self._volume,
            files=self._files,
            cookies=self._cookies,
            vault=self._vault,
            browser=partial(browser.extract, self._engine_config),
            readiness=self._readiness,
            gate=self._gate,
            checks=self._checks().by_name(),
            statistics=self._statistics,
            counts=self._counts,
            vitals=self._vitals,
            permits=_permits(self._settings, self._tools),
        )
        self._hub.start()
        self._server = Server(context, self._hub)
        self._stops += [self._server.stop, self._hub.close, self._probes.stop]
        await self._server.start()

    def _checks(self) -> Checks:
        parts = Parts(
            log=self._log,
            jobs=self._jobs,
            batches=self._batches,
            volume=self._volume,
            admission=self._admission,
            engine=self._engine,
            tools=self._tools,
            clock=self._clock,
            js_runtime=self._settings.js_runtime,
            releases=self._releases,
        )
        return Checks(parts)

    def _start_actors(self) -> None:
        updater = Updater(
            self._dispatcher,
            self._releases,
            self._engine,
            Shelf(engine_config.releases_folder(self._settings)),
            self._clock,
            self._settings.engine_update_hours,
        )
        for follower in (
            self._admission.apply,
            self._crew.apply,
            self._batch_crew.apply,
            self._cleanup.apply,
            self._notifier.apply,
            updater.apply,
        ):
            self._log.follow(follower)
        self._stops += [self._root.stop, self._stop_crew, self._batch_crew.stop]
        for actor in (self._admission, self._cleanup, self._notifier, updater, self._upkeep):
            self._keep(actor)
        self._batch_crew.start()

    def _keep(self, actor: Actor[None]) -> None:
        self._root.start(actor.name, lambda: actor)

    async def _stop_egress(self) -> None:
        await self._egress.stop()
        self._resolver.stop()

    def _webhook_terms(self) -> Terms:
        settings = self._settings
        public = settings.public_base_url
        hosts = {settings.host, "localhost", "127.0.0.1", "::1"}
        own = {(host, self.port) for host in hosts} | ({webhooks.origin(public)} if public else set())
        return Terms(
            tuple(int(wait) for wait in settings.webhook_schedule_sec.split(",")),
            self._webhook_secrets,
            public,
            frozenset(own),
        )

    def _vitals(self) -> Vitals:
        confinement = self._engine.confinement
        return Vitals(
            ytdlp_version=self._engine.ytdlp_version,
            sandbox_level=None if confinement is None else confinement.level,
            worker_events=get_args(Happening),
            restarts={"root": self._root.restarts, "jobs": self._workers.restarts},
            cleanup_overdue_sec=self._cleanup.overdue_sec,
            webhooks_pending=self._notifier.pending,
            webhooks_in_flight=self._notifier.in_flight,
            snapshot_position=self._log.snapshot_at,
            log_bytes={"database": self._log.database_bytes, "wal": self._log.wal_bytes},
        )

    def _note_engine(self, notice: Notice) -> None:
        crashed = notice.ended is not None and (notice.ended.status or 0) < 0
        self._counts.note(WorkerEvent(notice.what, crashed))
        level = logging.DEBUG if notice.what in ("child_started", "child_ended") else logging.INFO
        _log.log(level, f"engine.{notice.what}", pid=notice.pid, detail=notice.detail)

    async def _stop_crew(self) -> None:
        self._admission.close()
        await self._crew.stop(self._settings.drain_sec)


def _webhook_secrets(settings: Settings) -> tuple[str, ...]:
    try:
        return webhooks.secrets_of(settings.webhook_secret)
    except ValueError as error:
        raise SettingsError(f"UMD_WEBHOOK_SECRET: {error}") from None


def _default_limits(settings: Settings) -> Limits:
    return Limits(
        timeout_sec=settings.default_timeout_sec,
        retries=settings.max_retries,
        retry_base_sec=settings.retry_base_sec,
        retention_sec=settings.retention_sec,
    )


def _permits(settings: Settings, tools: ffmpeg.Tools) -> Permits:
    return Permits(
        ffmpeg=bool(tools.ffmpeg and tools.ffprobe),
        request_proxy=settings.allow_request_proxy,
        endless_retention=settings.allow_endless_retention,
    )
