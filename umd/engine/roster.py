"""The attempts that run, so that a stop of the engine ends every one of them."""

import asyncio
from pathlib import Path

import msgspec

from umd.domain.options import MediaOptions
from umd.egress.passage import Passage
from umd.engine import leftovers, plugins
from umd.engine.attempt import Leash, RunningAttempt
from umd.engine.config import EngineConfig
from umd.engine.doorway import Doorway
from umd.engine.inbox import Inbox
from umd.engine.notices import Listener, Notice
from umd.engine.protocol import Assignment, Ended
from umd.engine.sandbox import LEVELS, Confinement
from umd.errors import SettingsError


class Roster:
    """Keeps each attempt until no process of it is left."""

    def __init__(self, listener: Listener) -> None:
        self._notice = listener
        self._attempts: dict[int, RunningAttempt] = {}
        self._closing: set[asyncio.Future[Passage | None]] = set()

    def add(self, pid: int, leash: Leash, inbox: Inbox, doorway: Doorway) -> RunningAttempt:
        """A child has begun."""
        attempt = self._attempts[pid] = RunningAttempt(leash, inbox, doorway)
        self._notice(Notice("child_started", pid))
        leash.ended.add_done_callback(lambda ended: self._remove(pid, attempt, doorway, ended.result()))
        return attempt

    async def stop(self) -> None:
        """End them all. Raises `EngineError` if one cannot be ended."""
        await asyncio.gather(*(attempt.stop() for attempt in self._attempts.values()), *self._closing)

    def close(self, doorway: Doorway) -> None:
        """Close the way out of a child that is no more, or that nobody will ever follow."""
        closing = asyncio.ensure_future(doorway.close())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    def _remove(self, pid: int, attempt: RunningAttempt, doorway: Doorway, ended: Ended) -> None:
        if self._attempts.get(pid) is attempt:
            del self._attempts[pid]
        self.close(doorway)
        self._notice(Notice("child_ended", pid, ended=ended))


def make_place(config: EngineConfig) -> None:
    """Have the scratch directory ready."""
    Path(config.scratch).mkdir(parents=True, exist_ok=True, mode=0o750)
    plugins.link(config)


async def sweep(config: EngineConfig, listener: Listener) -> None:
    """Kill what earlier runs on the same data directory left alive."""
    for pid in await asyncio.to_thread(leftovers.sweep, config):
        listener(Notice("leftover_killed", pid))


def require(confinement: Confinement, config: EngineConfig) -> None:
    """Raise `SettingsError` where children cannot be shut off as well as the operator demands."""
    if LEVELS.index(confinement.level) > LEVELS.index(config.sandbox_least):
        raise SettingsError(
            f"UMD_SANDBOX demands {config.sandbox_least}; this machine offers {confinement} at the best."
        )


def needed(assignment: Assignment) -> Assignment:
    """The assignment without what is no worker's business, as where a webhook goes, or which proxy is used.

    A request is a kind of options with more fields, which the child would not understand.
    """
    options = {name: getattr(assignment.options, name) for name in MediaOptions.__struct_fields__}
    return msgspec.structs.replace(
        assignment,
        options=MediaOptions(**options | {"webhook_url": None, "webhook_secret": None, "proxy": None}),
    )
