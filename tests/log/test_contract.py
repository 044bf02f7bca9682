"""What `umd.log.EventLog` promises, held by every implementation."""

import asyncio
from collections.abc import Sequence

import pytest

from tests.log.worlds import AT, START, STARTED, STOPPING, Witness, World, append, chained, row
from umd.domain import commands as c
from umd.domain import events as e
from umd.errors import Conflict, LogCorrupt, LogError, LogFailed, LogReadOnly, Overloaded, ShuttingDown
from umd.log import Appended, EventLog, Fact, Record, Unknown, chain
from umd.log.codec import decode_command
from umd.log.ledger import APPEND_BYTES_MAX, BATCH_ROWS_MAX

FUTURE = b'{"type" : "job.teleported",  "to": "Mars"}'


async def test_an_empty_log_begins_at_zero(world: World) -> None:
    log: EventLog = await world.open()

    assert (log.head, log.floor, await log.read()) == (0, 0, [])


# ------------------------------------------------------------------------------------------------- append


async def test_rows_are_numbered_in_the_log_and_in_their_stream(world: World) -> None:
    log = await world.open()

    first = await append(log, "job-1", 0, [STARTED, STOPPING])
    second = await append(log, "job-2", 0)
    third = await append(log, "job-1", first.last)

    assert (first, second, third) == (Appended(1, 3), Appended(4, 5), Appended(6, 7))
    assert log.head == 7
    rows = [(record.position, record.stream, record.version) for record in await log.read()]
    assert rows == [
        (1, "job-1", 1),
        (2, "job-1", 2),
        (3, "job-1", 3),
        (4, "job-2", 1),
        (5, "job-2", 2),
        (6, "job-1", 4),
        (7, "job-1", 5),
    ]


async def test_the_commands_row_comes_first_and_causes_its_events(world: World) -> None:
    log = await world.open()
    await append(log, "job-0")

    await log.append("job-1", 0, START, [STARTED, STOPPING], at=AT + 1, correlation="request-7", causation=2)

    command, *events = await log.read(after=2)
    assert (command.kind, command.type, command.causation) == ("command", "StartAttempt", 2)
    assert decode_command(command) == START
    assert [(event.kind, event.type, event.causation) for event in events] == [
        ("event", "job.started", 3),
        ("event", "job.stopping", 3),
    ]
    assert {(record.at, record.correlation) for record in (command, *events)} == {(AT + 1, "request-7")}


async def test_a_command_without_events_is_stored_alone(world: World) -> None:
    log = await world.open()

    assert await append(log, events=[]) == Appended(1, 1)


@pytest.mark.parametrize("expected", [0, 1, 3, 99])
async def test_a_stream_that_has_moved_on_is_a_conflict(world: World, expected: int) -> None:
    log = await world.open()
    await append(log, "job-1", 0)

    with pytest.raises(Conflict):
        await append(log, "job-1", expected)

    assert log.head == 2
    assert await append(log, "job-1", 2) == Appended(3, 4)


async def test_a_conflict_inside_a_batch_is_told_when_the_winners_rows_are_known(world: World) -> None:
    witness = Witness()
    log = await world.open(witness)
    known: list[int] = []

    async def lose() -> None:
        with pytest.raises(Conflict):
            await append(log, "job-1", 0)
        known.append(len(witness.facts))

    await asyncio.gather(append(log, "job-1", 0), lose(), lose(), append(log, "job-2", 0))

    assert known == [4, 4]
    assert log.head == 4


async def test_a_hundred_appenders_on_their_own_streams(world: World) -> None:
    log = await world.open()

    async def appender(stream: str) -> list[Appended]:
        done: list[Appended] = []
        for _ in range(5):
            done.append(await append(log, stream, done[-1].last if done else 0))
        return done

    answers = await asyncio.gather(*(appender(f"job-{number}") for number in range(100)))

    records = await log.read(limit=2_000)
    assert [record.position for record in records] == list(range(1, 1_001))
    for number, done in enumerate(answers):
        own = await log.read(stream=f"job-{number}")
        assert [record.version for record in own] == list(range(1, 11))
        assert [record.position for record in own] == [p for a in done for p in (a.first, a.last)]


async def test_a_hundred_appenders_on_one_stream_wait_for_each_other(world: World) -> None:
    log = await world.open()
    conflicts = 0

    async def appender() -> Appended:
        nonlocal conflicts
        while True:
            try:
                return await append(log, "job-1", log.head)
            except Conflict:
                conflicts += 1

    answers = await asyncio.gather(*(appender() for _ in range(100)))

    assert sorted(answer.last for answer in answers) == list(range(2, 201, 2))
    assert [record.version for record in await log.read()] == list(range(1, 201))
    assert conflicts > 0


async def test_a_cancelled_appender_leaves_the_others_alone(world: World) -> None:
    log = await world.open()
    appends = [asyncio.create_task(append(log, f"job-{number}")) for number in range(9)]
    await asyncio.sleep(0)

    for task in appends[::3]:
        task.cancel()
    outcomes = await asyncio.gather(*appends, return_exceptions=True)

    assert [isinstance(outcome, asyncio.CancelledError) for outcome in outcomes] == [True, False, False] * 3
    assert await append(log, "job-9") == Appended(log.head - 1, log.head)
    assert [record.position for record in await log.read()] == list(range(1, log.head + 1))


