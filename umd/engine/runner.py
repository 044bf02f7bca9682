"""Starts attempts by forking a warm process, and keeps that process alive."""

import asyncio
import contextlib
import itertools
import platform
from collections import deque
from collections.abc import AsyncIterator
from functools import partial

import msgspec

from umd.egress.proxy import Egress
from umd.engine import child, selftest
from umd.engine.config import EngineConfig
from umd.engine.doorway import Doorway, allowance
from umd.engine.inbox import Inbox
from umd.engine.joint import Joint
from umd.engine.link import ForkedChild, Link, LinkLost
from umd.engine.notices import Listener, Notice, ignore
from umd.engine.protocol import Assignment, Attempt
from umd.engine.roster import Roster, make_place, needed, require, sweep
from umd.engine.sandbox import Confinement
from umd.engine.shelf import version_at
from umd.engine.spawn import SpawnEngine
from umd.engine.trial import Trial
from umd.errors import EngineError, ReleaseChanged, SettingsError

STARTS_MAX = 5
STARTS_SEC = 60.0
"""No more zygotes than that in this time: one that dies at once would otherwise be started for ever."""


def create(
    config: EngineConfig, mode: str, egress: Egress, listener: Listener = ignore
) -> "ZygoteEngine | SpawnEngine":
    """The engine for a value of `engine_mode`. It has to be started before it is used."""
    if mode == "auto":
        mode = "fork" if platform.system() == "Linux" else "spawn"
    kind = ZygoteEngine if mode == "fork" else SpawnEngine
    return kind(config, egress, listener)


