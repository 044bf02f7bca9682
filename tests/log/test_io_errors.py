"""Each call of an append to the disk fails once, in every way: nothing is answered that has no row."""

import asyncio
import resource
import shutil
import sys
from pathlib import Path

import pytest

from umd.log.sqlite import SqliteLog

ROUNDS = 6
SOME = (1, 2, 4, 8, 16)
"""Which call fails; every one up to a hundred is for `make soak`."""

WAYS = (
    "fdatasync:error=EIO",
    "fdatasync:error=ENOSPC",
    "fdatasync:error=EINTR",
    "pwrite64:error=EIO",
    "pwrite64:error=ENOSPC",
    "pwrite64:error=EINTR",
    "pwrite64:error=EROFS",
)
needs_strace = pytest.mark.skipif(
    shutil.which("strace") is None,
    reason="NOT TESTED: failing calls need strace (apt-get install strace); only a file's limit is tried",
)


async def answered(directory: Path, *before: str, limit_bytes: int | None = None) -> list[tuple[str, int]]:
    """What a process that appends was answered, in whatever way it ended."""
    process = await asyncio.create_subprocess_exec(
        *before,
        *(sys.executable, "-m", "tests.log.acked", str(directory), str(ROUNDS)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        preexec_fn=None if limit_bytes is None else lambda: _limit(limit_bytes),
    )
    async with asyncio.timeout(60):
        output, _ = await process.communicate()
    lines = [line.split() for line in output.decode().splitlines()]
    return [(stream, int(position)) for stream, position in lines]


def _limit(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


async def stored(directory: Path) -> set[tuple[str, int]]:
    """What the log has after it, opened on a disk that is well again: its chain holds, or this raises."""
    log = SqliteLog(directory)
    await log.start()
    try:
        return {(row.stream, row.position) for row in await log.read(limit=10_000)}
    finally:
        await log.stop()


async def fail_once(directory: Path, way: str, number: int) -> None:
    options = (
        "-f",
        "-o",
        "/dev/null",
        "-P",
        str(directory / "log.sqlite3-wal"),
        "-P",
        str(directory / "log.sqlite3"),
    )
    acked = await answered(directory, "strace", *options, "-e", f"inject={way}:when={number}")

    assert set(acked) <= await stored(directory), (way, number)


@needs_strace
@pytest.mark.parametrize("way", WAYS)
async def test_an_append_whose_call_fails_is_not_answered(tmp_path: Path, way: str) -> None:
    for number in SOME:
        await fail_once(tmp_path / str(number), way, number)


@needs_strace
@pytest.mark.soak
@pytest.mark.parametrize("way", WAYS)
async def test_an_append_is_not_answered_whichever_of_its_calls_fails(tmp_path: Path, way: str) -> None:
    for number in range(1, 100):
        await fail_once(tmp_path / str(number), way, number)


@needs_strace
async def test_the_failing_call_is_met(tmp_path: Path) -> None:
    """The other tests are not passed by calls that never come."""
    without = await answered(tmp_path / "without")
    options = ("-f", "-o", "/dev/null", "-P", str(tmp_path / "with/log.sqlite3-wal"))
    broken = await answered(tmp_path / "with", "strace", *options, "-e", "inject=fdatasync:error=EIO:when=3+")

    assert len(without) == 5 * ROUNDS
    assert len(broken) < len(without)


@pytest.mark.parametrize("limit_bytes", [20_000, 41_000, 60_000, 90_001])
async def test_a_file_that_may_not_grow_loses_no_answer(tmp_path: Path, limit_bytes: int) -> None:
    """Needs no tool: the kernel cuts a write short at the limit, and refuses the next."""
    acked = await answered(tmp_path, limit_bytes=limit_bytes)

    assert len(acked) < 5 * ROUNDS
    assert set(acked) <= await stored(tmp_path)
