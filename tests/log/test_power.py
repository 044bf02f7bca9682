"""A power cut loses nothing that was answered, with the settings as they are shipped; with others it does."""

import shutil
from pathlib import Path
from random import Random  # noqa: TID251  # seeded

import pytest

from tests.log.power import Call, acked, cut, record
from tests.log.worlds import Witness
from umd.errors import LogError
from umd.log import database
from umd.log.sqlite import SqliteLog

CUTS = 300
needs_strace = pytest.mark.skipif(
    shutil.which("strace") is None,
    reason="NOT TESTED: power cuts need strace (apt-get install strace); only the pragmas are checked",
)


async def lost(calls: list[Call], directory: Path, random: Random) -> list[tuple[str, int]]:
    """What was answered before a cut at a random instant and is not there after it."""
    before = calls[: random.randrange(len(calls) + 1)]
    cut(before, directory, random)
    answered = acked(before)
    log, witness = SqliteLog(directory), Witness()
    try:
        await log.start(witness)
        there = {(row.stream, row.position) for row in await log.read(limit=100_000)}
    except LogError:
        return answered or [("the log cannot be opened", 0)]
    finally:
        await log.stop()
    return [ack for ack in answered if ack not in there]


async def losses(calls: list[Call], tmp_path: Path, cuts: int = CUTS) -> int:
    """In how many of the cuts something was lost."""
    found = 0
    for number in range(cuts):
        directory = tmp_path / f"cut-{number}"
        found += bool(await lost(calls, directory, Random(number)))
        shutil.rmtree(directory)
    return found


@needs_strace
async def test_no_power_cut_loses_what_was_answered(tmp_path: Path) -> None:
    calls = record(tmp_path, rounds=40)

    assert len(acked(calls)) == 200
    assert await losses(calls, tmp_path) == 0


@needs_strace
async def test_a_log_that_syncs_less_is_found_out(tmp_path: Path) -> None:
    calls = record(tmp_path, rounds=40, synchronous="NORMAL")

    assert await losses(calls, tmp_path, cuts=60) > 6


async def test_the_log_is_opened_with_the_settings_that_survive_a_power_cut(tmp_path: Path) -> None:
    async with database.writing(tmp_path / "log.sqlite3") as connection:
        [[synchronous]] = await connection.execute_fetchall("PRAGMA synchronous")
        [[journal]] = await connection.execute_fetchall("PRAGMA journal_mode")

    assert (synchronous, journal) == (2, "wal")