async def test_an_append_may_fill_a_batch(world: World) -> None:
    log = await world.open()
    events = [STARTED] * (BATCH_ROWS_MAX - 1)

    answers = await asyncio.gather(*(append(log, f"job-{number}", 0, events) for number in range(3)))

    assert [answer.last for answer in answers] == [BATCH_ROWS_MAX * n for n in (1, 2, 3)]


async def test_the_number_of_waiting_appends_is_limited(world: World) -> None:
    log = await world.open(waiting_max=3)

    outcomes = await asyncio.gather(
        *(append(log, f"job-{number}") for number in range(5)), return_exceptions=True
    )

    assert [type(outcome) for outcome in outcomes] == [Appended] * 3 + [Overloaded] * 2
    assert (await append(log, "job-4")).first == 7


@pytest.mark.parametrize(
    ("stream", "correlation", "at", "events"),
    [
        ("job-\ud800", "request", AT, [STARTED]),
        ("job-1", "\udfff", AT, [STARTED]),
        ("job-1", "request", 2**63, [STARTED]),
        ("job-1", "request", AT, [STARTED] * BATCH_ROWS_MAX),
        ("job-1", "request", AT, [e.JobStarted(1, "x" * APPEND_BYTES_MAX)]),
        ("job-1", "request", AT, [e.JobStopping("explode")]),  # type: ignore[arg-type]  # outside its type
    ],
)
async def test_what_cannot_be_stored_and_read_again_is_refused_alone(
    world: World, stream: str, correlation: str, at: int, events: Sequence[e.Event]
) -> None:
    log = await world.open()

    _, refused, _ = await asyncio.gather(
        append(log, "job-2"),
        log.append(stream, 0, START, events, at=at, correlation=correlation),
        append(log, "job-3"),
        return_exceptions=True,
    )

    assert isinstance(refused, LogError)
    assert log.head == 4


async def test_every_row_is_hashed_over_the_one_before(world: World) -> None:
    log = await world.open()
    await asyncio.gather(*(append(log, f"job-{number}") for number in range(5)))

    records = await log.read()

    for previous, record in zip([chain.GENESIS, *(r.hash for r in records)], records, strict=False):
        chain.check(previous, record)


# --------------------------------------------------------------------------------------------------- read


async def test_rows_are_read_in_pages_of_all_streams_or_of_one(world: World) -> None:
    log = await world.open()
    for number in range(6):
        await append(log, f"job-{number % 2}", max(0, log.head - 2))

    def positions(records: list[Record]) -> list[int]:
        return [record.position for record in records]

    assert positions(await log.read(after=3, limit=4)) == [4, 5, 6, 7]
    assert positions(await log.read(after=10)) == [11, 12]
    assert positions(await log.read(after=12)) == []
    assert positions(await log.read(limit=0)) == []
    assert positions(await log.read(limit=-1)) == []
    assert positions(await log.read(stream="job-1")) == [3, 4, 7, 8, 11, 12]
    assert positions(await log.read(after=4, limit=2, stream="job-1")) == [7, 8]
    assert positions(await log.read(stream="job-2")) == []


# ---------------------------------------------------------------------------------------------- followers


async def test_followers_hear_every_row_once_in_order_before_the_append_returns(world: World) -> None:
    first, second = Witness(), Witness()
    log = await world.open(first, second)

    async def appender(stream: str) -> None:
        done = await append(log, stream)
        assert {done.first, done.last} <= set(first.positions)
        assert first.facts == second.facts

    await asyncio.gather(*(appender(f"job-{number}") for number in range(20)))

    assert first.positions == list(range(1, 41))
    assert first.records == await log.read()


async def test_followers_get_the_very_events_that_were_appended(world: World) -> None:
    witness = Witness()
    log = await world.open(witness)

    await append(log, events=[STARTED, STOPPING])

    command, started, stopping = (fact.event for fact in witness.facts)
    assert command is None
    assert started is STARTED
    assert stopping is STOPPING


async def test_the_head_is_durable_when_followers_hear_of_it(world: World) -> None:
    heads: list[int] = []
    log = await world.open(lambda facts: heads.append(log.head - facts[-1].record.position))

    await append(log)

    assert heads == [0]


async def test_a_follower_that_raises_fails_the_log(world: World) -> None:
    failures: list[LogFailed] = []

    def broken(facts: Sequence[Fact]) -> None:
        raise ZeroDivisionError

    log = await world.open(broken, on_failure=failures.append)

    outcomes = await asyncio.gather(append(log, "job-1"), append(log, "job-2"), return_exceptions=True)

    assert [type(outcome) for outcome in outcomes] == [LogFailed, LogFailed]
    with pytest.raises(LogFailed):
        await append(log, "job-3")
    assert [type(failure.__cause__) for failure in failures] == [ZeroDivisionError]
    assert len(await log.read()) == 4  # they were stored, and reading goes on


