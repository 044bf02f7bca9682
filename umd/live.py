"""The broadcast of what is true only now: progress ticks, held in memory and never stored.

A tick replaces the one before it. Listeners are called on the event loop, and must neither raise nor
wait: they take note and return.
"""

from collections.abc import Callable

from umd.domain.events import Progress

Listener = Callable[[str, Progress], None]


class Live:
    """The newest progress of each running job."""

    def __init__(self) -> None:
        self._latest: dict[str, Progress] = {}
        self._listeners: list[Listener] = []

    def listen(self, listener: Listener) -> None:
        """Call `listener(job_id, progress)` for every tick from now on."""
        self._listeners.append(listener)

    def publish(self, job_id: str, progress: Progress) -> None:
        """Broadcast a tick."""
        self._latest[job_id] = progress
        for listener in self._listeners:
            listener(job_id, progress)

    def latest(self, job_id: str) -> Progress | None:
        """The newest tick of a running job."""
        return self._latest.get(job_id)

    def forget(self, job_id: str) -> None:
        """Drop the tick of a job that runs no longer."""
        self._latest.pop(job_id, None)
