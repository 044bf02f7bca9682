"""Thousands of worlds, each from a seed, in which everything that may go wrong does: the invariants hold.

`UMD_TEST_SEED=17 python -m pytest tests/test_simulation.py -k one_seed` repeats the world of a seed.
"""

import asyncio
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import structlog

from tests.invariants import BrokenInvariant
from tests.simulation import FaultyLog, Life, Simulation
from umd.log import Record

SEEDS = 2_000
SLICES = 8
MEMORY = Path("/dev/shm")  # noqa: S108  # no secrets, and no disk to wait for
FIRST = int(os.environ.get("UMD_TEST_SEED", "0"))


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()


@contextmanager
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="umd-", dir=MEMORY if MEMORY.is_dir() else None))
    try:
        yield path
    finally:
        shutil.rmtree(path)


def live(seed: int, make_life: type[Life] = Life) -> list[Record]:
    """The world of a seed; what breaks it tells the seed."""
    with folder() as root:
        try:
            return Simulation(root, seed, make_life).run()
        except BaseException as error:
            error.add_note(f"seed {seed}: repeat it with UMD_TEST_SEED={seed} -k one_seed")
            raise


@pytest.mark.parametrize("part", range(SLICES))
def test_no_seed_breaks_an_invariant(part: int) -> None:
    for seed in range(part, SEEDS, SLICES):
        live(seed)


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


def search(bug: type[Life]) -> None:
    for seed in range(200):
        live(seed, bug)


@pytest.mark.parametrize(
    ("bug", "words"), [(Hasty, r"accepted and lost|has position"), (Forgiving, "never ended")]
)
def test_a_planted_bug_is_found_and_its_seed_told(bug: type[Life], words: str) -> None:
    with pytest.raises(BrokenInvariant, match=words) as broken:
        search(bug)

    assert "seed" in broken.value.__notes__[-1]
