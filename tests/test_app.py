"""The whole service inside this process: its lifecycle, and what the command line makes of it."""

import asyncio
from pathlib import Path

import aiohttp
import pytest

from umd import __main__ as command_line
from umd import settings
from umd.app import App
from umd.errors import LogLocked
from umd.settings import Settings


def here(tmp_path: Path, **changes: object) -> Settings:
    environment = {f"UMD_{name.upper()}": str(value) for name, value in changes.items()}
    return settings.load({"UMD_DATA_DIR": str(tmp_path), "UMD_PORT": "0", **environment}).settings


async def test_a_service_starts_is_well_and_stops_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = App(here(tmp_path))
    await app.start()
    base = f"http://127.0.0.1:{app.port}/api/v1/health"
    async with aiohttp.ClientSession() as client, client.get(base) as answer:
        health = await answer.json()
    monkeypatch.setenv("PORT", str(app.port))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    asked = await asyncio.to_thread(command_line.main, ["health"])
    app.end()

    assert await app.ended() is None
    await app.stop()
    await app.stop()
    assert health["status"] == "healthy", health
    assert set(health["checks"]) == {
        "event_log",
        "storage",
        "queue",
        "workers",
        "sandbox",
        "yt_dlp",
        "ffmpeg",
    }
    assert asked == 0
    assert await asyncio.to_thread(command_line.main, ["health"]) == 1


async def test_a_fault_ends_the_service_and_says_which(tmp_path: Path) -> None:
    app = App(here(tmp_path, engine_mode="spawn"))
    await app.start()
    fault = RuntimeError("the disk is gone")
    app.fail(fault)
    app.fail(RuntimeError("and more"))

    assert await app.ended() is fault
    await app.stop()


async def test_a_second_service_on_the_same_data_does_not_start(tmp_path: Path) -> None:
    first, second = (App(here(tmp_path, engine_mode="spawn")) for _ in range(2))
    await first.start()
    with pytest.raises(LogLocked):
        await second.start()

    await second.stop()
    await first.stop()


async def test_a_port_that_is_taken_leaves_nothing_running(tmp_path: Path) -> None:
    first = App(here(tmp_path / "a", engine_mode="spawn"))
    await first.start()
    second = App(here(tmp_path / "b", engine_mode="spawn", port=first.port))
    with pytest.raises(OSError, match="address already in use"):
        await second.start()

    await second.stop()
    await first.stop()
    assert len(asyncio.all_tasks()) == 1


def test_config_prints_every_setting_with_its_origin(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("UMD_PORT", "9000")

    assert command_line.main(["config"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "UMD_PORT=9000  # UMD_PORT" in lines
    assert len(lines) == len(Settings.__struct_fields__)


def test_a_bad_setting_ends_with_status_2_and_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("UMD_PORT", "http")

    assert command_line.main(["config"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
