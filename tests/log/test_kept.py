"""Snapshots, the floor and what crashes in between, held by every implementation."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import count, pairwise
from typing import Any

import msgspec
import pytest
import structlog

from tests.log.worlds import SqliteWorld, Witness, World, append, chained
from tests.projections.test_models import assert_same, folded
from tests.random_histories import BEGINNING, History
from umd.clock import SECOND
from umd.domain.events import JobStarted
from umd.errors import LogCorrupt, StorageFull
from umd.log import Fact, Record
from umd.log.kept import KeptLog
from umd.log.reader import Filter, opened
from umd.log.sqlite import SqliteLog
from umd.log.verify import Report, verify
from umd.projections.models import Models

RECORDS = History(11).go_on(400).records
CUT = next(record.position - 1 for record in RECORDS[len(RECORDS) // 2 :] if record.kind == "command")
OLD = RECORDS[CUT // 2].at
"""All rows before this time are above a quarter of the rows, and below the cut."""


class OtherCode(Models):
    """The models of another release."""

    @property
    def code(self) -> str:
        return "other"


async def half(world: World) -> KeptLog:
    """A log with the first half of the rows, and a snapshot of them."""
    world.seed(RECORDS[:CUT])
    log = await world.open(models=Models())
    assert await log.put_by()
    return log


async def rest(world: World, models: Models | None = None) -> tuple[KeptLog, Models, Witness]:
    """The same with all rows, opened again, with what was told beside."""
    await world.close()
    world.insert(RECORDS[CUT:])
    return await again(world, models)


async def again(world: World, models: Models | None = None) -> tuple[KeptLog, Models, Witness]:
    models, witness = models or Models(), Witness()
    return await world.open(witness, models=models), models, witness


# ---------------------------------------------------------------------------------------------- snapshots


async def test_a_start_takes_a_snapshot_up_and_is_told_what_follows(world: World) -> None:
    await half(world)

    log, models, witness = await rest(world)

    assert witness.positions[0] > CUT
    assert (log.head, log.snapshot_at, log.floor) == (len(RECORDS), CUT, 0)
    assert_same(models, folded(RECORDS))
    stream = RECORDS[0].stream  # one that the snapshot alone has told of
    last = [row.position for row in RECORDS if row.stream == stream][-1]
    await append(log, stream, last)


async def test_nothing_new_is_put_by_twice(world: World) -> None:
    log = await half(world)

    assert not await log.put_by()


@pytest.mark.parametrize("why", ["damaged", "foreign", "other code"])
async def test_a_snapshot_that_cannot_be_used_is_ignored(world: World, why: str) -> None:
    log = await half(world)
    models: Models = Models()
    if why == "damaged":
        await world.close()
        world.spoil(CUT)
    elif why == "foreign":
        [head] = await log._heads()
        await log._put_head(msgspec.structs.replace(head, position=CUT + 2))
    else:
        models = OtherCode()

    with structlog.testing.capture_logs() as logged:
        log, models, witness = await rest(world, models)

    before = CUT if why == "foreign" else 0  # where the last good one stands
    assert (log.snapshot_at, witness.positions[0]) == (before, witness.positions[0])
    assert before < witness.positions[0] <= before + 2
    assert "log.snapshot_ignored" in [line["event"] for line in logged]
    assert_same(models, folded(RECORDS))


async def test_a_snapshot_stands_for_nothing_that_is_damaged(disk: SqliteWorld) -> None:
    """The newest rows are verified at a start, those that a snapshot has seen as well."""
    await half(disk)
    await disk.close()
    damage(disk, CUT - 7)

    log, models, _ = await again(disk)

    assert log.corruption
    assert log.corruption.position == log.head + 1 == CUT - 7
    assert_same(models, folded(RECORDS[: CUT - 8]))


async def test_a_log_with_an_event_of_a_newer_release_has_no_snapshot(world: World) -> None:
    world.seed(chained(RECORDS[0], msgspec.structs.replace(RECORDS[1], type="job.sung")))
    log = await world.open(models=Models())

    assert not await log.put_by()


def damage(disk: SqliteWorld, position: int) -> None:
    """Change a row behind the log's back."""
    change = f"UPDATE log SET at = 0 WHERE position = {position:d}"  # noqa: S608  # a number
    disk.execute("DROP TRIGGER log_is_append_only", change)


# -------------------------------------------------------------------------------------------------- floor


async def pruned(world: World) -> KeptLog:
    await half(world)
    log, _, _ = await rest(world)
    assert await log.raise_floor(OLD)
    while await log.sweep():
        pass
    return log


