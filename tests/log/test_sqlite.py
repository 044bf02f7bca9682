"""What only the log on disk does: locks, crashes, rot, full volumes, migrations."""

import asyncio
import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.log.worlds import AT, SqliteWorld, append, chained, row
from umd.domain.events import JobStarted
from umd.errors import (
    Conflict,
    LogCorrupt,
    LogError,
    LogFailed,
    LogLocked,
    LogReadOnly,
    Overloaded,
    StorageFull,
)
from umd.log import Appended, Record, database, gil
from umd.log.sqlite import SqliteLog

ROOT = Path(__file__).parents[2]


# ------------------------------------------------------------------------------------------------- files


async def test_a_new_log_has_the_pragmas_and_the_newest_schema(disk: SqliteWorld) -> None:
    await disk.open()
    await disk.close()

    assert disk.value("PRAGMA journal_mode") == "wal"
    assert disk.value("PRAGMA auto_vacuum") == 2  # incremental
    assert disk.value("PRAGMA user_version") == len(database.migrations())


async def test_the_writer_waits_for_the_disk(disk: SqliteWorld) -> None:
    log = await disk.open()

    [[level]] = await log._writing.execute_fetchall("PRAGMA synchronous")

    assert level == 2  # full


async def test_nobody_else_can_read_the_files(disk: SqliteWorld) -> None:
    log = await disk.open()
    await append(log)

    modes = {path.name: path.stat().st_mode & 0o777 for path in disk.directory.iterdir()}

    assert set(modes) >= {"log.sqlite3", "log.sqlite3-wal", "log.lock", "log.mark"}
    assert set(modes.values()) == {0o600}


async def test_the_reading_connection_cannot_write(disk: SqliteWorld) -> None:
    log = await disk.open()

    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        await log._reading.execute_fetchall("DELETE FROM log")


async def test_rows_are_never_changed(disk: SqliteWorld) -> None:
    await append(await disk.open())
    await disk.close()

    with pytest.raises(sqlite3.IntegrityError, match="never changed"):
        disk.execute("UPDATE log SET at = 0")


async def test_no_thread_outlives_stop(disk: SqliteWorld) -> None:
    before = set(threading.enumerate())
    await append(await disk.open())
    during = set(threading.enumerate()) - before

    await disk.close()

    assert during
    for thread in during:
        thread.join(timeout=5)
        assert not thread.is_alive()


def test_migrations_are_numbered_from_one() -> None:
    names = sorted(path.name for path in (ROOT / "umd/log/migrations").glob("*.sql"))

    assert [int(name.partition("_")[0]) for name in names] == list(range(1, len(names) + 1))
    assert len(database.migrations()) == len(names)


async def test_a_database_of_a_newer_release_is_refused(disk: SqliteWorld) -> None:
    await disk.open()
    await disk.close()
    disk.execute("PRAGMA user_version = 999")

    with pytest.raises(LogError, match="schema 999, of a newer release"):
        await disk.open()


async def test_a_migration_that_fails_leaves_nothing(
    disk: SqliteWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripts = [*database.migrations(), "CREATE TABLE half (a); CREATE TABLE log (again);"]
    monkeypatch.setattr(database, "migrations", lambda: scripts)

    with pytest.raises(LogError, match="already exists"):
        await disk.open()

    assert disk.value("PRAGMA user_version") == len(scripts) - 1
    assert disk.value("SELECT count(*) FROM sqlite_schema WHERE name = 'half'") == 0


async def test_a_file_that_is_no_database_is_refused(disk: SqliteWorld) -> None:
    disk.directory.mkdir()
    disk.database.write_text("This is a letter to my aunt. " * 200)

    with pytest.raises(LogCorrupt):
        await disk.open()


# -------------------------------------------------------------------------------------------------- lock


async def test_a_second_log_in_the_same_process_is_locked_out(disk: SqliteWorld) -> None:
    log = await disk.open()
    other = SqliteLog(disk.directory)

    with pytest.raises(LogLocked, match=str(os.getpid())):
        await other.start()

    await other.stop()
    await append(log)
    await disk.close()
    other = SqliteLog(disk.directory)
    await other.start()
    await other.stop()


async def test_a_log_of_another_process_is_locked_out(disk: SqliteWorld) -> None:
    with writing_process(disk.directory, "other") as process:
        assert process.stdout
        process.stdout.readline()

        with pytest.raises(LogLocked, match=f"process {process.pid}"):
            await disk.open()

        process.kill()
        process.wait()
    await SqliteWorld(disk.directory).open()


@pytest.mark.parametrize("appends", [0, 1])
async def test_a_log_whose_lock_was_taken_away_is_fenced(disk: SqliteWorld, appends: int) -> None:
    failures: list[LogFailed] = []
    late = await disk.open(on_failure=failures.append)
    for number in range(appends):
        await append(late, f"job-{number}")
    (disk.directory / "log.lock").unlink()
    acked = said_by("-m", "tests.log.acked", str(disk.directory), "1").splitlines()

    with pytest.raises(LogFailed, match="taken"):
        await append(late, "late")

    assert len(failures) == 1
    assert len(acked) == 5
    assert look_from_outside(disk, "SELECT count(*) FROM log") == 2 * (appends + len(acked))


@pytest.mark.parametrize("opened", ["for the first time", "again"])
async def test_who_looks_at_an_open_log_takes_nothing_away(disk: SqliteWorld, opened: str) -> None:
    """The last connection to a database removes its write-ahead log, and another process must not be it."""
    log = await disk.open()
    if opened == "again":
        log = await disk.open()
    await append(log, "job-1")
    assert look_from_outside(disk, "SELECT count(*) FROM log") == 2

    await append(log, "job-2")

    assert look_from_outside(disk, "SELECT count(*) FROM log") == 4


def look_from_outside(disk: SqliteWorld, query: str) -> int:
    """What another process is told, one that opens the database as if it might write."""
    program = (
        "import contextlib, sqlite3, sys\n"
        "with contextlib.closing(sqlite3.connect(sys.argv[1])) as connection:\n"
        "    [[value]] = connection.execute(sys.argv[2])\n"
        "print(value)"
    )
    return int(said_by("-c", program, str(disk.directory / "log.sqlite3"), query))


def said_by(*arguments: str) -> bytes:
    """What another Python process wrote until its end."""
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True, timeout=60).stdout


