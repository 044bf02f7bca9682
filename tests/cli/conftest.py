import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.log.worlds import MemoryWorld, SqliteWorld, World
from umd import __main__ as command_line

Run = Callable[..., tuple[int, list[Any]]]


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


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run one command on the data below `tmp_path`; the exit code and the objects that it printed."""
    monkeypatch.setenv("UMD_DATA_DIR", str(tmp_path))

    def run(*arguments: object) -> tuple[int, list[Any]]:
        capfd.readouterr()  # what a log in this process has said
        code = command_line.main([str(argument) for argument in arguments])
        return code, [json.loads(line) for line in capfd.readouterr().out.splitlines()]

    return run
