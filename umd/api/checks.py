"""What each component says of itself when the health of the service is asked for."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping

from umd.actors.admission import Admission
from umd.api.context import Check, Details
from umd.engine.ffmpeg import Tools
from umd.engine.runner import ZygoteEngine
from umd.engine.spawn import SpawnEngine
from umd.log import EventLog
from umd.projections.jobs import Jobs
from umd.storage.volume import Volume

FREE_BYTES_LOW = 512 * 2**20
QUEUE_SHARE_HIGH = 0.9


class Checks:
    """The checks of `GET /health`."""

    def __init__(
        self,
        log: EventLog,
        jobs: Jobs,
        volume: Volume,
        admission: Admission,
        engine: ZygoteEngine | SpawnEngine,
        tools: Tools,
    ) -> None:
        self._log = log
        self._jobs = jobs
        self._volume = volume
        self._admission = admission
        self._engine = engine
        self._tools = tools

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
        if frozen := self._jobs.frozen:
            job_id, position = min(frozen.items(), key=lambda damaged: damaged[1])
            details |= {"frozen_jobs": len(frozen), "first_frozen_job": job_id, "first_damaged": position}
            return Check("degraded", "Some rows cannot be read; their jobs are frozen.", details)
        return Check("healthy", "The log can be read.", details)

    async def _storage(self) -> Check:
        free = await asyncio.to_thread(self._volume.free_bytes)
        writable = await asyncio.to_thread(os.access, self._volume.root, os.W_OK)
        details: Details = {"free_bytes": free, "path": str(self._volume.root)}
        if not writable:
            return Check("unhealthy", "The data directory cannot be written.", details)
        if free < FREE_BYTES_LOW:
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
        if not self._engine.alive:
            return Check("degraded", "A worker process is being prepared.", details)
        return Check("healthy", "Workers can be started.", details)

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
        version = self._engine.ytdlp_version
        return Check("healthy", f"yt-dlp {version}.", {"version": version})

    async def _ffmpeg(self) -> Check:
        tools = self._tools
        details: Details = {"ffmpeg": tools.ffmpeg_version, "ffprobe": tools.ffprobe_version}
        if not (tools.ffmpeg and tools.ffprobe):
            return Check("degraded", "ffmpeg or ffprobe is missing; what needs it fails.", details)
        return Check("healthy", f"ffmpeg {tools.ffmpeg_version}.", details)