async def test_a_log_stands_by_until_the_other_one_ends(disk: SqliteWorld) -> None:
    first = await disk.open()
    await append(first)
    second = SqliteLog(disk.directory)
    waiting = asyncio.create_task(second.stand_by())
    await asyncio.wait([waiting], timeout=0.5)
    assert not waiting.done()

    await first.stop()
    await asyncio.wait_for(waiting, 5)
    await second.start()

    assert second.head == 2
    await second.stop()


async def test_a_start_that_fails_gives_everything_back(disk: SqliteWorld) -> None:
    threads = threading.active_count()
    disk.seed([row(1)])
    with pytest.raises(LogCorrupt):
        await disk.open()
    disk.execute("DELETE FROM log")

    await SqliteWorld(disk.directory).open()

    assert threading.active_count() <= threads + 2


# ------------------------------------------------------------------------------------------------- crash


def writing_process(directory: Path, name: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.log.killed", str(directory), name], cwd=ROOT, stdout=subprocess.PIPE
    )


async def test_a_killed_process_loses_nothing_that_was_answered(disk: SqliteWorld) -> None:
    answered: set[tuple[str, int]] = set()
    for number, acknowledged in enumerate((1, 2, 30, 77, 150, 400, 401, 640, 900, 1_500)):
        with writing_process(disk.directory, f"job-{number}") as process:
            assert process.stdout
            lines = [process.stdout.readline() for _ in range(acknowledged)]
            process.kill()
            lines += process.stdout.readlines()
        answered |= {
            (stream, int(position)) for stream, position in (line.decode().split() for line in lines)
        }

        records = await records_of(disk)

        assert answered <= {(record.stream, record.position) for record in records}
        assert [record.position for record in records] == list(range(1, len(records) + 1))


# --------------------------------------------------------------------------------------------------- rot


async def test_a_flipped_byte_in_a_row_is_found(disk: SqliteWorld) -> None:
    log = await disk.open()
    for number in range(9):
        await append(log, f"job-{number}", 0, [JobStarted(number, "2026.10.26")])
    await disk.close()
    image = disk.database.read_bytes()
    assert image.count(b'"attempt":4') == 1
    disk.database.write_bytes(image.replace(b'"attempt":4', b'"attempt":5'))

    assert await damage(disk) == 10


async def test_no_flipped_bit_changes_what_a_log_says(disk: SqliteWorld, tmp_path: Path) -> None:
    log = await disk.open()
    await asyncio.gather(*(append(log, f"job-{number}") for number in range(30)))
    await disk.close()
    original = await records_of(disk)
    image = disk.database.read_bytes()

    for number in range(100):
        rotten = bytearray(image)
        rotten[number * 7_919 % len(image)] ^= 1 << number % 8
        world = SqliteWorld(tmp_path / str(number))
        world.directory.mkdir()
        world.database.write_bytes(rotten)
        with contextlib.suppress(LogError):
            rows = await records_of(world)
            found = await damage(world)
            await world.close()
            assert rows == original if found is None else rows in (original, original[: found - 1])


