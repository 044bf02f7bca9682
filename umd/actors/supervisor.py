"""Keeps actors alive: a crashed one is made anew, within a budget; beyond it the service has to end."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

import structlog

from umd.actors.actor import Actor
from umd.errors import RestartsExhausted

AnyActor = Actor[Any]
Escalate = Callable[[BaseException], None]

_log = structlog.get_logger(__name__)


class RestartBudget:
    """At most `restarts_max` restarts in any `period_sec` seconds."""

    def __init__(self, restarts_max: int, period_sec: float) -> None:
        self._restarts_max = restarts_max
        self._period_sec = period_sec
        self._restarts: deque[float] = deque()

    def spend(self, now: float) -> bool:
        """Take one restart out of the budget; False when nothing is left."""
        while self._restarts and now - self._restarts[0] >= self._period_sec:
            self._restarts.popleft()
        if len(self._restarts) >= self._restarts_max:
            return False
        self._restarts.append(now)
        return True


class Supervisor:
    """Runs actors by name, one for each name, and restarts those that crash.

    When the budget is used up, `escalate` is called with the reason: the process has to end, so that the
    platform starts it anew and the log is replayed.
    """

    def __init__(
        self, name: str, escalate: Escalate, *, restarts_max: int = 20, period_sec: float = 60
    ) -> None:
        self._name = name
        self._escalate = escalate
        self._budget = RestartBudget(restarts_max, period_sec)
        self._actors: dict[str, AnyActor] = {}
        self._keepers: dict[str, asyncio.Task[None]] = {}
        self.restarts = 0

    def start(self, name: str, make: Callable[[], AnyActor], ended: Callable[[], None] | None = None) -> None:
        """Start an actor; `ended` is called when it runs no longer and will not be restarted."""
        keeper = asyncio.create_task(self._keep(name, make), name=f"{self._name}/{name}")
        self._keepers[name] = keeper
        keeper.add_done_callback(lambda _: self._forget(name, ended))

    def get(self, name: str) -> AnyActor | None:
        """The actor that runs under this name."""
        return self._actors.get(name)

    def names(self) -> list[str]:
        """The names of all that run."""
        return list(self._keepers)

    async def drain(self, grace_sec: float) -> bool:
        """Wait until every actor has ended by itself, at most so long; whether all have."""
        if not self._keepers:
            return True
        _, running = await asyncio.wait(list(self._keepers.values()), timeout=grace_sec)
        return not running

    async def stop(self) -> None:
        """Stop every actor; complete when it returns."""
        keepers = list(self._keepers.values())
        for keeper in keepers:
            keeper.cancel()
        if keepers:
            await asyncio.wait(keepers)

    async def _keep(self, name: str, make: Callable[[], AnyActor]) -> None:
        while True:
            actor = self._actors[name] = make()
            try:
                await actor.start()
                await actor.join()
                return
            except Exception as error:  # noqa: BLE001  # an actor's edge: any crash is answered by the budget
                _log.error("actor.crashed", actor=name, supervisor=self._name, exc_info=error)
                if not self._may_restart(name, error):
                    return
            finally:
                await actor.stop()

    def _may_restart(self, name: str, error: Exception) -> bool:
        if self._budget.spend(asyncio.get_running_loop().time()):
            self.restarts += 1
            return True
        exhausted = RestartsExhausted(f"{self._name} restarts too often, the last time for {name}.")
        exhausted.__cause__ = error
        self._escalate(exhausted)
        return False

    def _forget(self, name: str, ended: Callable[[], None] | None) -> None:
        del self._keepers[name]
        self._actors.pop(name, None)  # a keeper that was cancelled at once has made none
        if ended is not None:
            ended()
