"""What the probes and the health answer say."""

import asyncio

import pytest

from tests.api.world import World, healthy
from umd import __version__
from umd.api import health
from umd.api.context import Check, CheckStatus
from umd.clock import SECOND


def saying(status: CheckStatus) -> Check:
    return Check(status, "Word.", {"number": 1})


@pytest.mark.parametrize(
    ("words", "status", "code"),
    [
        ([], "healthy", 200),
        (["healthy", "healthy"], "healthy", 200),
        (["healthy", "degraded"], "degraded", 200),
        (["unhealthy", "degraded", "healthy"], "unhealthy", 503),
    ],
)
async def test_the_worst_component_decides(
    world: World, words: list[CheckStatus], status: CheckStatus, code: int
) -> None:
    for number, word in enumerate(words):

        async def check(word: CheckStatus = word) -> Check:
            return saying(word)

        world.checks[f"part{number}"] = check
    world.clock.at += 90 * SECOND

    answer = await world.get("/health")

    assert (answer.status, answer.json["status"]) == (code, status)
    assert answer.headers["Content-Type"] == "application/json"
    assert [check["status"] for check in answer.json["checks"].values()] == words
    assert (answer.json["version"], answer.json["uptime_seconds"]) == (__version__, 90.0)


async def test_a_check_that_hangs_is_unhealthy_and_keeps_nobody_waiting(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "CHECK_WAIT_SEC", 0.05)

    async def hang() -> Check:
        await asyncio.Event().wait()
        raise AssertionError

    world.checks.update({f"hangs{number}": hang for number in range(20)}, fine=healthy())

    answer = await world.get("/health")

    assert answer.status == 503
    assert answer.json["checks"]["hangs0"]["message"] == "No answer within 0.05 s."
    assert answer.json["checks"]["fine"]["status"] == "healthy"


async def test_a_check_that_fails_is_unhealthy_and_tells_no_secret(world: World) -> None:
    async def fail() -> Check:
        raise RuntimeError("secret")

    world.checks["fails"] = fail

    answer = await world.get("/health")

    assert answer.status == 503
    assert "secret" not in answer.body.decode()


@pytest.mark.parametrize(("phase", "status"), [("starting", 503), ("ready", 200), ("stopping", 503)])
async def test_the_service_is_ready_between_its_start_and_its_stop(
    world: World, phase: str, status: int
) -> None:
    world.readiness.phase = phase  # type: ignore[assignment]  # a parameter is a plain text

    answer = await world.get("/health/ready")

    assert (answer.status, answer.json["status"]) == (status, phase)
    assert (await world.get("/health/live")).status == 200


@pytest.mark.parametrize(
    ("word", "code", "status"), [("degraded", 200, "ready"), ("unhealthy", 503, "read_only")]
)
async def test_the_service_is_not_ready_while_nothing_can_be_stored(
    world: World, word: CheckStatus, code: int, status: str
) -> None:
    async def check() -> Check:
        return saying(word)

    world.checks["event_log"] = check

    answer = await world.get("/health/ready")

    assert (answer.status, answer.json["status"]) == (code, status)