async def test_a_pruned_log_tells_the_same(world: World) -> None:
    log = await pruned(world)

    assert 0 < log.floor < CUT
    assert world.rows() == len(RECORDS) - log.floor
    assert [record.position for record in await log.read(0, 1)] == [log.floor + 1]
    floor = log.floor
    log, models, _ = await again(world)
    assert (log.floor, log.head) == (floor, len(RECORDS))
    assert_same(models, folded(RECORDS))


async def test_without_the_newest_snapshot_the_base_is_taken_up(world: World) -> None:
    log = await pruned(world)
    floor = log.floor

    log, models, witness = await again(world, OtherCode())

    assert (log.snapshot_at, witness.positions[0]) == (floor, witness.positions[0])
    assert floor < witness.positions[0] <= floor + 2
    assert_same(models, folded(RECORDS))


async def test_a_snapshot_leaves_the_pruned_rows_to_the_sweeping(world: World) -> None:
    """That rests between its steps; a snapshot that swept first would have kept all others off the disk."""
    await half(world)
    log, _, _ = await rest(world)
    assert await log.raise_floor(OLD)

    assert await log.put_by()

    assert world.rows() == len(RECORDS)


async def test_the_floor_stays_below_what_is_young(world: World) -> None:
    log = await pruned(world)

    assert all(record.at < OLD for record in RECORDS[: log.floor])
    assert RECORDS[log.floor].at >= OLD


async def test_the_floor_cuts_no_append_and_stays_below_the_snapshot(world: World) -> None:
    log = await half(world)

    assert await log.raise_floor(RECORDS[-1].at + 1)

    [first] = await log.read(0, 1)
    assert (first.kind, first.position) == ("command", log.floor + 1)
    assert CUT - 10 < log.floor < CUT == log.snapshot_at


