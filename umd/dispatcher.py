"""The one door to the event log: load the state, decide, append with the expected position."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

from umd.clock import Clock, Micros
from umd.domain import batch as batch_rules
from umd.domain import engine as engine_rules
from umd.domain import job as job_rules
from umd.domain import storage as storage_rules
from umd.domain.commands import AnyBatchCommand, AnyEngineCommand, AnyJobCommand, Command, RecordSwept
from umd.domain.events import Event
from umd.errors import Conflict, InvalidState
from umd.log import EventLog
from umd.projections.batches import BatchEntry, Batches
from umd.projections.jobs import Entry, Jobs
from umd.projections.releases import Releases
from umd.projections.sweeps import Sweeps

CONFLICTS_MAX = 50


class _Known(Protocol):
    """What a projection knows of a stream."""

    @property
    def position(self) -> int: ...

    @property
    def correlation(self) -> str: ...


K = TypeVar("K", bound=_Known)


class Dispatcher:
    """Executes commands. Nothing else appends to the log."""

    def __init__(
        self, log: EventLog, jobs: Jobs, batches: Batches, releases: Releases, sweeps: Sweeps, clock: Clock
    ) -> None:
        self._log = log
        self._jobs = jobs
        self._batches = batches
        self._releases = releases
        self._sweeps = sweeps
        self._clock = clock

    async def execute(
        self, command: AnyJobCommand, *, correlation: str | None = None, causation: int | None = None
    ) -> Entry:
        """Decide a job's command on the newest state and store what comes of it, durably.

        Returns the job as it then is; it is unchanged, and nothing is stored, when the command was done
        already. `correlation` defaults to that of the job's first row. Raises a `Refused` error when the
        state does not allow the command, or cannot be read from the log, and what `EventLog.append` raises.
        """
        _check_readable("job", command.job_id, self._jobs.frozen)
        await self._store(
            job_rules.stream(command.job_id),
            command,
            lambda: self._jobs.get(command.job_id),
            lambda entry, at: job_rules.decide(entry.job if entry else None, command, at),
            correlation,
            causation,
        )
        return self._jobs.require(command.job_id)

    async def execute_batch(self, command: AnyBatchCommand, *, correlation: str | None = None) -> BatchEntry:
        """The same for a batch's command."""
        _check_readable("batch", command.batch_id, self._batches.frozen)
        await self._store(
            batch_rules.stream(command.batch_id),
            command,
            lambda: self._batches.get(command.batch_id),
            lambda entry, _: batch_rules.decide(entry.batch if entry else None, command),
            correlation,
            None,
        )
        return self._batches.require(command.batch_id)

    async def execute_engine(self, command: AnyEngineCommand, *, correlation: str = "") -> None:
        """The same for the engine's command; `correlation` is that of the wish that led to it."""
        await self._store(
            engine_rules.STREAM,
            command,
            lambda: self._releases,
            lambda known, _: engine_rules.decide((known or self._releases).release, command),
            correlation,
            None,
        )

    async def execute_storage(self, command: RecordSwept) -> None:
        """The same for what was swept: nothing refuses it."""
        await self._store(
            storage_rules.STREAM,
            command,
            lambda: self._sweeps,
            lambda _, __: storage_rules.decide(command),
            None,
            None,
        )

    async def _store(  # what one kind of stream has of its own, and what the caller knows
        self,
        stream: str,
        command: Command,
        load: Callable[[], K | None],
        decide: Callable[[K | None, Micros], Sequence[Event]],
        correlation: str | None,
        causation: int | None,
    ) -> None:
        for _ in range(CONFLICTS_MAX):
            known = load()
            at = self._clock.now()
            events = decide(known, at)
            if not events and known is not None:
                return
            try:
                await self._log.append(
                    stream,
                    known.position if known else 0,
                    command,
                    events,
                    at=at,
                    correlation=correlation or (known.correlation if known else ""),
                    causation=causation,
                )
            except Conflict:
                continue
            return
        raise Conflict(f"{stream} was changed by others {CONFLICTS_MAX} times in a row.")


def _check_readable(kind: str, name: str, frozen: Mapping[str, int]) -> None:
    if (damaged := frozen.get(name)) is not None:
        raise InvalidState(f"Row {damaged} of {kind} {name} cannot be read: the {kind} is frozen.")
