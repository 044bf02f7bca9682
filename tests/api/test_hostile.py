"""Requests that mean no good, kept as data: each gets the answer that stands beside it, and soon."""

import asyncio
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
import yarl

from tests.api.world import PREFIX, Answer, World, is_problem

CASES = msgspec.json.decode((Path(__file__).parent.parent / "data" / "hostile.json").read_bytes())
PATIENCE_SEC = 1.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def target(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with World(tmp_path_factory.mktemp("hostile")).running() as world:
        await world.completed({"videos/a.mp4": b"0123456789"})
        yield world


def body_of(case: dict[str, Any]) -> io.BytesIO | None:
    if "repeat" in case:
        text, times = case["repeat"]
        return io.BytesIO(str(text).encode() * int(times))
    return io.BytesIO(case["body"].encode()) if "body" in case else None


def test_there_are_enough_of_them() -> None:
    assert len(CASES) >= 150


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
@pytest.mark.asyncio(loop_scope="module")
async def test_a_hostile_request_gets_its_answer(target: World, case: dict[str, Any]) -> None:
    jobs = target.jobs.position
    url = yarl.URL(f"http://127.0.0.1:{target.port}{PREFIX}{case['path']}", encoded=True)
    async with (
        asyncio.timeout(PATIENCE_SEC),
        target.session.request(case["method"], url, data=body_of(case), headers=case.get("headers")) as got,
    ):
        body = await got.read()

    assert got.status == case["status"], body
    assert "X-Injected" not in got.headers
    if case["code"] is not None:
        answer = Answer(got.status, got.headers, body)
        codes = [case["code"]] if isinstance(case["code"], str) else case["code"]
        assert any(is_problem(answer, code, case["status"]) for code in codes), body
        assert target.jobs.position == jobs, "what is refused leaves nothing behind"


@pytest.mark.asyncio(loop_scope="module")
async def test_the_service_is_well_after_all_of_them(target: World) -> None:
    assert (await target.get("/health")).status == 200
