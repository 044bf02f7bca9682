from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.log.worlds import MemoryWorld, SqliteWorld, World


@pytest.fixture(params=["memory", "sqlite"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    world: World = MemoryWorld() if request.param == "memory" else SqliteWorld(tmp_path / "log")
    yield world
    await world.close()


@pytest.fixture
async def disk(tmp_path: Path) -> AsyncIterator[SqliteWorld]:
    world = SqliteWorld(tmp_path / "log")
    yield world
    await world.close()