async def test_text_that_is_no_text_is_found(disk: SqliteWorld) -> None:
    disk.seed(chained(*(row(number, f"job-{number}", 1) for number in range(1, 8))))
    disk.execute(
        "DROP TRIGGER log_is_append_only; UPDATE log SET correlation = CAST(x'FF' AS TEXT) WHERE position = 6"
    )

    assert await damage(disk) == 6


async def test_rows_before_the_newest_are_verified_while_the_log_serves(disk: SqliteWorld) -> None:
    disk.seed(chained(*(row(number, f"job-{number}", 1) for number in range(1, 2_501))))
    disk.execute("DROP TRIGGER log_is_append_only; UPDATE log SET at = 0 WHERE position = 333")
    failed: asyncio.Future[LogFailed] = asyncio.get_running_loop().create_future()

    log = await disk.open(on_failure=failed.set_result, verified_at_start_rows=100)
    assert await append(log, "job-1", 1) == Appended(2_501, 2_502)
    failure = await asyncio.wait_for(failed, 5)

    assert isinstance(failure.__cause__, LogCorrupt)
    assert failure.__cause__.position == 333
    with pytest.raises(LogReadOnly, match="333"):
        await append(log, "job-2", 2)
    assert log.corruption
    assert log.corruption.position == 333
    assert len(await log.read(limit=3_000)) == 2_502


async def test_a_long_log_that_is_whole_is_verified_and_serves_on(disk: SqliteWorld) -> None:
    disk.seed(chained(*(row(number, f"job-{number}", 1) for number in range(1, 2_501))))

    log = await disk.open(verified_at_start_rows=100)
    [verifier] = [task for task in asyncio.all_tasks() if task.get_name() == "log-verifier"]
    await asyncio.wait_for(verifier, 5)

    assert await append(log, "job-1", 1) == Appended(2_501, 2_502)


@pytest.mark.parametrize("verified", [1, 2, 3, 4])
async def test_the_rows_that_a_start_verifies_may_begin_within_an_append(
    disk: SqliteWorld, verified: int
) -> None:
    """A command's row may be the last that is only read, and its event's the first that is verified."""
    log = await disk.open()
    for job in ("job-1", "job-2"):
        position = (await append(log, job)).last
        await append(log, job, position)

    log = await disk.open(verified_at_start_rows=verified)

    assert log.corruption is None
    assert await append(log, "job-2", 8) == Appended(9, 10)


async def test_a_lost_tail_is_found(disk: SqliteWorld) -> None:
    log = await disk.open()
    await append(log)
    await disk.close()
    disk.execute("DELETE FROM log WHERE position = 2")

    assert await damage(disk) == 2
    await disk.close()
    (disk.directory / "log.mark").unlink()  # as one does who put a backup in place
    assert (await SqliteWorld(disk.directory).open()).head == 1


async def test_a_rewritten_tail_is_found(disk: SqliteWorld) -> None:
    await append(await disk.open())
    await disk.close()
    [first, second] = await records_of(disk)
    disk.execute("DELETE FROM log WHERE position = 2")
    other = chained(first, msgspec.structs.replace(second, at=AT + 1))
    disk.insert(other[1:])

    assert await damage(disk) == 2
    assert len(await disk.log.read()) == 1


async def test_a_row_that_its_stream_does_not_find_is_found(disk: SqliteWorld) -> None:
    disk.seed(chained(*(row(number, f"job-{number}", 1) for number in range(1, 8))))
    image = disk.database.read_bytes()
    entry = b"job-5"
    places = [at for at in range(len(image)) if image.startswith(entry, at)]
    found = set()
    for at in places:
        rotten = bytearray(image)
        rotten[at] ^= 1
        disk.database.write_bytes(rotten)
        found.add(await damage(disk))
        await disk.close()

    assert len(places) == 2  # the row and its entry in the index
    assert found == {5}


