"""An event loop whose time is virtual: nothing waits, and a day passes as soon as nobody has work."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from random import Random  # noqa: TID251  # seeded by the test
from typing import Any, TypeVar

from umd.clock import SECOND, Micros, encode_id

T = TypeVar("T")

BEGINNING = 1_700_000_000 * SECOND


class DeadlockError(AssertionError):
    """Everybody waits, and nothing is due."""


class _LeapingSelector(selectors.DefaultSelector):
    """Instead of waiting, lets the loop's time leap to the next timer."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0) if len(self.get_map()) > 1 else []  # one is the loop's own wake-up
        if not ready:
            if timeout is None:
                raise DeadlockError("everybody waits, and nothing is due")
            self.now += max(0.0, timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """Runs what belongs into a thread at once, in place, so that a run is the same each time."""

    def __init__(self) -> None:
        self._leaping = _LeapingSelector()
        super().__init__(self._leaping)

    def time(self) -> float:
        return self._leaping.now

    def run_in_executor(  # type: ignore[override]  # the executor is of no use here
        self, _executor: None, func: Callable[..., T], *args: object
    ) -> asyncio.Future[T]:
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001  # handed to whoever awaits it, as a thread would
            future.set_exception(error)
        return future


class SeededLoop(VirtualLoop):
    """Whoever is ready at the same time comes in an order that the seed draws: one seed, one run."""

    def __init__(self, random: Random) -> None:
        super().__init__()
        self.tasks: list[asyncio.Task[Any]] = []
        self._random = random
        self.set_task_factory(self._create)  # type: ignore[arg-type]  # its protocol is a private one

    def _create(
        self,
        loop: asyncio.AbstractEventLoop,
        work: Coroutine[Any, Any, T],
        **options: Any,  # noqa: ANN401  # a Task's, which differ by Python's release
    ) -> asyncio.Task[T]:
        """Keep the tasks in the order in which they were made: a set of them has another in each run."""
        task = asyncio.Task(work, loop=loop, **options)
        self.tasks.append(task)
        return task

    def _run_once(self) -> None:
        ready = self._ready  # type: ignore[attr-defined]  # of the standard library's BaseEventLoop
        if len(ready) > 1:
            shuffled = list(ready)
            self._random.shuffle(shuffled)
            ready.clear()
            ready.extend(shuffled)
        super()._run_once()  # type: ignore[misc]  # as above


class VirtualClock:
    """The wall clock of the running loop, and ids that count."""

    def __init__(self) -> None:
        self._ids = 0

    def now(self) -> Micros:
        return BEGINNING + round(asyncio.get_running_loop().time() * SECOND)

    def new_id(self) -> str:
        self._ids += 1
        return encode_id(self._ids.to_bytes(16, "big"))


def run_virtual(main: Coroutine[Any, Any, T], random: Random | None = None) -> T:
    """Run a coroutine to its end in virtual time; `random` draws the order of what is ready at once."""
    loop = VirtualLoop if random is None else lambda: SeededLoop(random)
    with asyncio.Runner(loop_factory=loop) as runner:
        return runner.run(main)
