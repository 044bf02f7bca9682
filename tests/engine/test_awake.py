"""What keeps a process waiting ends in time; what stops the process takes none of it."""

import asyncio
import time

import pytest

from umd.engine.awake import LOOKS, awake


async def test_a_wait_is_ended_in_time() -> None:
    began = asyncio.get_running_loop().time()

    with pytest.raises(TimeoutError):
        async with awake(0.2):
            await asyncio.Event().wait()

    assert 0.19 < asyncio.get_running_loop().time() - began < 2


async def test_what_comes_in_time_is_waited_for() -> None:
    here = asyncio.Event()
    asyncio.get_running_loop().call_soon(here.set)

    async with awake(5):
        await here.wait()

    assert here.is_set()


async def test_a_process_that_was_stopped_has_time_left() -> None:
    """Whoever holds the loop stops it as well as a signal would."""
    began = asyncio.get_running_loop().time()

    async with awake(1):
        for _ in range(LOOKS // 2):
            time.sleep(0.5)  # noqa: ASYNC251  # is what is tried
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    assert asyncio.get_running_loop().time() - began > 2


async def test_a_cancelled_wait_is_cancelled() -> None:
    waiting = asyncio.create_task(wait_long())
    await asyncio.sleep(0)
    waiting.cancel()

    with pytest.raises(asyncio.CancelledError):
        await waiting


async def wait_long() -> None:
    async with awake(60):
        await asyncio.Event().wait()
