"""kill -9 at random instants while snapshots are taken and rows pruned: nothing that was answered is lost."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.log.worlds import SqliteWorld
from umd.log.reader import opened
from umd.log.verify import verify
from umd.projections.models import Models

ROOT = Path(__file__).parents[2]


def killed_after(directory: Path, name: str, answers: int) -> dict[str, int]:
    """What was answered until the process was killed, a moment after so many answers."""
    command = [sys.executable, "-m", "tests.log.upkept", str(directory), name]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        lines = [process.stdout.readline() for _ in range(answers)]
        os.kill(process.pid, signal.SIGKILL)
        lines += process.stdout.readlines()
    assert process.returncode == -signal.SIGKILL, "it has ended by itself"
    answered = (line.decode().split() for line in lines if line.endswith(b"\n"))
    return {job_id: int(position) for job_id, position in answered}


async def campaign(disk: SqliteWorld, kills: list[int]) -> int:
    """The floor in the end; after each kill everything is held against what was answered."""
    answered: dict[str, int] = {}
    for number, answers in enumerate(kills):
        answered |= killed_after(disk.directory, f"life{number}", answers)
        with opened(disk.directory) as reader:
            verify(reader)
        models = Models()
        log = await disk.open(models=models)
        assert log.corruption is None
        known = {job_id: entry.position for job_id in answered if (entry := models.jobs.get(job_id))}
        assert known == answered
        assert models.statistics.accepted == len(models.jobs.in_creation_order()) >= len(answered)
        await disk.close()
    return disk.log.floor


async def test_a_kill_in_the_middle_of_upkeep_loses_nothing(disk: SqliteWorld) -> None:
    assert await campaign(disk, [60, 333]) > 0


@pytest.mark.soak
async def test_many_kills_in_the_middle_of_upkeep_lose_nothing(disk: SqliteWorld) -> None:
    assert await campaign(disk, [17 + number * 997 % 600 for number in range(50)]) > 0
