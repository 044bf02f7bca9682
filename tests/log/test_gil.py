import asyncio
from types import SimpleNamespace

import pytest

from umd.log import gil


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_a_busy_loop_rests_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    rests: list[float] = []
    monkeypatch.setattr(gil, "time", SimpleNamespace(sleep=rests.append))
    loop = asyncio.get_running_loop()

    with gil.shared():
        until = loop.time() + 5 * gil.EVERY_SEC
        while loop.time() < until:
            await turns(1)
    during = len(rests)
    await asyncio.sleep(3 * gil.EVERY_SEC)

    assert 1 <= during <= 5
    assert len(rests) == during


async def test_a_short_wait_has_no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    rests: list[float] = []
    monkeypatch.setattr(gil, "time", SimpleNamespace(sleep=rests.append))
    monkeypatch.setattr(gil, "EVERY_SEC", 60)

    with gil.shared():
        await turns(100)

    assert rests == []
