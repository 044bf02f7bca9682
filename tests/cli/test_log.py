"""`umd log`: on a live log, on a copy, on a backup, and on a damaged one."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from random import Random  # noqa: TID251  # seeded

import pytest

from tests.cli.conftest import Run
from tests.log.worlds import AT, SqliteWorld, append, chained, row
from umd import __main__ as command_line
from umd.domain.events import JobStarted
from umd.errors import LogError
from umd.log.reader import opened
from umd.log.verify import verify

TIME = "2023-11-14T22:13:20Z"
"""`AT` as people write it."""


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


async def write(world: SqliteWorld, jobs: int = 5) -> None:
    log = await world.open()
    for number in range(log.head, log.head + jobs):
        await append(log, f"job-{number}", 0, [JobStarted(number, "2026.10.26")])


async def test_a_live_log_is_read_and_verified(disk: SqliteWorld, run: Run) -> None:
    await write(disk)

    code, rows = run("log", "export")

    assert code == 0
    assert [row["position"] for row in rows] == list(range(1, 11))
    assert rows[1]["data"] == {"type": "job.started", "attempt": 0, "ytdlp_version": "2026.10.26"}
    code, [report] = run("log", "verify")
    assert (code, report["status"], report["position"], report["streams"]) == (0, "whole", 10, 5)
    assert report["marked"] == 10
    assert (await append(disk.log, "job-after")).last == 12


async def test_rows_are_shown_by_position(disk: SqliteWorld, run: Run) -> None:
    await write(disk)

    assert [row["position"] for row in run("log", "show", 7, 2)[1]] == [7, 2]
    code, rows = run("log", "show", 3, 99)
    assert (code, len(rows)) == (1, 1)


async def test_the_newest_rows_are_shown_in_order(disk: SqliteWorld, run: Run) -> None:
    await write(disk)

    assert [row["position"] for row in run("log", "tail", "-n", 3)[1]] == [8, 9, 10]


@pytest.mark.parametrize(
    ("filters", "positions"),
    [
        (("--stream", "job-2"), [5, 6]),
        (("--stream", "job-2", "--stream", "job-0"), [1, 2, 5, 6]),
        (("--type", "job.*", "--after", 6), [8, 10]),
        (("--type", "StartAttempt", "--until", 3), [1, 3]),
        (("--kind", "event", "--correlation", "request-1"), [2, 4, 6, 8, 10]),
        (("--correlation", "request-2"), []),
        (("--since", TIME, "--until", 2), [1, 2]),
        (("--before", TIME), []),
    ],
)
async def test_rows_are_filtered(
    disk: SqliteWorld, run: Run, filters: tuple[object, ...], positions: list[int]
) -> None:
    await write(disk)

    assert [row["position"] for row in run("log", "export", *filters)[1]] == positions


@pytest.mark.parametrize("wrong", [("--since", "yesterday"), ("--after", "-1"), ("--kind", "x")])
def test_a_filter_that_is_none_is_refused(run: Run, wrong: tuple[str, str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run("log", "export", *wrong)

    assert ended.value.code == 2


def test_where_there_is_no_log_it_is_said(
    run: Run, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert command_line.main(["log", "export"]) == 1
    assert "no event log" in capfd.readouterr().err


async def test_a_damaged_row_is_named_and_nothing_is_changed(disk: SqliteWorld, run: Run) -> None:
    await write(disk)
    await disk.close()
    image = disk.database.read_bytes()
    disk.database.write_bytes(image.replace(b'"attempt":3', b'"attempt":5'))

    code, [damage] = run("log", "verify")

    assert code == 1
    assert damage["first_bad_position"] == 8
    assert disk.database.read_bytes() == image.replace(b'"attempt":3', b'"attempt":5')


async def test_a_lost_tail_is_named(disk: SqliteWorld, run: Run) -> None:
    await write(disk)
    shutil.copy(disk.directory / "log.mark", disk.directory.parent / "mark")
    await disk.close()
    disk.execute("DELETE FROM log WHERE position > 6")

    code, [damage] = run("log", "verify")

    assert (code, damage["first_bad_position"]) == (1, 7)


async def test_an_entry_of_the_index_that_is_left_of_no_row_is_named(disk: SqliteWorld, run: Run) -> None:
    await write(disk)
    await disk.close()
    (disk.directory / "log.mark").unlink()
    with closing(sqlite3.connect(disk.database, isolation_level=None)) as connection:
        schema = connection.execute("SELECT * FROM sqlite_schema").fetchall()
    forget = "DELETE FROM sqlite_schema WHERE name LIKE 'sqlite_autoindex_log%'"
    bare = "UPDATE sqlite_schema SET sql = replace(sql, 'UNIQUE (stream, version)', 'CHECK (1)')"
    disk.execute(f"PRAGMA writable_schema = ON; {forget}; {bare}")
    disk.execute("DELETE FROM log WHERE position = 10")
    with closing(sqlite3.connect(disk.database, isolation_level=None)) as connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("DELETE FROM sqlite_schema")
        connection.executemany("INSERT INTO sqlite_schema VALUES (?, ?, ?, ?, ?)", schema)

    code, [damage] = run("log", "verify")

    assert (code, damage["first_bad_position"]) == (1, 10)


async def test_a_missing_wal_is_named(disk: SqliteWorld, run: Run, tmp_path: Path) -> None:
    await write(disk)
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    for name in ("log.sqlite3", "log.mark"):
        shutil.copy(disk.directory / name, crashed)

    code, [damage] = run("log", "verify", "--from", crashed)

    assert (code, damage["first_bad_position"]) == (1, 1)


# ------------------------------------------------------------------------------------------------ backup


async def test_a_backup_of_a_live_log_is_whole_and_readable(
    disk: SqliteWorld, run: Run, tmp_path: Path
) -> None:
    await write(disk)
    file = tmp_path / "backup.sqlite3"

    code, [report] = run("log", "backup", file)
    await append(disk.log, "job-after")

    assert (code, report["position"]) == (0, 10)
    assert file.stat().st_mode & 0o777 == 0o600
    assert run("log", "verify", "--from", file)[1][0]["hash"] == report["hash"]
    assert len(run("log", "export", "--from", file)[1]) == 10
    assert names(tmp_path) == {"backup.sqlite3", "log"}


async def test_a_backup_overwrites_nothing(disk: SqliteWorld, run: Run, tmp_path: Path) -> None:
    await write(disk)
    (tmp_path / "backup").write_text("mine")

    assert run("log", "backup", tmp_path / "backup") == (1, [])
    assert (tmp_path / "backup").read_text() == "mine"


async def test_a_damaged_log_makes_no_backup(disk: SqliteWorld, run: Run, tmp_path: Path) -> None:
    await write(disk)
    await disk.close()
    disk.execute("DELETE FROM log WHERE position > 6")

    assert run("log", "backup", tmp_path / "backup")[0] == 1
    assert not (tmp_path / "backup").exists()


# ------------------------------------------------------------------------------------------------ repair


async def test_a_damaged_row_comes_back_from_a_backup_with_all_that_followed(
    disk: SqliteWorld, run: Run, tmp_path: Path
) -> None:
    await write(disk, 5)
    run("log", "backup", tmp_path / "backup")
    await write(disk, 5)
    _, before = run("log", "export")
    await disk.close()
    disk.execute("DROP TRIGGER log_is_append_only; UPDATE log SET at = 0 WHERE position = 4")

    code, [repair] = run("log", "repair", tmp_path / "backup")

    assert code == 0
    assert (repair["position"], repair["first_bad_position"], repair["missing_from"]) == (20, 4, None)
    assert run("log", "export")[1] == before
    assert (Path(repair["damaged"]) / "log.sqlite3").exists()
    assert run("log", "verify")[0] == 0
    log = await disk.open()
    assert log.corruption is None
    assert (await append(log, "job-after")).last == 22
    assert disk.value("SELECT count(*) FROM sqlite_schema WHERE type = 'trigger'") == 1


async def test_what_is_in_neither_is_said_to_be_missing(disk: SqliteWorld, run: Run, tmp_path: Path) -> None:
    await write(disk, 5)
    run("log", "backup", tmp_path / "backup")
    await write(disk, 5)
    await disk.close()
    disk.execute("DROP TRIGGER log_is_append_only; UPDATE log SET at = 0 WHERE position = 13")

    code, [repair] = run("log", "repair", tmp_path / "backup")

    assert code == 0
    assert (repair["position"], repair["missing_from"], repair["missing_to"]) == (12, 13, 20)
    assert (await disk.open()).head == 12


async def test_a_lost_database_comes_back_from_a_backup(disk: SqliteWorld, run: Run, tmp_path: Path) -> None:
    await write(disk, 5)
    run("log", "backup", tmp_path / "backup")
    await write(disk, 1)
    await disk.close()
    disk.database.unlink()

    code, [repair] = run("log", "repair", tmp_path / "backup")

    assert (code, repair["position"], repair["missing_from"], repair["missing_to"]) == (0, 10, 11, 12)


async def test_the_log_of_a_running_server_is_not_repaired(
    disk: SqliteWorld, run: Run, tmp_path: Path
) -> None:
    await write(disk)
    run("log", "backup", tmp_path / "backup")

    assert run("log", "repair", tmp_path / "backup") == (75, [])


async def test_a_backup_of_another_log_is_refused(disk: SqliteWorld, run: Run, tmp_path: Path) -> None:
    await write(disk)
    await disk.close()
    other = SqliteWorld(tmp_path / "other")
    other.seed(chained(*(row(number, f"job-{number}", 1, at=AT + 7) for number in range(1, 20))))
    image = disk.database.read_bytes()

    assert run("log", "repair", other.database) == (1, [])
    assert disk.database.read_bytes() == image


async def test_a_damaged_backup_is_refused(disk: SqliteWorld, run: Run, tmp_path: Path) -> None:
    await write(disk)
    run("log", "backup", tmp_path / "backup")
    await disk.close()
    with closing(sqlite3.connect(tmp_path / "backup")) as connection:
        connection.executescript("DROP TRIGGER log_is_append_only; UPDATE log SET at = 0 WHERE position = 4")

    assert run("log", "repair", tmp_path / "backup")[0] == 1
    assert (await disk.open()).head == 10


# --------------------------------------------------------------------------------------------------- rot


FLIPS = 1_000
CUTS = 2_000


async def test_no_flipped_bit_in_a_database_is_silent(disk: SqliteWorld, tmp_path: Path) -> None:
    await write(disk, 80)
    await disk.close()
    image = files(disk.directory)

    found = flip(image, "log.sqlite3", said(disk.directory), tmp_path / "damaged")

    assert FLIPS / 3 < found < FLIPS  # the rest falls on what is not used


async def test_no_flipped_bit_and_no_cut_in_a_wal_is_silent(disk: SqliteWorld, tmp_path: Path) -> None:
    """A log that was killed: half of it is in the database, half of it in the write-ahead log."""
    await write(disk, 8)
    await write(disk, 8)
    image, whole = files(disk.directory), said(disk.directory)
    wal = image["log.sqlite3-wal"]
    rng = Random(4712)

    assert flip(image, "log.sqlite3-wal", whole, tmp_path / "damaged") > FLIPS / 2
    for _ in range(CUTS):
        cut = wal[: rng.randrange(len(wal))]
        assert is_found(tmp_path / "damaged", {**image, "log.sqlite3-wal": cut}, whole)


def flip(image: dict[str, bytes], name: str, whole: object, place: Path) -> int:
    """Damage copies of a log; each must be found, or make no difference to what it says."""
    place.mkdir(exist_ok=True)
    rng = Random(4711)
    found = 0
    for _ in range(FLIPS):
        rotten = bytearray(image[name])
        rotten[rng.randrange(len(rotten))] ^= 1 << rng.randrange(8)
        found += is_found(place, {**image, name: bytes(rotten)}, whole)
    return found


def files(directory: Path) -> dict[str, bytes]:
    """The files of a log, as a crash leaves them."""
    names = ("log.sqlite3", "log.sqlite3-wal", "log.mark")
    return {name: (directory / name).read_bytes() for name in names if (directory / name).exists()}


def is_found(place: Path, image: dict[str, bytes], whole: object) -> bool:
    for path in place.iterdir():
        path.unlink()
    for name, content in image.items():
        (place / name).write_bytes(content)
    try:
        with opened(place) as reader:
            verify(reader)
    except LogError:
        return True
    assert said(place) == whole, "damage changed what the log says, and nobody noticed"
    return False


def said(place: Path) -> object:
    """All that can be read of a log: by position and by stream."""
    with opened(place) as reader:
        records = list(reader.rows())
        return records, [reader._connection.execute(BY_STREAM).fetchall()]


BY_STREAM = (
    "SELECT stream, version, position FROM log INDEXED BY sqlite_autoindex_log_1 ORDER BY stream, version"
)
