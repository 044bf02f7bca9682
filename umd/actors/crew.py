"""The actors of the jobs that run now: started by admission, told of a stop, ended together."""

from collections.abc import Callable, Sequence

from umd.actors.job import JobActor, Stop, Workshop
from umd.actors.supervisor import Supervisor
from umd.domain.events import JobStopping
from umd.log import Fact


class Crew:
    """One supervised actor for each running job."""

    def __init__(self, workshop: Workshop, supervisor: Supervisor) -> None:
        self._workshop = workshop
        self._supervisor = supervisor

    def start_job(self, job_id: str, ended: Callable[[], None]) -> None:
        """Start a job's actor; `ended` is called when it has ended for good."""
        self._supervisor.start(job_id, lambda: JobActor(job_id, self._workshop), ended)

    def apply(self, facts: Sequence[Fact]) -> None:
        """Follow the log: bring word of an accepted cancel or pause to the actor that it concerns."""
        for fact in facts:
            if isinstance(fact.event, JobStopping):
                actor = self._supervisor.get(fact.record.stream.removeprefix("job-"))
                if actor is not None:
                    actor.tell(Stop.REQUEST)

    async def stop(self, grace_sec: float) -> None:
        """Interrupt every job, so that it goes on after a restart; those that take longer are cut off."""
        for name in self._supervisor.names():
            actor = self._supervisor.get(name)
            if actor is not None:
                actor.tell(Stop.SHUTDOWN)
        await self._supervisor.drain(grace_sec)
        await self._supervisor.stop()
