"""The actors of the batches that are under way: one for each, woken by whatever concerns it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from umd.actors.batch import BatchActor
from umd.actors.expansion import BatchOffice
from umd.actors.supervisor import Supervisor
from umd.clock import Micros
from umd.domain.batch import FINAL
from umd.errors import QueueFull, ShuttingDown
from umd.log import Fact


class BatchCrew:
    """One supervised actor for each batch that has not come to its end."""

    def __init__(self, office: BatchOffice, supervisor: Supervisor, batches_max: int) -> None:
        self._office = office
        self._supervisor = supervisor
        self._batches_max = batches_max
        self._arriving = 0
        self._closed = False

    def start(self) -> None:
        """Go on with every batch that is under way. Only when the log has been folded."""
        for batch_id in self._office.batches.active():
            self._attend(batch_id)

    def apply(self, facts: Sequence[Fact]) -> None:
        """Follow the log: attend to each batch that was touched, by a row of its own or of a job of its."""
        touched: set[str] = set()
        for stream in {fact.record.stream for fact in facts}:
            if stream.startswith("batch-"):
                touched.add(stream.removeprefix("batch-"))
            elif (entry := self._office.jobs.get(stream.removeprefix("job-"))) and entry.job.batch_id:
                touched.add(entry.job.batch_id)
        for batch_id in touched:
            self._attend(batch_id)

    @contextmanager
    def intake(self) -> Iterator[None]:
        """Hold a place while a batch is being accepted. Raises `QueueFull` or `ShuttingDown`."""
        if self._closed:
            raise ShuttingDown("The service is stopping; it takes no new work.")
        if len(self._office.batches.active()) + self._arriving >= self._batches_max:
            raise QueueFull(f"{self._batches_max} batches are under way already.")
        self._arriving += 1
        try:
            yield
        finally:
            self._arriving -= 1

    async def stop(self) -> None:
        """Interrupt every batch; it goes on after a restart. May be repeated, and come before a start."""
        self._closed = True
        await self._supervisor.stop()

    def _attend(self, batch_id: str) -> None:
        actor = self._supervisor.get(batch_id)
        if isinstance(actor, BatchActor):
            actor.wake()
        elif not self._closed and batch_id not in self._supervisor.names():
            entry = self._office.batches.get(batch_id)
            is_frozen = batch_id in self._office.batches.frozen
            if entry is not None and entry.batch.state not in FINAL and not is_frozen:
                self._supervisor.start(
                    batch_id,
                    lambda: BatchActor(batch_id, self._office),
                    lambda: self._look_again(batch_id, entry.batch.retried_at),
                )

    def _look_again(self, batch_id: str, retried_at: Micros | None) -> None:
        """An actor has left: a retry that came while it was leaving has woken nobody."""
        if self._office.batches.require(batch_id).batch.retried_at != retried_at:
            self._attend(batch_id)
