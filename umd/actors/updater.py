"""Moves the engine to another release of yt-dlp, and back where that does worse."""

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import structlog

from umd.actors.actor import Actor
from umd.clock import SECOND, Clock
from umd.dispatcher import Dispatcher
from umd.domain import engine as rules
from umd.domain.commands import RefuseRelease, RollBack, UseRelease
from umd.domain.engine import Tally
from umd.engine.installing import install_newest
from umd.engine.shelf import Shelf, Wish, own_version
from umd.engine.trial import Trial
from umd.errors import EngineError, SettingsError, StorageFull
from umd.log import Fact
from umd.projections.releases import Releases

LOOK_SEC = 1.0
"""How often it is looked for a wish: the process that leaves it has no other way to tell."""

HOUR = 3_600 * SECOND

_log = structlog.get_logger(__name__)


class Movable(Protocol):
    """An engine that can move to another release."""

    @property
    def ytdlp_version(self) -> str: ...

    @property
    def release(self) -> str: ...

    @property
    def versions(self) -> frozenset[str]: ...

    def trial(self, folder: str) -> AbstractAsyncContextManager[Trial]: ...


class Updater(Actor[None]):
    """Tries what is wished for, uses it when it is sound, and gives it up when the downloads say so.

    Each step is recorded before it is taken, and the event log decides: what a crash left undone between
    the two, the next start does. `hours` is how often the newest release is installed; 0 is never.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        releases: Releases,
        engine: Movable,
        shelf: Shelf,
        clock: Clock,
        hours: int,
    ) -> None:
        super().__init__("updater")
        self._dispatcher = dispatcher
        self._releases = releases
        self._engine = engine
        self._shelf = shelf
        self._clock = clock
        self._period = hours * HOUR
        self._own = own_version()
        self._judged = asyncio.Event()
        self._complaint = ""

    def apply(self, _facts: Sequence[Fact]) -> None:
        """Follow the log, behind the projection."""
        if self._releases.verdict is not None:
            self._judged.set()

    async def run(self) -> None:
        """Look again and again."""
        while True:
            self._judged.clear()
            try:
                await self._keep_to_the_log()
                await self._hear_the_verdict()
                await self._fulfil()
                await self._update_when_due()
                await self._tidy()
                self._complaint = ""
            except (OSError, StorageFull) as error:
                self._complain(str(error))
            await self._wait()

    @property
    def _due(self) -> str:
        return rules.due(self._releases.release, self._own)

    async def _keep_to_the_log(self) -> None:
        """See to it that what is in use is what the log says, also to a start that could not know it yet."""
        running = self._engine.ytdlp_version
        if self._releases.release.current is None and not self._engine.release:
            return  # nobody has ever chosen one, and umd's own may be upgraded where it lies
        if running == self._due:
            if self._releases.release.current not in (None, running):  # this umd came with a newer one
                await self._dispatcher.execute_engine(UseRelease(self._own, running))
        else:
            try:
                async with self._trial(self._due) as trial:
                    await trial.adopt()
            except (EngineError, SettingsError) as error:
                await self._dispatcher.execute_engine(RollBack(self._own, running, str(error)))
                _log.error("updater.rolled_back", version=running, reason=str(error))
        await self._remember()

    async def _hear_the_verdict(self) -> None:
        verdict = self._releases.verdict
        target = rules.way_back(self._releases.release, self._own)
        if verdict is None or target is None:
            return
        reason = _held_against(self._due, verdict)
        try:
            async with self._trial(target) as trial:
                await self._dispatcher.execute_engine(
                    RollBack(self._own, target, reason, verdict.judged, verdict.faults)
                )
                await trial.adopt()
        except (EngineError, SettingsError) as error:
            await self._dispatcher.execute_engine(RefuseRelease(self._own, str(error), target))
            return
        await self._remember()
        _log.error("updater.rolled_back", version=target, reason=reason)

    async def _fulfil(self) -> None:
        wish = await asyncio.to_thread(lambda: self._shelf.wish)
        if wish is None:
            return
        if wish.id != self._releases.answered:
            await self._try(wish)
        await asyncio.to_thread(self._shelf.forget, wish)

    async def _try(self, wish: Wish) -> None:
        use = UseRelease(self._own, wish.version)
        if wish.version == self._engine.ytdlp_version:
            await self._dispatcher.execute_engine(use, correlation=wish.id)
            return
        try:
            async with self._trial(wish.version) as trial:
                await self._dispatcher.execute_engine(use, correlation=wish.id)
                await trial.adopt()
        except (EngineError, SettingsError) as error:
            refuse = RefuseRelease(self._own, str(error), wish.version)
            await self._dispatcher.execute_engine(refuse, correlation=wish.id)
            _log.error("updater.refused", version=wish.version, reason=str(error))
            return
        await self._remember()
        _log.info("updater.updated", version=wish.version)

    async def _update_when_due(self) -> None:
        now = self._clock.now()
        if not self._period or now - await asyncio.to_thread(lambda: self._shelf.checked) < self._period:
            return
        unwanted = self._releases.release.refused | {self._due}
        try:
            await install_newest(self._shelf, self._clock.new_id(), unwanted)
        except EngineError as error:
            await self._dispatcher.execute_engine(RefuseRelease(self._own, str(error)))
            _log.error("updater.not_installed", reason=str(error))
        await asyncio.to_thread(self._shelf.note_check, now)

    async def _tidy(self) -> None:
        """Remove releases that nothing runs on, and nobody would go back to."""
        wish = await asyncio.to_thread(lambda: self._shelf.wish)
        kept = {self._due, self._releases.release.previous or "", wish.version if wish else ""}
        removed = await asyncio.to_thread(self._shelf.prune, kept | self._engine.versions)
        if removed:
            _log.info("updater.removed", versions=removed)

    async def _remember(self) -> None:
        """Let the next start begin with what is in use."""
        await asyncio.to_thread(self._shelf.choose, self._due)

    def _trial(self, version: str) -> AbstractAsyncContextManager[Trial]:
        return self._engine.trial(self._shelf.path(version))

    def _complain(self, reason: str) -> None:
        """Once: it is tried again every second."""
        if reason != self._complaint:
            self._complaint = reason
            _log.warning("updater.failed", reason=reason)

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(LOOK_SEC):
                await self._judged.wait()
        except TimeoutError:
            return


def _held_against(version: str, verdict: Tally) -> str:
    return f"{verdict.faults} of {verdict.judged} downloads on yt-dlp {version} failed by its fault."