class ZygoteEngine:
    """Implements `umd.engine.protocol.Engine` with a zygote. Linux only.

    A zygote that dies is replaced at once; children that run are not touched by that. After an update of
    yt-dlp a zygote of the new release takes what comes, and the old one ends with its last child.
    """

    mode = "fork"

    def __init__(self, config: EngineConfig, egress: Egress, listener: Listener = ignore) -> None:
        self._config = config
        self._egress = egress
        self._notice = listener
        self._roster = Roster(listener)
        self._numbers = itertools.count(1)
        self._link: Link | None = None
        self._ending: dict[Link, asyncio.Task[None]] = {}
        self._opening = asyncio.Lock()
        self._warming: asyncio.Task[object] | None = None
        self._starts: deque[float] = deque(maxlen=STARTS_MAX)
        self._running = False
        self._confined = asyncio.Event()
        self.confinement: Confinement | None = None
        """What children are shut off by; None before the start."""

    @property
    def ytdlp_version(self) -> str:
        """The release that the zygote has loaded; before it is warm the one that it is to load."""
        return self._link.ytdlp_version if self._link else version_at(self._config.release)

    @property
    def versions(self) -> frozenset[str]:
        """The releases that attempts run on: the one for new attempts, and those whose last ones end."""
        return frozenset({self.ytdlp_version, *(link.ytdlp_version for link in self._ending)})

    @property
    def release(self) -> str:
        """The folder of the release for new attempts; empty for umd's own."""
        return self._config.release

    @property
    def alive(self) -> bool:
        """Whether an attempt could be forked at once."""
        return self._link is not None and self._link.alive

    async def start(self) -> None:
        """Have a zygote, which warms up; attempts wait for it. Nothing is harmed where another server works.

        Raises `EngineError`, and `SettingsError` where the sandbox is less than demanded.
        """
        if self._running:
            return
        await asyncio.to_thread(make_place, self._config)
        self._running = True
        self._warming = asyncio.create_task(self._warm_up(), name="engine/warming")
        confined = asyncio.create_task(self._confined.wait())
        try:
            await asyncio.wait({self._warming, confined}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            confined.cancel()
        if self._warming.done():
            self._warming.result()

    async def warm(self) -> None:
        """Wait until an attempt can be forked at once. Raises `EngineError` where none can be."""
        if self._warming is not None:
            await asyncio.shield(self._warming)

    async def sweep(self) -> None:
        """Kill what earlier runs left behind: before the first attempt, once the data directory is ours."""
        await sweep(self._config, self._notice)

    async def stop(self) -> None:
        """End all attempts and the zygote: no process is left. May be repeated, and come before a start."""
        self._running = False
        await self._roster.stop()
        if self._warming is not None:
            self._warming.cancel()
            await asyncio.wait({self._warming})
        async with self._opening:
            if self._link is not None:
                await self._link.close()
                self._link = None
        for link, retiring in list(self._ending.items()):
            retiring.cancel()
            await link.close()

    async def run(self, assignment: Assignment) -> Attempt:
        """Fork a child for the assignment, whose directory exists. Raises `EngineError`."""
        try:
            return await self._fork(await self._link_for(assignment), assignment, self._egress)
        except LinkLost:
            return await self._fork(await self._link_for(assignment), assignment, self._egress)

    @contextlib.asynccontextmanager
    async def trial(self, folder: str) -> AsyncIterator[Trial]:
        """A second zygote, of the release in this folder, that has passed the self-test.

        It ends with the block, unless it was adopted: then it is the one for new attempts. Raises
        `EngineError` where the release does not start, or does not pass.
        """
        config = msgspec.structs.replace(self._config, release=folder)
        link = await self._opened(config)
        try:
            await selftest.examine(partial(self._fork, link), config, version_at(folder))
            yield Trial(link.ytdlp_version, partial(self._change_to, link))
        finally:
            if link is not self._link:
                await link.close()

    async def _change_to(self, link: Link) -> None:
        async with self._opening:
            if not self._running:
                raise EngineError("The engine is not running.")
            before, self._link, self._config = self._link, link, link.config
        if before is not None:
            task = self._ending[before] = asyncio.create_task(before.retire())
            task.add_done_callback(lambda _: self._ending.pop(before))

    async def _link_for(self, assignment: Assignment) -> Link:
        """The zygote of the release that the attempt was recorded with. Raises `ReleaseChanged`."""
        wanted = assignment.ytdlp_version
        for link in self._ending:
            if link.ytdlp_version == wanted and link.alive:
                return link
        link = await self._warm_link()
        if wanted not in ("", link.ytdlp_version):
            raise ReleaseChanged(f"yt-dlp {link.ytdlp_version} came into use in the place of {wanted}.")
        return link

    async def _fork(self, link: Link, assignment: Assignment, egress: Egress) -> Attempt:
        joint = Joint()
        inbox = Inbox(lambda reason: self._break(forked, reason))
        forked = ForkedChild(link, next(self._numbers), joint.life, inbox)
        limit = child.filesize_max_bytes(assignment, self._config)
        doorway = Doorway(joint.handover, egress, allowance(assignment.options, limit))
        try:
            await inbox.open(joint.reports)
            await link.fork(needed(assignment), forked, joint.ends)
        except BaseException:
            forked.kill()  # If it comes to life nevertheless, the end of its life pipe is there already.
            self._roster.close(doorway)
            raise
        finally:
            joint.close_ends()
        return self._roster.add(forked.started.result(), forked, inbox, doorway)

    def _break(self, forked: ForkedChild, reason: str) -> None:
        """What a child says cannot be understood: it is broken, and is ended."""
        self._notice(Notice("child_broken", forked.started.result(), reason))
        forked.kill()

    async def _warm_link(self) -> Link:
        async with self._opening:
            if not self._running:
                raise EngineError("The engine is not running.")
            if self._link is None or not self._link.alive:
                self._link = await self._open()
            return self._link

    async def _open(self) -> Link:
        if platform.system() != "Linux":
            raise EngineError("The engine mode `fork` is for Linux; `auto` chooses what works.")
        now = asyncio.get_running_loop().time()
        if len(self._starts) == STARTS_MAX and now - self._starts[0] < STARTS_SEC:
            raise EngineError(f"The zygote ended {STARTS_MAX} times within {STARTS_SEC:.0f} s.")
        self._starts.append(now)
        try:
            return await self._opened(self._config)
        except EngineError:
            if not self._config.release:
                raise
        # Better umd's own release than none; whoever looks after the releases sees what happened.
        self._config = msgspec.structs.replace(self._config, release="")
        return await self._opened(self._config)

    async def _opened(self, config: EngineConfig) -> Link:
        link = Link(config, lambda: self._lost(link))
        try:
            await self._require(link, await link.open())
            await link.warm()
        except EngineError as error:
            self._notice(Notice("zygote_failed", link.pid, str(error)))
            raise
        self._notice(Notice("zygote_ready", link.pid, link.ytdlp_version))
        return link

    async def _require(self, link: Link, confinement: Confinement) -> None:
        self.confinement = confinement
        self._notice(Notice("sandbox", link.pid, str(confinement)))
        try:
            require(confinement, self._config)
        except SettingsError:
            await link.close()
            raise
        self._confined.set()

    async def _warm_up(self) -> None:
        """Whatever killed a zygote may be over: that is tried again, as often as zygotes may be started."""
        while True:
            with contextlib.suppress(LinkLost):
                await self._warm_link()
                return

    def _lost(self, link: Link) -> None:
        """A zygote died. A successor is made now, so that the next attempt need not wait for it."""
        self._notice(Notice("zygote_lost", link.pid))
        if self._running and link is self._link:
            self._warming = asyncio.create_task(self._reopen())

    async def _reopen(self) -> None:
        # A failure has been noticed; the next attempt tries again, or says why not.
        with contextlib.suppress(EngineError, SettingsError):
            await self._warm_up()
