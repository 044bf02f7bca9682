"""What each component says of itself when the health of the service is asked for."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from umd.actors.admission import Admission
from umd.api.context import Check, Details
from umd.clock import SECOND, Clock, Micros, rfc3339
from umd.engine import capabilities
from umd.engine.ffmpeg import Tools
from umd.engine.runner import ZygoteEngine
from umd.engine.spawn import SpawnEngine
from umd.log import EventLog, ballast
from umd.log.ballast import Ballast
from umd.projections.batches import Batches
from umd.projections.jobs import Jobs
from umd.projections.releases import Releases
from umd.storage.volume import NO_SPACE, Volume

FREE_BYTES_LOW = 512 * 2**20
WORKERS_LOST_SEC = 60
CLOCK_BEHIND_SEC = 5
RELEASED_AT: Micros = 1_790_000_000 * SECOND
"""September 2026: a clock that shows less has never been set."""
QUEUE_SHARE_HIGH = 0.9


@dataclass(frozen=True)
class Parts:
    """What is looked at."""

    log: EventLog
    jobs: Jobs
    batches: Batches
    volume: Volume
    admission: Admission
    engine: ZygoteEngine | SpawnEngine
    tools: Tools
    clock: Clock
    js_runtime: str
    releases: Releases


class Checks:
    """The checks of `GET /health`."""

    def __init__(self, parts: Parts) -> None:
        self._log = parts.log
        self._jobs = parts.jobs
        self._batches = parts.batches
        self._volume = parts.volume
        self._admission = parts.admission
        self._engine = parts.engine
        self._tools = parts.tools
        self._clock = parts.clock
        self._js_runtime = parts.js_runtime
        self._releases = parts.releases
        self._workers_lost_at: Micros | None = None
        self._encoders_missing: tuple[str, ...] | None = None

    def by_name(self) -> Mapping[str, Callable[[], Awaitable[Check]]]:
        """Each component's check under the name that the contract gives it."""
        return {
            "event_log": self._event_log,
            "storage": self._storage,
            "queue": self._queue,
            "workers": self._workers,
            "sandbox": self._sandbox,
            "yt_dlp": self._yt_dlp,
            "ffmpeg": self._ffmpeg,
            "clock": self._time,
        }

    async def _event_log(self) -> Check:
        head = self._log.head
        rows = await self._log.read(max(0, head - 1), 1)
        details: Details = {"position": head, "floor": self._log.floor}
        if corrupt := self._log.corruption:
            details["first_bad_position"] = corrupt.position
            return Check("unhealthy", f"{corrupt} Nothing can be changed.", details)
        if head and not rows:
            return Check("unhealthy", "The last row cannot be read.", details)
        try:
            await asyncio.to_thread(self._volume.probe, "log")
        except OSError as error:
            reserve = Ballast(self._volume.root / "log" / ballast.NAME, 0).held_bytes
            details["reserve_bytes"] = reserve
            if error.errno in NO_SPACE and reserve:
                return Check("degraded", "The volume is full; the log lives on its reserve.", details)
            return Check("unhealthy", f"The log can be read, but not written: {_words(error)}.", details)
        if frozen := _frozen("job", "jobs", self._jobs.frozen) | _frozen(
            "batch", "batches", self._batches.frozen
        ):
            damaged = (*self._jobs.frozen.values(), *self._batches.frozen.values())
            details |= frozen | {"first_damaged": min(damaged)}
            return Check("degraded", "Some rows cannot be read; their jobs and batches are frozen.", details)
        return Check("healthy", "The log can be read and written.", details)

    async def _storage(self) -> Check:
        space = await asyncio.to_thread(self._volume.space)
        details: Details = {
            "free_bytes": space.free_bytes,
            "size_bytes": space.size_bytes,
            "path": str(self._volume.root),
        }
        fault = await self._probe("temp")
        if fault is not None:
            return Check("unhealthy", f"The data directory cannot be written: {fault}.", details)
        if space.free_bytes < FREE_BYTES_LOW:
            return Check("degraded", "There is little space left.", details)
        return Check("healthy", "There is space.", details)

    async def _queue(self) -> Check:
        waiting, limit = self._admission.waiting, self._admission.queue_max
        details: Details = {"waiting": waiting, "running": self._admission.running, "limit": limit}
        if waiting >= limit * QUEUE_SHARE_HIGH:
            return Check("degraded", "The queue is nearly full.", details)
        return Check("healthy", "There is room in the queue.", details)

    async def _workers(self) -> Check:
        details: Details = {"mode": self._engine.mode}
        now = self._clock.now()
        if self._engine.alive:
            self._workers_lost_at = None
            return Check("healthy", "Workers can be started.", details)
        self._workers_lost_at = self._workers_lost_at or now
        if now - self._workers_lost_at > WORKERS_LOST_SEC * SECOND:
            return Check("unhealthy", "No worker process can be started.", details)
        return Check("degraded", "A worker process is being prepared.", details)

    async def _sandbox(self) -> Check:
        confinement = self._engine.confinement
        if confinement is None:
            return Check("degraded", "A worker process is being prepared.")
        details: Details = {"level": confinement.level, "obstacles": confinement.reason}
        if confinement.level == "proxy":
            return Check(
                "degraded", "Nothing holds a download to the egress proxy but its own settings.", details
            )
        return Check("healthy", "Downloads have one way out, the egress proxy.", details)

    async def _yt_dlp(self) -> Check:
        version, release = self._engine.ytdlp_version, self._releases.release
        parts = await asyncio.to_thread(capabilities.ytdlp_parts, self._js_runtime, self._engine.release)
        missing = [name for name, found in parts.items() if found is None]
        told = f"yt-dlp {version}" + (f" without {', '.join(missing)}" if missing else "")
        details: Details = {"version": version, "previous": release.previous, **parts}
        if release.failure:
            details["update_failed"] = release.failure
        if release.trouble:
            return Check("degraded", f"{told}. An update was rolled back: {release.trouble}", details)
        return Check("healthy", f"{told}.", details)

    async def _ffmpeg(self) -> Check:
        tools = self._tools
        details: Details = {"ffmpeg": tools.ffmpeg_version, "ffprobe": tools.ffprobe_version}
        if not (tools.ffmpeg and tools.ffprobe):
            return Check("degraded", "ffmpeg or ffprobe is missing; what needs it fails.", details)
        if self._encoders_missing is None:
            self._encoders_missing = await asyncio.to_thread(capabilities.encoders_missing, tools.ffmpeg)
        details["encoders_missing"] = ",".join(self._encoders_missing)
        if self._encoders_missing:
            return Check("degraded", "ffmpeg lacks encoders; what needs them fails.", details)
        return Check("healthy", f"ffmpeg {tools.ffmpeg_version}.", details)

    async def _time(self) -> Check:
        now = self._clock.now()
        rows = await self._log.read(max(0, self._log.head - 1), 1)
        behind_sec = max(0.0, round((rows[0].at - now) / SECOND, 3)) if rows else 0.0
        details: Details = {"now": rfc3339(now), "behind_log_seconds": behind_sec}
        if behind_sec > CLOCK_BEHIND_SEC:
            return Check("degraded", "The clock has gone back: deadlines come late.", details)
        if now < RELEASED_AT:
            return Check("degraded", "The clock is before the time of this release.", details)
        return Check("healthy", "The clock is sane.", details)

    async def _probe(self, folder: str) -> str | None:
        """Why nothing can be written into a folder of the volume, None where it can."""
        try:
            await asyncio.to_thread(self._volume.probe, folder)
        except OSError as error:
            return _words(error)
        return None


def _words(error: OSError) -> str:
    return error.strerror or type(error).__name__


def _frozen(kind: str, plural: str, frozen: Mapping[str, int]) -> Details:
    """How many jobs or batches cannot go on, and the first of them."""
    if not frozen:
        return {}
    return {f"frozen_{plural}": len(frozen), f"first_frozen_{kind}": min(frozen, key=frozen.__getitem__)}
