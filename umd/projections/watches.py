"""Waiting for a read model to show something: each who waits is told by the fold itself."""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

E = TypeVar("E")


class Watches(Generic[E]):
    """Who waits for which resource to meet which condition."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[tuple[Callable[[E], bool], asyncio.Future[E]]]] = {}

    async def wait(self, name: str, now: E, condition: Callable[[E], bool]) -> E:
        """The resource as soon as it meets the condition; `now` is what it is."""
        if condition(now):
            return now
        future: asyncio.Future[E] = asyncio.get_running_loop().create_future()
        watch = (condition, future)
        self._waiting.setdefault(name, []).append(watch)
        try:
            return await future
        finally:
            self._drop(name, watch)

    def tell(self, name: str, now: E) -> None:
        """The resource has changed."""
        for condition, future in self._waiting.get(name, ()):
            if not future.done() and condition(now):
                future.set_result(now)

    def _drop(self, name: str, watch: tuple[Callable[[E], bool], asyncio.Future[E]]) -> None:
        watches = self._waiting[name]
        watches.remove(watch)
        if not watches:
            del self._waiting[name]