async def test_the_floor_rises_step_by_step(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("umd.log.kept.RISE_ROWS_MAX", 50)
    log = await half(world)
    floors = [0]

    while await log.raise_floor(OLD):
        floors.append(log.floor)

    assert len(floors) > 2
    assert all(0 < after - before <= 50 for before, after in pairwise(floors))
    _, models, _ = await again(world, OtherCode())
    assert_same(models, folded(RECORDS[:CUT]))


@pytest.mark.parametrize("slice_rows", [1, 20])
async def test_the_floor_rises_in_slices(
    world: World, monkeypatch: pytest.MonkeyPatch, slice_rows: int
) -> None:
    """Whoever appends meanwhile waits for one slice; only an append that is longer is one by itself."""
    monkeypatch.setattr("umd.log.kept.SLICE_ROWS", slice_rows)
    log = await half(world)
    slices: list[list[Record]] = []

    class Watched(Models):
        def apply(self, facts: Sequence[Fact]) -> None:
            slices.append([fact.record for fact in facts])
            super().apply(facts)

    monkeypatch.setattr(log._models, "fresh", Watched)
    assert await log.raise_floor(RECORDS[-1].at)

    assert [row for rows in slices for row in rows] == RECORDS[: log.floor]
    assert CUT - 10 < log.floor < CUT
    for rows in slices:
        assert len(rows) <= slice_rows or sum(row.kind == "command" for row in rows) == 1


async def test_what_the_floor_rises_from_is_filled_in_little_by_little(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("umd.log.kept.SLICE_ITEMS", 3)
    log = await pruned(world)
    assert await log.put_by()
    filled: list[int] = []

    class Watched(Models):
        def fill(self, section: str, items: Sequence[Any]) -> None:
            filled.append(len(items))
            super().fill(section, items)

    monkeypatch.setattr(log._models, "fresh", Watched)
    assert await log.raise_floor(RECORDS[-1].at)

    assert max(filled) == 3
    _, models, _ = await again(world, OtherCode())
    assert_same(models, folded(RECORDS))


async def test_the_copy_that_the_floor_rises_by_is_let_go_of_little_by_little(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Freed in one go, what is known of many jobs would hold everybody up."""
    monkeypatch.setattr("umd.projections.models.FORGOTTEN_AT_ONCE", 5)
    log = await half(world)
    copy = Models()
    monkeypatch.setattr(log._models, "fresh", lambda: copy)

    assert await log.raise_floor(RECORDS[-1].at)

    assert not copy.forget()
    assert copy.jobs.in_creation_order() == []
    assert copy.files.stored() == []


async def test_the_floor_rises_again_from_where_it_is(world: World) -> None:
    log = await pruned(world)
    before = log.floor
    assert await log.put_by()

    assert await log.raise_floor(RECORDS[-1].at)
    while await log.sweep():
        pass

    assert before < log.floor < log.head
    _, models, _ = await again(world, OtherCode())
    assert_same(models, folded(RECORDS))


async def test_the_floor_never_passes_a_row_that_cannot_be_read(world: World) -> None:
    newer = [msgspec.structs.replace(row, type="job.sung") if row.position == 100 else row for row in RECORDS]
    assert newer[99].kind == "event"
    world.seed(chained(*newer))
    log = await world.open(models=Models())
    log._snapshot_at = log.head  # as a release has left it that could read the row

    await log.raise_floor(RECORDS[-1].at)

    assert 90 < log.floor < 100


async def test_a_log_whose_base_is_damaged_says_so_clearly(world: World) -> None:
    log = await pruned(world)
    floor = log.floor
    await world.close()
    world.spoil(floor)

    with pytest.raises(LogCorrupt, match=f"up to {floor} are pruned"):
        await again(world, OtherCode())


async def test_a_damaged_row_is_not_pruned(disk: SqliteWorld) -> None:
    disk.seed(RECORDS)
    log = await disk.open(models=Models())
    await log.put_by()
    damage(disk, 50)

    with pytest.raises(LogCorrupt):
        await log.raise_floor(RECORDS[-1].at)

    assert log.corruption
    assert (log.corruption.position, log.floor) == (50, 0)


async def test_a_pruned_log_is_verified_from_its_floor(disk: SqliteWorld) -> None:
    log = await pruned(disk)
    with opened(disk.directory) as reader:
        report = verify(reader)
        assert (report.position, report.floor) == (len(RECORDS), log.floor)
        assert report.streams == log.streams
        assert reader.row(log.floor) is None
        assert next(reader.rows()).position == log.floor + 1
        assert next(reader.rows(Filter(after=log.floor + 5))).position == log.floor + 6
    await disk.close()
    disk.spoil(log.floor)

    with opened(disk.directory) as reader, pytest.raises(LogCorrupt) as caught:
        verify(reader)

    assert caught.value.position == log.floor


async def test_a_log_that_is_pruned_while_it_is_verified_is_whole(disk: SqliteWorld) -> None:
    await half(disk)
    log, _, _ = await rest(disk)
    with opened(disk.directory) as reader:
        assert reader.floor == 0
        await log.raise_floor(OLD)
        while await log.sweep():
            pass

        assert verify(reader).floor == log.floor > 0


@pytest.mark.parametrize("read", range(1, 18, 4))
async def test_a_log_is_verified_in_short_reads_between_which_it_may_be_pruned(
    disk: SqliteWorld, monkeypatch: pytest.MonkeyPatch, read: int
) -> None:
    """A long read would keep a running service from cutting its write-ahead log."""
    page_rows = 60
    monkeypatch.setattr("umd.log.verify.PAGE_ROWS", page_rows)
    await half(disk)
    log, _, _ = await rest(disk)
    loop = asyncio.get_running_loop()
    spans: list[int] = []

    async def prune() -> None:
        assert await log.raise_floor(OLD)
        while await log.sweep():
            pass

    def verified() -> Report:
        with opened(disk.directory) as reader:
            fetch = reader._fetch

            def watched(query: str, values: dict[str, int], after: int = 0) -> list[tuple[Any, ...]]:
                if "until" in values:
                    spans.append(min(values.get("limit", len(RECORDS)), values["until"] - values["after"]))
                if len(spans) == read and not log.floor:
                    asyncio.run_coroutine_threadsafe(prune(), loop).result(60)
                return fetch(query, {**values}, after)

            monkeypatch.setattr(reader, "_fetch", watched)
            return verify(reader)

    report = await asyncio.to_thread(verified)

    assert (report.position, report.floor) == (len(RECORDS), log.floor)
    assert log.floor > 0
    assert max(spans) <= page_rows


async def test_the_older_rows_are_verified_from_the_floor_on(disk: SqliteWorld) -> None:
    await pruned(disk)
    log = await disk.open(models=Models(), verified_at_start_rows=10)
    [verifier] = [task for task in asyncio.all_tasks() if task.get_name() == "log-verifier"]

    await asyncio.wait_for(verifier, 5)

    assert log.corruption is None
    assert log.floor > 0


# ------------------------------------------------------------------------------------------------ crashes


class Killed(Exception):
    """The process ends here."""


STEPS = ("_put_part", "_put_head", "_put_floor", "_drop", "sweep")


@pytest.mark.parametrize("deed", ["put_by", "raise_floor"])
async def test_a_crash_between_any_two_steps_loses_nothing(world: World, deed: str) -> None:
    await half(world)
    await rest(world)
    for survived in range(100):
        log, models, _ = await again(world, OtherCode() if deed == "put_by" and survived % 2 else Models())
        assert log.head == len(RECORDS)
        assert_same(models, folded(RECORDS))
        die_after(log, survived)
        try:
            await (log.raise_floor(OLD) if deed == "raise_floor" else log.put_by())
            while await log.sweep():
                pass
        except Killed:
            continue
        break

    assert survived > 3
    log, models, _ = await again(world)
    assert (log.floor > 0) is (deed == "raise_floor")
    assert_same(models, folded(RECORDS))


def die_after(log: KeptLog, steps: int) -> None:
    left = [steps]

    def dying(step: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def step_or_die(*arguments: object) -> object:
            if left[0] == 0:
                raise Killed
            left[0] -= 1
            return await step(*arguments)

        return step_or_die

    for name in STEPS:
        setattr(log, name, dying(getattr(log, name)))


# ------------------------------------------------------------------------------------------ space and WAL


async def test_a_full_volume_refuses_upkeep_and_leaves_the_reserve_to_the_log(
    disk: SqliteWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk.seed(RECORDS)
    log = await disk.open(models=Models())
    released: list[bool] = []

    def release() -> bool:
        released.append(True)
        return False

    monkeypatch.setattr(log._ballast, "release", release)
    [[pages]] = await log._writing.execute_fetchall("PRAGMA page_count")
    await log._writing.execute_fetchall(f"PRAGMA max_page_count = {pages}")

    with pytest.raises(StorageFull):
        await log.put_by()

    assert released == []
    await log._writing.execute_fetchall("PRAGMA max_page_count = 100000")
    assert await log.put_by()
    _, models, _ = await again(disk)
    assert_same(models, folded(RECORDS))


async def test_pruned_pages_go_back_to_the_volume(disk: SqliteWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("umd.log.shelf.PAGES_FREE_MAX", 4)
    await pruned(disk)
    log = disk.log
    log._returned_pages = 8
    slow_disk(log, monkeypatch, 0.008)
    await log._run("PRAGMA wal_checkpoint(TRUNCATE)")
    before = log.database_bytes
    steps = 0

    while await log.give_back():
        steps += 1
    await log._run("PRAGMA wal_checkpoint(TRUNCATE)")

    assert log.database_bytes < before
    [[free]] = await log._write_rows("PRAGMA freelist_count")
    assert free <= 4
    assert steps > 1


def slow_disk(log: SqliteLog, monkeypatch: pytest.MonkeyPatch, sec: float) -> None:
    """Let everything that is written take so long, as the log sees it."""
    times = count(1)
    monkeypatch.setattr(log, "_time", lambda: next(times) * sec)


async def test_a_step_of_upkeep_is_smaller_on_a_slow_disk(
    disk: SqliteWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However slow the disk is: an append waits for one step, and that is bounded by its time."""
    await half(disk)
    log, _, _ = await rest(disk)
    assert await log.raise_floor(OLD)
    disk.log._swept_rows = 40
    left = [disk.rows()]

    for sec in (0.1, 0.1, 0.1, 0.001, 0.001, 0.001):
        slow_disk(disk.log, monkeypatch, sec)
        assert await log.sweep()
        left.append(disk.rows())

    assert [before - after for before, after in pairwise(left)] == [40, 8, 8, 8, 16, 32]


async def test_readers_that_never_pause_do_not_keep_the_wal_growing(
    disk: SqliteWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At every moment one of two readers is in the middle of a read, so SQLite cannot begin the WAL anew."""
    monkeypatch.setattr("umd.log.shelf.WAL_BYTES_MAX", 200_000)
    log = await disk.open()
    largest = 0
    with opened(disk.directory) as first, opened(disk.directory) as second:
        reading: Sequence[Any] = [first._connection, second._connection]
        reading[0].execute("BEGIN").execute("SELECT * FROM log LIMIT 1").fetchall()
        for number in range(60):
            reading[1].execute("BEGIN").execute("SELECT * FROM log LIMIT 1").fetchall()
            reading[0].execute("COMMIT")
            reading = reading[::-1]
            await append(log, f"job-{number}", 0, [JobStarted(1, "x" * 10_000)])
            await log.cut_wal()
            largest = max(largest, log.wal_bytes)
        reading[0].execute("COMMIT")
        assert await log.cut_wal() or log.wal_bytes <= 200_000

    assert log.wal_bytes <= 200_000
    assert log.head == 120


def test_the_history_is_old_enough_to_be_cut_in_the_middle() -> None:
    assert BEGINNING < OLD < RECORDS[CUT].at
    assert RECORDS[-1].at - BEGINNING > 3_600 * SECOND