# ---------------------------------------------------------------------------------------------- lifecycle


async def test_a_log_goes_on_where_it_stopped(world: World) -> None:
    before, after = Witness(), Witness()
    log = await world.open(before)
    done = await append(log, "job-1", 0, [STARTED, STOPPING])
    await append(log, "job-2", 0)

    log = await world.open(after)

    assert after.facts == before.facts
    assert log.head == 5
    with pytest.raises(Conflict):
        await append(log, "job-1", 0)
    assert await append(log, "job-1", done.last) == Appended(6, 7)
    assert [record.version for record in await log.read(stream="job-1")] == [1, 2, 3, 4, 5]


async def test_stop_stores_what_was_appended(world: World) -> None:
    log = await world.open()
    appends = [asyncio.create_task(append(log, f"job-{number}")) for number in range(50)]
    await asyncio.sleep(0)

    await log.stop()

    assert [(await task).last for task in appends] == list(range(2, 101, 2))
    log = await world.open()
    assert log.head == 100


async def test_stop_may_be_called_twice_at_once_and_again(world: World) -> None:
    log = await world.open()
    await append(log)

    await asyncio.gather(log.stop(), log.stop())
    await log.stop()


async def test_stop_goes_on_when_its_caller_is_cancelled(world: World) -> None:
    log = await world.open()
    await append(log)
    stop = asyncio.create_task(log.stop())
    await asyncio.sleep(0)

    stop.cancel()
    await asyncio.gather(stop, return_exceptions=True)

    log = await world.open()
    assert log.head == 2


async def test_a_log_is_open_between_start_and_stop(world: World) -> None:
    log = await world.open()
    await log.stop()

    with pytest.raises(ShuttingDown):
        await append(log)
    with pytest.raises(LogError):
        await log.read()
    with pytest.raises(LogError):
        await log.start()


# ------------------------------------------------------------------------------------- what is stored there


async def test_an_unknown_type_is_kept_byte_for_byte(world: World) -> None:
    world.seed(chained(row(1), row(2, type="job.teleported", schema_version=3, data=FUTURE)))
    witness = Witness()

    log = await world.open(witness)
    await append(log, "job-1", 2)
    log = await world.open()

    assert witness.facts[0].event == STARTED
    assert witness.facts[1].event == Unknown("job.teleported", FUTURE)
    assert (await log.read())[1] == witness.records[1]


async def test_a_newer_shape_of_a_known_type_is_unknown(world: World) -> None:
    world.seed(chained(row(1, schema_version=2)))
    witness = Witness()

    await world.open(witness)

    assert isinstance(witness.facts[0].event, Unknown)


GOOD = chained(row(1), row(2), row(3, "job-2", 1), row(4))


@pytest.mark.parametrize(
    ("records", "position"),
    [
        pytest.param([*GOOD[:1], *GOOD[2:]], 2, id="a lost row"),
        pytest.param(chained(row(1), row(2, version=3)), 2, id="a version left out"),
        pytest.param(chained(row(1), row(2), row(4, version=3)), 3, id="a position left out"),
        pytest.param([*GOOD[:2], chained(row(3, "job-2", 1))[0]], 3, id="another chain"),
        *(
            pytest.param([GOOD[0], changed, *GOOD[2:]], 2, id=f"another {name}")
            for name, changed in (
                ("stream", row(2, "job-x", 1, hash=GOOD[1].hash)),
                ("kind", row(2, kind="command", hash=GOOD[1].hash)),
                ("type", row(2, type="job.x", hash=GOOD[1].hash)),
                ("schema version", row(2, schema_version=2, hash=GOOD[1].hash)),
                ("time", row(2, at=AT + 1, hash=GOOD[1].hash)),
                ("correlation", row(2, correlation="", hash=GOOD[1].hash)),
                ("causation", row(2, causation=1, hash=GOOD[1].hash)),
                ("data", row(2, data=b"{}", hash=GOOD[1].hash)),
                ("hash", row(2, hash=bytes(16))),
            )
        ),
    ],
)
async def test_a_damaged_log_is_read_up_to_the_damage_and_takes_nothing_more(
    world: World, records: list[Record], position: int
) -> None:
    world.seed(records)
    witness = Witness()

    log = await world.open(witness)

    assert log.corruption
    assert log.corruption.position == position
    assert log.head == position - 1
    assert await log.read() == witness.records == records[: position - 1]
    with pytest.raises(LogReadOnly, match=f"Row {position} "):
        await append(log, "job-new")


async def test_a_log_without_a_good_beginning_does_not_start(world: World) -> None:
    world.seed(GOOD[1:])

    with pytest.raises(LogCorrupt) as caught:
        await world.open()

    assert caught.value.position == 1


async def test_every_command_can_be_replayed(world: World) -> None:
    log = await world.open()
    command = c.ConfirmStopped("1", 3, e.Progress("downloading", 12.5))

    await log.append("job-1", 0, command, [], at=AT, correlation="request-1")

    assert [decode_command(record) for record in await log.read()] == [command]
