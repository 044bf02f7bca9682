"""Thousands of worlds, each from a seed, in which everything that may go wrong does: the invariants hold.

`UMD_TEST_SEED=17 python -m pytest tests/test_simulation.py -k one_seed` repeats the world of a seed.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import structlog

from tests.histories import BrokenInvariant
from tests.simulation import SLICES, FaultyLog, Life, be_quiet, live
from umd.actors import batch_crew
from umd.actors.batch import BatchActor
from umd.domain.batch import Batch, BatchState
from umd.log import Record

ROOT = Path(__file__).parent.parent
PARTS = min(4, os.cpu_count() or 1)
FIRST = int(os.environ.get("UMD_TEST_SEED", "0"))


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    be_quiet()
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="module")
def parts() -> Iterator[list[subprocess.Popen[str]]]:
    """A process for each processor, which live the seeds side by side.

    Nothing measures their coverage, which would double the time: one seed, in this process, shows the same.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.simulation", str(part), str(PARTS)],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for part in range(PARTS)
    ]
    yield running
    for process in running:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("part", range(SLICES))
def test_no_seed_breaks_an_invariant(parts: list[subprocess.Popen[str]], part: int) -> None:
    for process in parts:
        assert process.stdout is not None
        said = process.stdout.readline()
        if said.strip() != str(part):
            pytest.fail(said + process.stdout.read())


def test_one_seed_is_one_run() -> None:
    first, again = live(FIRST), live(FIRST)

    assert first == again
    assert first != live(FIRST + 1)


class HastyLog(FaultyLog):
    """Says that rows are stored half a second before they are."""

    async def _store(self, records: Sequence[Record]) -> None:
        asyncio.get_running_loop().call_later(0.5, self._keep_if_alive, records)

    def _keep_if_alive(self, records: Sequence[Record]) -> None:
        if not self.dead:
            self._keep(records)


class Hasty(Life):
    def make_log(self, records: Sequence[Record]) -> FaultyLog:
        return HastyLog(records, self.faults)


class Forgiving(Life):
    """Does not settle at its start what the last life left in the middle."""

    async def recover(self) -> None:
        return


def search(bug: type[Life] = Life) -> None:
    for seed in range(200):
        live(seed, bug)


@pytest.mark.parametrize(
    ("bug", "words"), [(Hasty, r"accepted and lost|has position"), (Forgiving, "never ended")]
)
def test_a_planted_bug_is_found_and_its_seed_told(bug: type[Life], words: str) -> None:
    with pytest.raises(BrokenInvariant, match=words) as broken:
        search(bug)

    assert "seed" in broken.value.__notes__[-1]


def test_a_batch_that_forgets_its_limit_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BatchActor, "_under_way", lambda _: 0)

    with pytest.raises(BrokenInvariant, match="jobs under way, not"):
        search()


class Impatient(BatchActor):
    """Ends a batch while jobs of its are under way."""

    def _is_at_its_end(self, batch: Batch) -> bool:
        return batch.state is BatchState.RUNNING or super()._is_at_its_end(batch)


def test_a_batch_that_ends_before_its_jobs_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_crew, "BatchActor", Impatient)

    with pytest.raises(BrokenInvariant, match="ends before"):
        search()
