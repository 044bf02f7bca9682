"""The one contract of everything that acts: a task, a bounded mailbox, one lifecycle."""

import asyncio
from abc import ABC, abstractmethod
from typing import ClassVar, Generic, TypeVar

from umd.errors import Overloaded

Message = TypeVar("Message")


class Actor(ABC, Generic[Message]):
    """One task that works through its own messages.

    `start` returns when the task is running. `stop` is complete when it returns, whatever it had to
    interrupt; it may be called twice, and before `start`. After a crash the same actor may be started
    again, with what it then knows, or a new one take its place: that is its supervisor's to say.
    """

    mailbox_max: ClassVar[int] = 64

    def __init__(self, name: str) -> None:
        self.name = name
        self.mailbox: asyncio.Queue[Message] = asyncio.Queue(self.mailbox_max)
        self._task: asyncio.Task[None] | None = None

    def tell(self, message: Message) -> None:
        """Leave a message. Raises `Overloaded` when the mailbox is full."""
        try:
            self.mailbox.put_nowait(message)
        except asyncio.QueueFull:
            raise Overloaded(f"The mailbox of {self.name} is full.") from None

    async def start(self) -> None:
        """Begin to work."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self.run(), name=self.name)

    async def join(self) -> None:
        """Wait until the work has ended; raises what ended it."""
        if self._task is not None:
            await asyncio.shield(self._task)

    async def stop(self) -> None:
        """Interrupt the work and wait for its end."""
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task])

    @abstractmethod
    async def run(self) -> None:
        """The work, to its end. An exception is a crash: the supervisor decides what comes of it."""
