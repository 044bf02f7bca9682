"""The commands on a log whose first rows are pruned: from its floor on they say what they said before."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Run
from tests.log.worlds import SqliteWorld
from tests.random_histories import History
from umd.log import Record
from umd.log.reader import opened
from umd.log.verify import verify
from umd.projections.models import Models

RECORDS = History(5).go_on(250).records


async def prune(disk: SqliteWorld) -> int:
    """Prune about half of the rows; returns the floor."""
    log = await disk.open(models=Models())
    await log.put_by()
    assert await log.raise_floor(RECORDS[len(RECORDS) // 2].at)
    while await log.sweep():
        pass
    await disk.close()
    return log.floor


@pytest.fixture
def backup(disk: SqliteWorld, tmp_path: Path, run: Run) -> Path:
    """A backup of the log from before it was pruned."""
    disk.seed(RECORDS)
    assert run("log", "backup", tmp_path / "backup")[0] == 0
    return tmp_path / "backup"


def replayed(run: Run, *arguments: object) -> list[Any]:
    code, lines = run("replay", *arguments)
    assert code == 0
    return lines


async def test_replay_says_the_same_from_the_floor_on(disk: SqliteWorld, backup: Path, run: Run) -> None:
    floor = await prune(disk)

    for at in (floor + 1, floor + 20, len(RECORDS)):
        assert replayed(run, "--at", at) == replayed(run, "--at", at, "--from", backup)
    job_id = RECORDS[0].stream.removeprefix("job-")
    assert len(replayed(run, "--job", job_id)) == 1
    steps = [step for step in replayed(run, "--steps", "--from", backup) if step["position"] > floor]
    assert replayed(run, "--steps") == steps
    assert run("replay", "--at", floor) == (1, [])


async def test_every_command_behind_the_floor_is_decided_again(
    disk: SqliteWorld, backup: Path, run: Run
) -> None:
    floor = await prune(disk)

    [report] = replayed(run, "--verify")

    assert report["differences"] == report["unknown"] == 0
    assert report["commands"] + report["events"] == len(RECORDS) - floor


async def test_verify_export_and_backup_begin_at_the_floor(
    disk: SqliteWorld, backup: Path, run: Run, tmp_path: Path
) -> None:
    floor = await prune(disk)

    [report] = run("log", "verify")[1]
    assert (report["status"], report["floor"], report["position"]) == ("whole", floor, len(RECORDS))
    assert [row["position"] for row in run("log", "export")[1]] == list(range(floor + 1, len(RECORDS) + 1))
    assert run("log", "show", floor) == (1, [])
    assert run("log", "backup", tmp_path / "later")[1][0]["floor"] == floor
    assert replayed(run, "--from", tmp_path / "later") == replayed(run)


@pytest.mark.parametrize("pruned_backup", [False, True])
@pytest.mark.parametrize("bad", ["row", "base", "both"])
async def test_a_pruned_log_is_repaired(
    disk: SqliteWorld, backup: Path, run: Run, tmp_path: Path, bad: str, pruned_backup: bool
) -> None:
    floor = await prune(disk)
    before = replayed(run)
    if pruned_backup:
        assert run("log", "backup", tmp_path / "later")[0] == 0
        backup = tmp_path / "later"
    if bad in ("row", "both"):
        change = f"UPDATE log SET at = 0 WHERE position = {floor + 9:d}"  # noqa: S608  # a number
        disk.execute("DROP TRIGGER log_is_append_only", change)
    if bad in ("base", "both"):
        disk.spoil(floor)
    assert run("log", "verify")[0] == 1

    code, [repair] = run("log", "repair", backup)

    assert (code, repair["position"], repair["missing_from"]) == (0, len(RECORDS), None)
    with opened(disk.directory) as reader:
        assert verify(reader).floor == (floor if pruned_backup or bad == "row" else 0)
    assert replayed(run) == before
    assert (await disk.open(models=Models())).corruption is None


async def test_a_copy_in_the_middle_of_sweeping_is_whole(disk: SqliteWorld, tmp_path: Path) -> None:
    disk.seed(RECORDS)
    log = await disk.open(models=Models())
    await log.put_by()
    await log.raise_floor(RECORDS[-1].at)
    await log.sweep()
    await disk.close()
    shutil.copy(disk.database, tmp_path / "copy")

    with opened(tmp_path / "copy") as reader:
        rows: list[Record] = list(reader.rows())
        assert verify(reader).position == len(RECORDS)

    assert rows == RECORDS[log.floor :]