async def test_a_flipped_bit_in_the_wal_is_found(disk: SqliteWorld, tmp_path: Path) -> None:
    log = await disk.open()
    for number in range(20):
        await append(log, f"job-{number}")
    crashed = SqliteWorld(tmp_path / "crashed")
    crashed.directory.mkdir()
    for name in ("log.sqlite3", "log.sqlite3-wal", "log.mark"):
        shutil.copy(disk.directory / name, crashed.directory)
    wal = crashed.directory / "log.sqlite3-wal"
    image = bytearray(wal.read_bytes())
    image[len(image) // 2] ^= 1
    wal.write_bytes(image)

    position = await damage(crashed)
    assert position
    assert 1 < position < 40
    await crashed.close()
    assert wal.read_bytes() == bytes(image), "what may be saved was written over"


async def test_a_missing_database_is_found(disk: SqliteWorld) -> None:
    await append(await disk.open())
    await disk.close()
    disk.database.unlink()

    with pytest.raises(LogCorrupt, match="missing"):
        await disk.open()

    assert not disk.database.exists()


async def test_a_torn_mark_is_no_obstacle(disk: SqliteWorld) -> None:
    await append(await disk.open())
    await disk.close()
    (disk.directory / "log.mark").write_text("0000000000")

    assert (await disk.open()).head == 2


async def damage(world: SqliteWorld) -> int | None:
    """The first bad position that a start finds."""
    log = await world.open()
    return log.corruption.position if log.corruption else None


async def records_of(world: SqliteWorld) -> list[Record]:
    """Every row that is stored, after a start."""
    log = await world.open()
    records: list[Record] = []
    while page := await log.read(len(records), 10_000):
        records += page
    await world.close()
    return records


# ------------------------------------------------------------------------------------------- full volume


async def test_a_full_database_refuses_and_recovers_unaided(disk: SqliteWorld) -> None:
    log = await disk.open()
    await log._writing.execute_fetchall("PRAGMA max_page_count = 50")

    with pytest.raises(StorageFull):
        await append_large(log, range(100))
    stored = log.head
    with pytest.raises(StorageFull):
        await append_large(log, range(100, 101))

    assert stored > 0
    assert len(await log.read()) == log.head == stored
    await log._writing.execute_fetchall("PRAGMA max_page_count = 100000")
    await append_large(log, range(100, 101))
    log = await disk.open()
    assert log.head == stored + 2


async def append_large(log: SqliteLog, numbers: range) -> None:
    for number in numbers:
        await append(log, f"job-{number}", 0, [JobStarted(1, "x" * 10_000)])


NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount"]


def namespaces() -> bool:
    """Whether this machine lets us mount a volume of our own."""
    try:
        probe = subprocess.run(
            [*NAMESPACE, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False
        )
    except OSError:
        return False
    return probe.returncode == 0


@pytest.mark.skipif(not namespaces(), reason="no mount namespace of our own here")
def test_a_full_volume_refuses_and_recovers_unaided(tmp_path: Path) -> None:
    subprocess.run(
        [*NAMESPACE, sys.executable, "-m", "tests.log.full_volume", str(tmp_path)], cwd=ROOT, check=True
    )


# ------------------------------------------------------------------------------------------ other errors


async def test_a_stream_with_rows_of_another_writer_is_a_conflict_of_its_own(disk: SqliteWorld) -> None:
    log = await disk.open()
    disk.execute(
        "INSERT INTO log VALUES (1000, 'job-1', 1, 'event', 'x', 1, 0, 'x', NULL, CAST('{}' AS BLOB), x'00')"
    )

    outcomes = await asyncio.gather(
        *(append(log, f"job-{number}") for number in range(3)), return_exceptions=True
    )

    assert outcomes[0] == Appended(1, 2)
    assert isinstance(outcomes[1], Conflict)
    assert outcomes[2] == Appended(3, 4)


async def test_a_database_that_another_process_keeps_locked_is_no_failure(disk: SqliteWorld) -> None:
    log = await disk.open()
    await log._writing.execute_fetchall("PRAGMA busy_timeout = 1")
    with contextlib.closing(sqlite3.connect(disk.database)) as connection:
        connection.execute("BEGIN IMMEDIATE")

        with pytest.raises(Overloaded):
            await append(log)

        connection.rollback()
    assert await append(log) == Appended(1, 2)


async def test_a_write_with_an_unknown_outcome_fails_the_log_for_good(disk: SqliteWorld) -> None:
    failures: list[LogFailed] = []
    log = await disk.open(on_failure=failures.append)
    await append(log)
    disk.execute("ALTER TABLE log RENAME TO hidden")

    with pytest.raises(LogFailed):
        await append(log, "job-2")

    disk.execute("ALTER TABLE hidden RENAME TO log")
    with pytest.raises(LogFailed):
        await append(log, "job-2")
    assert len(failures) == 1
    assert len(await log.read()) == 2


async def test_a_read_that_fails_is_an_error_of_the_log(disk: SqliteWorld) -> None:
    log = await disk.open()
    disk.execute("DROP TABLE log")

    with pytest.raises(LogError, match="no such table"):
        await log.read()


async def test_a_directory_that_cannot_be_made_is_an_error_of_the_log(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(LogError, match="cannot be read"):
        await SqliteLog(tmp_path / "file" / "log").start()


async def test_a_busy_loop_makes_way_for_the_databases_threads(
    disk: SqliteWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = await disk.open()
    shared: list[str] = []

    @contextlib.contextmanager
    def sharing() -> Iterator[None]:
        shared.append("begin")
        yield
        shared.append("end")

    monkeypatch.setattr(gil, "shared", sharing)
    await append(log)
    await log.read()

    assert shared == ["begin", "end"] * 2
