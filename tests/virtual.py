"""An event loop whose time is virtual: nothing waits, and a day passes as soon as nobody has work."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
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
        ready = super().select(0)
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


class VirtualClock:
    """The wall clock of the running loop, and ids that count."""

    def __init__(self) -> None:
        self._ids = 0

    def now(self) -> Micros:
        return BEGINNING + round(asyncio.get_running_loop().time() * SECOND)

    def new_id(self) -> str:
        self._ids += 1
        return encode_id(self._ids.to_bytes(16, "big"))


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
