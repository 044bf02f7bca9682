"""Group commit and its failure policy, on a log whose store fails as it is told."""

import asyncio
from collections.abc import Sequence

import pytest

from tests.log.worlds import STARTED, Witness, append
from umd.errors import Conflict, LogFailed, Overloaded, StorageFull
from umd.log import Appended, Record
from umd.log.ledger import BATCH_ROWS_MAX
from umd.log.memory import MemoryLog
from umd.telemetry.records import Committed
from umd.telemetry.records import Record as Happened


class Failing(MemoryLog):
    """Raises `error` for each batch that has a row of the stream `job-bad`, before or after it is kept."""

    def __init__(self, error: Exception) -> None:
        self.failures: list[LogFailed] = []
        super().__init__(on_failure=self.failures.append)
        self.error: Exception | None = error
        self.batches: list[int] = []
        self.kept = asyncio.Event()
        self.told: asyncio.Event | None = None

    async def _store(self, records: Sequence[Record]) -> None:
        self.batches.append(len(records))
        if self.error and any(record.stream == "job-bad" for record in records):
            raise self.error
        await super()._store(records)
        self.kept.set()
        if self.told:
            await self.told.wait()


async def started(error: Exception) -> tuple[Failing, Witness]:
    witness = Witness()
    log = Failing(error)
    await log.start(witness)
    return log, witness


async def test_what_waits_is_stored_as_one_batch() -> None:
    log, _ = await started(StorageFull())

    await append(log, "job-0")
    await asyncio.gather(*(append(log, f"job-{number}") for number in range(1, 100)))
    await log.stop()

    assert log.batches == [2, 198]


async def test_each_batch_is_told_with_how_long_its_appends_waited() -> None:
    told: list[Happened] = []
    log = MemoryLog(on_commit=told.append)
    await log.start()

    await append(log, "job-0")
    await asyncio.gather(*(append(log, f"job-{number}") for number in range(1, 4)))
    await log.stop()

    batches = [record for record in told if isinstance(record, Committed)]
    assert [(batch.rows, len(batch.waited_sec)) for batch in batches] == [(2, 1), (6, 3)]
    assert all(0 <= waited_sec < 5 for batch in batches for waited_sec in batch.waited_sec)


@pytest.mark.parametrize("error", [StorageFull("No space."), Overloaded("Locked.")])
async def test_a_batch_for_which_there_was_no_space_is_refused_and_the_next_is_tried(
    error: StorageFull | Overloaded,
) -> None:
    log, witness = await started(error)

    outcomes = await asyncio.gather(append(log, "job-bad"), append(log, "job-1"), return_exceptions=True)

    assert [type(outcome) for outcome in outcomes] == [type(error), type(error)]
    assert outcomes[0] is not outcomes[1]
    assert (log.head, witness.facts, log.failures) == (0, [], [])
    log.error = None
    assert await append(log, "job-bad") == Appended(1, 2)
    await log.stop()


async def test_a_conflict_with_unknown_rows_is_only_the_guiltys() -> None:
    log, witness = await started(Conflict("Taken."))

    outcomes = await asyncio.gather(
        *(append(log, stream) for stream in ("job-1", "job-bad", "job-2")), return_exceptions=True
    )

    assert outcomes[0] == Appended(1, 2)
    assert isinstance(outcomes[1], Conflict)
    assert outcomes[2] == Appended(3, 4)
    assert witness.positions == [1, 2, 3, 4]
    await log.stop()


async def test_any_other_error_fails_the_log_for_good() -> None:
    log, witness = await started(OSError(5, "Input/output error"))

    outcomes = await asyncio.gather(append(log, "job-bad"), append(log, "job-1"), return_exceptions=True)
    with pytest.raises(LogFailed):
        await append(log, "job-2")

    assert [type(outcome) for outcome in outcomes] == [LogFailed, LogFailed]
    assert [type(failure.__cause__) for failure in log.failures] == [OSError]
    assert witness.facts == []
    assert await log.read() == []
    await log.stop()


async def test_appends_that_wait_when_the_log_fails_are_told() -> None:
    log, _ = await started(OSError(5, "Input/output error"))
    batch = asyncio.create_task(append(log, "job-bad"))
    await asyncio.sleep(0)
    log._wake.clear()  # the writer has its batch; what comes now waits for the next
    waits = asyncio.create_task(append(log, "job-1"))

    outcomes = await asyncio.gather(batch, waits, return_exceptions=True)

    assert [type(outcome) for outcome in outcomes] == [LogFailed, LogFailed]
    await log.stop()


async def test_a_batch_has_a_bound() -> None:
    log, _ = await started(StorageFull())
    events = [STARTED] * (BATCH_ROWS_MAX // 3)

    await asyncio.gather(*(append(log, f"job-{number}", 0, events) for number in range(7)))
    await log.stop()

    assert sum(log.batches) == 7 * (len(events) + 1)
    assert max(log.batches) <= BATCH_ROWS_MAX


async def test_rows_of_which_no_follower_has_heard_are_not_read() -> None:
    log, witness = await started(StorageFull())
    log.told = asyncio.Event()
    appending = asyncio.create_task(append(log))
    await log.kept.wait()

    assert (log.head, witness.facts, await log.read()) == (0, [], [])

    log.told.set()
    await appending
    assert len(await log.read()) == 2
    await log.stop()


async def test_a_cancelled_writer_leaves_nobody_waiting() -> None:
    log, _ = await started(StorageFull())
    appends = [asyncio.create_task(append(log, f"job-{number}")) for number in range(3)]
    await asyncio.sleep(0)
    assert log._writer

    log._writer.cancel()
    outcomes = await asyncio.gather(*appends, return_exceptions=True)

    assert [type(outcome) for outcome in outcomes] == [LogFailed] * 3
    await log.stop()
