"""Crashed actors come back, within a budget; beyond it the reason is handed up."""

import asyncio

import pytest

from tests.virtual import run_virtual
from umd.actors.actor import Actor
from umd.actors.supervisor import RestartBudget, Supervisor
from umd.errors import Overloaded, RestartsExhausted


class Crashing(Actor[str]):
    """Crashes so many times, then waits for a message."""

    mailbox_max = 2

    def __init__(self, crashes: list[Exception]) -> None:
        super().__init__("crashing")
        self.crashes = crashes
        self.heard: list[str] = []

    async def run(self) -> None:
        if self.crashes:
            raise self.crashes.pop()
        self.heard.append(await self.mailbox.get())


def test_a_crashed_actor_is_started_again_with_what_it_knows() -> None:
    async def main() -> None:
        fatal: list[BaseException] = []
        actor = Crashing([ValueError("one"), ValueError("two")])
        supervisor = Supervisor("test", fatal.append)
        supervisor.start("it", lambda: actor)
        actor.tell("hello")
        assert await supervisor.drain(10)

        assert (actor.heard, fatal, supervisor.restarts) == (["hello"], [], 2)

    run_virtual(main())


def test_too_many_crashes_are_escalated_with_their_cause() -> None:
    async def main() -> None:
        fatal: list[BaseException] = []
        supervisor = Supervisor("test", fatal.append, restarts_max=3, period_sec=60)
        supervisor.start("it", lambda: Crashing([ValueError("again")]))
        assert await supervisor.drain(10)

        assert len(fatal) == 1
        assert isinstance(fatal[0], RestartsExhausted)
        assert isinstance(fatal[0].__cause__, ValueError)
        assert supervisor.names() == []

    run_virtual(main())


def test_restarts_come_back_into_the_budget_with_time() -> None:
    budget = RestartBudget(restarts_max=2, period_sec=60)

    assert [budget.spend(now) for now in (0, 1, 2, 59.9, 60, 60.5, 61)] == [
        True,
        True,
        False,
        False,
        True,
        False,
        True,
    ]


def test_a_full_mailbox_refuses() -> None:
    async def main() -> None:
        actor = Crashing([])
        actor.tell("one")
        actor.tell("two")
        with pytest.raises(Overloaded):
            actor.tell("three")

    run_virtual(main())


def test_stop_is_complete_may_be_repeated_and_may_come_first() -> None:
    async def main() -> None:
        actor = Crashing([])
        await actor.stop()
        await actor.start()
        await actor.stop()
        await actor.stop()

        assert len(asyncio.all_tasks()) == 1

    run_virtual(main())


def test_stopping_the_supervisor_stops_everything_and_says_that_it_ended() -> None:
    async def main() -> None:
        ended: list[str] = []
        supervisor = Supervisor("test", lambda _: None)
        for name in "ab":
            supervisor.start(name, lambda: Crashing([]), lambda name=name: ended.append(name))  # type: ignore[misc]
        await asyncio.sleep(0)
        await supervisor.stop()
        await supervisor.stop()

        assert (sorted(ended), supervisor.names(), len(asyncio.all_tasks())) == (["a", "b"], [], 1)

    run_virtual(main())
