"""The service is killed at each of its calls that change the disk, from a download's acceptance to its end.

What is visible is whole, what is completed has its files, and there is no half result.
"""

import asyncio
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from tests.histories import history, hold
from tests.invariants import check_acknowledged, check_disk
from tests.storage.lives import FILES, SWEPT_SEC, journal, read, world
from tests.virtual import run_virtual
from umd.domain.events import FilesSwept
from umd.domain.job import FINAL, State

ROOT = Path(__file__).parent.parent.parent
CALLS = "rename,fsync,unlink,unlinkat,mkdir,rmdir,write,ftruncate,openat"
"""What can change a disk; an `openat` does where it creates."""

Call = tuple[str, int]
"""A call to the kernel, and which of its name it is."""

pytestmark = pytest.mark.skipif(
    shutil.which("strace") is None,
    reason="NOT TESTED: kills at each call need strace (apt-get install strace)",
)


class Lives:
    """Lives of the service that are forked from one process, and followed by strace."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def calls(self, root: Path) -> list[Call]:
        """Live to the end; returns each call that changed the disk."""
        traced = root / "trace"
        assert self._live(root, "-o", str(traced), "-e", f"trace={CALLS}") == 0
        counts: Counter[str] = Counter()
        changing = []
        for line in traced.read_text().splitlines():
            if (call := re.match(r"(\w+)\(", line)) is not None:
                name = call[1]
                counts[name] += 1
                if name != "openat" or "O_CREAT" in line:
                    changing.append((name, counts[name]))
        traced.unlink()
        return changing

    def kill_at(self, root: Path, call: Call) -> None:
        """Live up to this call."""
        name, number = call
        way = f"inject={name}:signal=KILL:when={number}"
        status = self._live(root, "-o", "/dev/null", "-e", f"trace={name}", "-e", way)
        assert status == -signal.SIGKILL, f"{call} was not met"

    def _live(self, root: Path, *options: str) -> int:
        root.mkdir(exist_ok=True)
        child = self._ask(str(root))
        with subprocess.Popen(
            ["strace", "-p", child, *options],  # noqa: S607
            stderr=subprocess.PIPE,
            text=True,
        ) as tracer:
            assert tracer.stderr is not None
            assert "attached" in tracer.stderr.readline()
            return int(self._ask("go"))

    def _ask(self, line: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()


@contextmanager
def living(life: str) -> Iterator[Lives]:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.storage.lives", life],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Lives(process)
        assert process.stdin is not None
        process.stdin.close()


@pytest.fixture(scope="module")
def lives() -> Iterator[Lives]:
    with living("download") as downloading:
        yield downloading


def check_visible(root: Path) -> None:
    """What lies among the results is whole, also right after the kill."""
    for path in (root / "videos").rglob("*"):
        hold(path.read_bytes() in FILES.values(), f"{path.name} is visible and not whole")


def go_on(root: Path) -> None:
    """The next start settles what was left, and the job comes to its end."""

    async def main() -> None:
        after = world(root)
        acting = after.act

        async def look_then_act() -> None:
            jobs = history(read(journal(root))).jobs
            check_disk(root, jobs)
            await acting()

        after.act = look_then_act  # type: ignore[method-assign]  # between the recovery and all else
        await after.start()
        for entry in after.jobs.in_creation_order():
            job = await after.until(entry.job.job_id, *FINAL)
            hold(job.state is State.COMPLETED, f"the job is {job.state}: {job.error}")
        await after.idle()
        await after.stop()

    run_virtual(main())
    told = history(read(journal(root)))
    check_acknowledged(told, (), settled=True)
    check_disk(root, told.jobs)
    hold(not any((root / "temp").iterdir()), "something is left over")
    for job in told.jobs.values():
        hold(len(job.files) == len(FILES), f"a part of a result: {job.files}")


def test_a_kill_at_any_call_leaves_no_half_result(lives: Lives, tmp_path: Path) -> None:
    calls = lives.calls(tmp_path / "whole")
    assert len(calls) > 30

    for call in calls:
        root = tmp_path / f"{call[0]}-{call[1]}"
        lives.kill_at(root, call)
        check_after(root, call)


@pytest.mark.soak
def test_a_second_kill_at_any_call_of_the_next_life_leaves_no_half_result(
    lives: Lives, tmp_path: Path
) -> None:
    for first in lives.calls(tmp_path / "whole"):
        killed, second_life = tmp_path / f"{first[0]}-{first[1]}", tmp_path / "second"
        lives.kill_at(killed, first)
        shutil.copytree(killed, second_life)
        for second in lives.calls(second_life):
            root = tmp_path / f"{killed.name}-{second[0]}-{second[1]}"
            shutil.copytree(killed, root)
            lives.kill_at(root, second)
            check_after(root, first, second)
        shutil.rmtree(second_life)
        shutil.rmtree(killed)


def check_after(root: Path, *killed_at: Call) -> None:
    try:
        check_visible(root)
        go_on(root)
    except BaseException as error:
        error.add_note(f"killed at {killed_at}")
        raise
    shutil.rmtree(root)


STRANGERS = {"videos/old/a.mp4": b"?", "videos/b.mp4": b"??"}


def test_a_kill_at_any_call_of_a_sweep_leaves_no_deletion_untold(tmp_path: Path) -> None:
    """Whoever follows the events hears of every file that goes, once, wherever the service was killed."""
    with living("sweep") as lives:
        calls = lives.calls(with_strangers(tmp_path / "whole"))
        assert len(calls) > 5
        assert swept(tmp_path / "whole") == STRANGERS

        for call in calls:
            root = with_strangers(tmp_path / f"{call[0]}-{call[1]}")
            lives.kill_at(root, call)
            run_virtual(sweep_on(root))
            hold(swept(root) == STRANGERS, f"killed at {call}, {swept(root)} was told")
            left = [path for path in root.rglob("*") if path.is_file() and path != journal(root)]
            hold(not left, f"killed at {call}, {left} is left")


async def sweep_on(root: Path) -> None:
    after = world(root)
    await after.start()
    await asyncio.sleep(SWEPT_SEC)
    await after.stop()


def with_strangers(root: Path) -> Path:
    """A data directory with files that no job knows."""
    for path, content in STRANGERS.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    return root


def swept(root: Path) -> dict[str, bytes]:
    """The files that the log says are gone, as they were."""
    rows = [row for row in read(journal(root)) if row.type == "storage.files_swept"]
    files = [file for row in rows for file in msgspec.json.decode(row.data, type=FilesSwept).files]
    assert len(files) == len({file.path for file in files}), "told twice"
    return {file.path: b"?" * file.size_bytes for file in files}
