"""The whole service inside this process: its lifecycle, and what the command line makes of it."""

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import structlog

from tests.log.worlds import SqliteWorld
from tests.random_histories import History
from umd import __main__ as command_line
from umd import settings
from umd.actors.cleanup import Cleanup
from umd.app import App
from umd.domain.access import Caller, Keyring, parse_keys
from umd.domain.job import FINAL
from umd.errors import LogCorrupt, LogLocked, RestartsExhausted
from umd.settings import Settings

LOOPBACK = "127.0.0.0/8"


def here(tmp_path: Path, **changes: object) -> Settings:
    environment = {f"UMD_{name.upper()}": str(value) for name, value in changes.items()}
    return settings.load({"UMD_DATA_DIR": str(tmp_path), "UMD_PORT": "0", **environment}).settings


async def test_a_service_starts_is_well_and_stops_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = App(here(tmp_path))
    await app.start()
    await app._engine.warm()
    _, health = await ask(app, "GET", "health")
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
        "clock",
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


async def test_an_actor_that_always_raises_is_restarted_and_then_ends_the_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = []

    async def run(self: Cleanup) -> None:
        runs.append(self)
        raise RuntimeError("a bug")

    monkeypatch.setattr(Cleanup, "run", run)
    app = App(here(tmp_path, engine_mode="spawn"))
    await app.start()
    async with asyncio.timeout(10):
        fault = await app.ended()
    await app.stop()

    assert isinstance(fault, RestartsExhausted)
    assert isinstance(fault.__cause__, RuntimeError)
    assert len(runs) == 1 + 5


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


async def test_a_damaged_log_is_served_read_only(tmp_path: Path) -> None:
    app = App(here(tmp_path, engine_mode="spawn", allow_addresses=LOOPBACK))
    await app.start()
    accepted = [await submit(app) for _ in range(2)]
    await app.stop()
    database = tmp_path / "log" / "log.sqlite3"
    image = database.read_bytes()
    at = image.index(accepted[1].encode(), image.index(b"SubmitDownload"))
    database.write_bytes(image[:at] + b"!" + image[at + 1 :])
    damaged = database.read_bytes()

    app = App(here(tmp_path, engine_mode="spawn", allow_addresses=LOOPBACK))
    await app.start()

    assert (await ask(app, "GET", "health/ready"))[0] == 503
    status, health = await ask(app, "GET", "health")
    bad = health["checks"]["event_log"]["details"]["first_bad_position"]
    assert (status, health["status"]) == (503, "unhealthy")
    assert bad > 1
    status, log = await ask(app, "GET", "log")
    assert [row["position"] for row in log["events"]] == list(range(1, bad))
    assert (await ask(app, "GET", f"download/{accepted[0]}"))[0] == 200
    status, problem = await ask(app, "DELETE", f"download/{accepted[0]}")
    assert (status, problem["code"]) == (503, "log_read_only")
    status, problem = await ask(app, "POST", "download")
    assert (status, problem["code"]) == (503, "log_read_only")
    await app.stop()
    assert database.read_bytes() == damaged


async def test_damage_that_is_found_at_work_stops_those_who_act_and_not_the_answers(tmp_path: Path) -> None:
    app = App(here(tmp_path, engine_mode="spawn", allow_addresses=LOOPBACK))
    await app.start()
    job_id = await submit(app)
    app._log._fail(LogCorrupt("Row 1 of the log is not as it was written.", 1))

    assert (await ask(app, "GET", "health/ready"))[1]["status"] == "read_only"
    assert (await ask(app, "GET", f"download/{job_id}"))[0] == 200
    assert (await ask(app, "POST", "download"))[1]["code"] == "log_read_only"
    assert not app._end.done()
    await app.stop()


async def test_a_full_volume_refuses_changes_and_recovers_unaided(tmp_path: Path) -> None:
    app = App(here(tmp_path, engine_mode="spawn", allow_addresses=LOOPBACK, log_reserve_bytes=0))
    await app.start()
    accepted = [await submit(app)]
    await app._log._writing.execute_fetchall("PRAGMA max_page_count = 1")  # as full as it is by now

    while (answer := await ask(app, "POST", "download"))[0] == 202:
        accepted.append(answer[1]["request_id"])

    assert (answer[0], answer[1]["code"]) == (507, "storage_full")
    listed = (await ask(app, "GET", "download?limit=200"))[1]["items"]
    assert [job["request_id"] for job in reversed(listed)] == accepted
    assert (await ask(app, "GET", "log?limit=1000"))[0] == 200
    await app._log._writing.execute_fetchall("PRAGMA max_page_count = 100000")
    accepted.append(await submit(app))
    for job_id in accepted:
        async with asyncio.timeout(20):
            await app._jobs.when(job_id, lambda job: job.state in FINAL)
    await app.stop()


