"""`umd engine`: beside a service that answers, one that refuses, and none."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.log.worlds import AT, SqliteWorld
from umd import __main__ as command_line
from umd.domain import commands as c
from umd.domain.events import (
    EngineUpdated,
    EngineUpdateFailed,
    Event,
    JobCompleted,
    JobStarted,
    Progress,
)
from umd.engine.shelf import Shelf, own_version
from umd.log.sqlite import SqliteLog

OWN = own_version()
USE = c.UseRelease(OWN, OWN)


class Said:
    """What one command said, and with which exit code."""

    def __init__(self, code: int, told: str, complaint: str) -> None:
        self.code = code
        self.lines: list[Any] = [json.loads(line) for line in told.splitlines()]
        self.complaint = complaint


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    monkeypatch.setenv("UMD_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    return Shelf(tmp_path / "engines")


def run(capfd: pytest.CaptureFixture[str], *arguments: object) -> Said:
    code = command_line.main(["engine", *map(str, arguments)])
    told, complaint = capfd.readouterr()
    return Said(code, told, complaint)


async def answered(
    log: SqliteLog, shelf: Shelf, event: EngineUpdated | EngineUpdateFailed, capfd: pytest.CaptureFixture[str]
) -> Said:
    """An update that the holder of the log answers with this event."""
    asking = asyncio.create_task(asyncio.to_thread(run, capfd, "update", "--version", OWN))
    while (wish := await asyncio.to_thread(lambda: shelf.wish)) is None:
        assert not asking.done(), asking.result().complaint
    await log.append("engine", 0, USE, [event], at=AT, correlation=wish.id)
    async with asyncio.timeout(30):
        return await asking


def test_a_new_service_has_its_own_release_alone(shelf: Shelf, capfd: pytest.CaptureFixture[str]) -> None:
    said = run(capfd, "status")

    assert said.code == 0
    [status] = said.lines
    assert (status["current"], status["own"], status["installed"], status["running"]) == (OWN, OWN, [], {})
    assert (status["previous"], status["wanted"], status["trouble"], status["last"]) == (None,) * 4


async def test_the_status_tells_what_is_in_use_and_what_runs_on_what(
    shelf: Shelf, disk: SqliteWorld, capfd: pytest.CaptureFixture[str]
) -> None:
    log = await disk.open()
    await log.append("engine", 0, USE, [EngineUpdated("2027.01.02", OWN, OWN)], at=AT, correlation="a")
    done = JobCompleted(1, Progress("finished"), None)
    for number, version in enumerate((OWN, "2027.01.02", "2027.01.02")):
        events: list[Event] = [JobStarted(1, version), *([done] if number == 1 else [])]
        await log.append(f"job-{number}", 0, c.CancelDownload("0"), events, at=AT, correlation="b")

    [status] = (await asyncio.to_thread(run, capfd, "status")).lines

    assert (status["current"], status["previous"]) == ("2027.01.02", OWN)
    assert status["running"] == {OWN: 1, "2027.01.02": 1}
    assert status["last"] == {
        "at": "2023-11-14T22:13:20.000Z",
        "type": "engine.updated",
        "version": "2027.01.02",
        "previous": OWN,
        "own": OWN,
    }


async def test_an_update_waits_for_the_services_answer(
    shelf: Shelf, disk: SqliteWorld, capfd: pytest.CaptureFixture[str]
) -> None:
    said = await answered(await disk.open(), shelf, EngineUpdated(OWN, OWN, OWN), capfd)

    assert said.code == 0
    assert said.lines == [{"type": "engine.updated", "version": OWN, "previous": OWN, "own": OWN}]


async def test_an_update_that_the_service_refuses_fails_with_its_reason(
    shelf: Shelf, disk: SqliteWorld, capfd: pytest.CaptureFixture[str]
) -> None:
    refused = EngineUpdateFailed("The self-test failed: no sound.", OWN)

    said = await answered(await disk.open(), shelf, refused, capfd)

    assert said.code == 1
    assert said.lines[0]["type"] == "engine.update_failed"
    assert said.complaint == f"umd: yt-dlp {OWN} is not used: The self-test failed: no sound.\n"


async def test_where_no_service_runs_the_wish_waits_for_the_next(
    shelf: Shelf, capfd: pytest.CaptureFixture[str]
) -> None:
    said = run(capfd, "update", "--version", OWN)

    assert (said.code, said.lines) == (0, [])
    assert "tries it when it starts" in said.complaint
    assert shelf.wish is not None
    assert shelf.wish.version == OWN
    assert run(capfd, "status").lines[0]["wanted"] == OWN


def test_what_cannot_be_installed_fails_with_a_reason(
    shelf: Shelf, capfd: pytest.CaptureFixture[str]
) -> None:
    said = run(capfd, "update", "--hash", "0" * 64)

    assert (said.code, said.lines, shelf.wish) == (1, [], None)
    assert said.complaint == "umd: A hash belongs to a version or to a wheel: name one of them, too.\n"


@pytest.mark.parametrize(
    "wrong", [("--wheel", "missing.whl"), ("--hash", "sha256:xyz"), ("--wheel", "a.whl", "--version", "1")]
)
def test_arguments_that_cannot_be_are_refused(shelf: Shelf, wrong: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as ended:
        command_line.main(["engine", "update", *wrong])

    assert ended.value.code == 2
