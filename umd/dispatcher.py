"""The one door to the event log: load the state, decide, append with the expected position."""

from umd.clock import Clock
from umd.domain import job as rules
from umd.domain.commands import Command
from umd.errors import Conflict
from umd.log import EventLog
from umd.projections.jobs import Entry, Jobs

CONFLICTS_MAX = 50


class Dispatcher:
    """Executes commands. Nothing else appends to the log."""

    def __init__(self, log: EventLog, jobs: Jobs, clock: Clock) -> None:
        self._log = log
        self._jobs = jobs
        self._clock = clock

    async def execute(
        self, command: Command, *, correlation: str | None = None, causation: int | None = None
    ) -> Entry:
        """Decide a command on the newest state and store what comes of it, durably.

        Returns the job as it then is; it is unchanged, and nothing is stored, when the command was done
        already. `correlation` defaults to that of the job's first row. Raises a `Refused` error when the
        state does not allow the command, and what `EventLog.append` raises.
        """
        for _ in range(CONFLICTS_MAX):
            entry = self._jobs.get(command.job_id)
            at = self._clock.now()
            events = rules.decide(entry.job if entry else None, command, at)
            if not events and entry is not None:
                return entry
            try:
                await self._log.append(
                    rules.stream(command.job_id),
                    entry.position if entry else 0,
                    command,
                    events,
                    at=at,
                    correlation=correlation or (entry.correlation if entry else ""),
                    causation=causation,
                )
            except Conflict:
                continue
            return self._jobs.require(command.job_id)
        raise Conflict(f"Job {command.job_id} was changed by others {CONFLICTS_MAX} times in a row.")