async def test_what_was_pruned_is_answered_before_and_after_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("umd.actors.upkeep.LAST_SNAPSHOT_ROWS", 1)
    history = History(1).ended(20)
    SqliteWorld(tmp_path / "log").seed(history.records)
    job_id = next(iter(history.jobs))
    answers = []

    for life in range(3):
        app = App(here(tmp_path, engine_mode="spawn", log_retention_days=1))
        with structlog.testing.capture_logs() as logged:
            await app.start()
        async with asyncio.timeout(20):
            while not app._log.floor:  # noqa: ASYNC110  # the upkeep's work has no other sign
                await asyncio.sleep(0.01)
        status, answer = await ask(app, "GET", f"download/{job_id}")
        assert status == 200
        answers.append(
            {name: answer[name] for name in ("status", "attempt", "completed_at", "files_deleted_at")}
        )
        status, log = await ask(app, "GET", "log")
        taken_up = [line for line in logged if line["event"] == "log.snapshot_taken_up"]
        await app.stop()

        assert (status, log["floor"]) == (200, app._log.floor)
        assert len(taken_up) == min(life, 1)
    assert answers[0]["status"] == "completed"
    assert answers[0] == answers[1] == answers[2]


async def submit(app: App) -> str:
    status, job = await ask(app, "POST", "download")
    assert status == 202, job
    return str(job["request_id"])


async def ask(app: App, method: str, path: str) -> tuple[int, Any]:
    """A request below the prefix: POST submits a download that fails at once."""
    body = {"url": "http://127.0.0.1:1/a.mp4", "retries": 0} if method == "POST" else None
    url = f"http://127.0.0.1:{app.port}/api/v1/{path}"
    async with aiohttp.ClientSession() as client, client.request(method, url, json=body) as answer:
        return answer.status, await answer.json()


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


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "umd.example"])  # noqa: S104
def test_without_keys_nothing_is_served_to_others(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, host: str
) -> None:
    monkeypatch.setenv("UMD_HOST", host)
    monkeypatch.setenv("UMD_DATA_DIR", str(tmp_path / "data"))

    assert command_line.main(["serve"]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "UMD_API_KEYS" in told
    assert "UMD_REQUIRE_API_KEY=false" in told
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("UMD_REQUIRE_API_KEY", "true"),
        ("UMD_API_KEYS", "alice:write:secretsecret"),
        ("UMD_API_KEYS", "secretsecretsecretsecret"),
        ("UMD_RATE_LIMIT", "often"),
        ("UMD_TRUSTED_PROXIES", "10.0.0.1/8"),
        ("UMD_CORS_ORIGINS", "*"),
        ("UMD_CORS_ORIGINS", "https://a.example/"),
        ("UMD_LINK_SECRET", "secret"),
        ("UMD_REQUIRE_HTTPS", "perhaps"),
    ],
)
def test_a_door_that_is_left_open_by_mistake_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)

    assert command_line.main(["serve"]) == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "secret" not in told


async def test_an_open_service_says_so_when_it_starts(tmp_path: Path) -> None:
    async def events(**changes: object) -> list[str]:
        app = App(here(tmp_path, engine_mode="spawn", **changes))
        with structlog.testing.capture_logs() as lines:
            await app.start()
        await app.stop()
        return [line["event"] for line in lines]

    assert "app.open" in await events()
    assert "app.open" in await events(api_keys="a:read:0123456789abcdef", require_api_key="false")
    assert "app.open" not in await events(api_keys="a:read:0123456789abcdef")


async def test_a_link_holds_over_a_restart(tmp_path: Path) -> None:
    made = []
    for _ in range(2):
        app = App(here(tmp_path, engine_mode="spawn"))
        await app.start()
        made.append(app._gate.links.url("", "videos/a.mp4", "1", 0))
        await app.stop()

    assert made[0] == made[1]
    assert (tmp_path / ".links.key").stat().st_mode & 0o777 == 0o600


def test_a_new_key_is_printed_with_the_hash_of_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command_line.main(["key", "new"]) == 0
    words = capsys.readouterr().out.split()

    key, hashed = words[words.index("key:") + 1], words[words.index("hash:") + 1]
    assert Keyring(parse_keys(f"me:write:{hashed}")).caller(key) == Caller("me", "write", verified=True)


def test_config_shows_no_secret(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("UMD_API_KEYS", "a:read:0123456789abcdef")
    monkeypatch.setenv("UMD_LINK_SECRET", "0123456789abcdef" * 2)

    assert command_line.main(["config"]) == 0
    shown = capsys.readouterr().out
    assert "0123456789abcdef" not in shown
    assert "UMD_API_KEYS=********  # UMD_API_KEYS" in shown
