"""Measures the engine against yt-dlp within one process, on one origin: `python -m scripts.bench.engine`.

T: a new YoutubeDL for each file in 10 threads of a warm process, as most services do it.
F: one YoutubeDL used again and again, one file after the other: the floor, without isolation or concurrency.
E: the engine as the service uses it, a forked child for each file.

Ratios to T are what counts; absolute times carry the machine's noise. The targets are those of the issue.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import uuid
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from umd.domain.destinations import rules_of
from umd.domain.options import MediaOptions
from umd.egress.proxy import Egress
from umd.egress.resolver import SystemResolver
from umd.engine import ffmpeg, runner
from umd.engine.config import configure, scratch_folder
from umd.engine.protocol import Assignment, Attempt, Engine, Finished, Tick
from umd.settings import Settings

ROOT = Path(__file__).resolve().parent.parent.parent
AT_ONCE = 10
FILES = 40
SLOW_BYTES_SEC = 200_000
OPTIONS = MediaOptions(embed_metadata=False)
Result = dict[str, float]


class Origin:
    """The local media site in a process of its own."""

    def __enter__(self) -> "Origin":
        command = [sys.executable, "-u", str(ROOT / "scripts/media_site.py"), "--port", "0"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert self._process.stdout is not None
        self.base = ""
        while "http" not in self.base:
            self.base = self._process.stdout.readline().strip()
        self.base = "/".join(self.base.split("/")[:3])
        threading.Thread(target=self._process.stdout.read, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()

    def asked_at(self, path: str) -> float:
        """When the first request for this path came in, on the clock that all processes share."""
        with urllib.request.urlopen(f"{self.base}/_site/requests?path={path}") as answer:
            return float(json.load(answer)["requests"][0]["opened_at"])


def fresh(kind: str) -> str:
    return f"/media/{kind}/{uuid.uuid4().hex}.mp4"


def cpu_sec() -> float:
    return time.process_time()


def pss_mb(pid: int | str = "self") -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    return 0.0


# T and F: run in a process of their own, so that their processor time is theirs alone.


def in_process(base: str, shots: int, *, reuse: bool) -> Result:
    """One process, a new YoutubeDL for each file or one for all."""
    import yt_dlp  # noqa: PLC0415 - the process that runs the engine must not have it

    folder = tempfile.TemporaryDirectory()
    options = {"quiet": True, "no_warnings": True, "noprogress": True, "cachedir": False}

    def make() -> yt_dlp.YoutubeDL:
        return yt_dlp.YoutubeDL({**options, "outtmpl": f"{folder.name}/%(id)s.%(ext)s"})

    one = make()

    def fetch(path: str) -> None:
        if reuse:
            one.download([base + path])
        else:
            with make() as ydl:
                ydl.download([base + path])

    fetch(fresh("small"))
    result = _shots(base, shots, fetch)
    pool = ThreadPoolExecutor(1 if reuse else AT_ONCE)  # never joined: the slow downloads would take minutes
    began = time.monotonic()
    list(pool.map(fetch, [fresh(f"n/{number}") for number in range(FILES)]))
    result["wall_sec"] = time.monotonic() - began
    if not reuse:
        for _ in range(AT_ONCE):
            pool.submit(fetch, fresh("50mb") + f"?rate={SLOW_BYTES_SEC}")
        _wait_until(lambda: len(list(Path(folder.name).glob("*.part"))) == AT_ONCE)
        result["pss_mb"] = pss_mb()
    return result


def _shots(base: str, shots: int, fetch: Callable[[str], None]) -> Result:
    origin = Origin()
    origin.base = base
    first, done, cpu = [], [], []
    for _ in range(shots):
        path, began, used = fresh("1mb"), time.monotonic(), cpu_sec()
        fetch(path)
        done.append(time.monotonic() - began)
        cpu.append(cpu_sec() - used)
        first.append(origin.asked_at(path) - began)
    return _medians(first, done, cpu)


def _medians(first: list[float], done: list[float], cpu: list[float]) -> Result:
    names = ("first_ms", "done_ms", "cpu_ms")
    return {
        name: 1000 * statistics.median(values) for name, values in zip(names, (first, done, cpu), strict=True)
    }


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.01)


def other_process(base: str, shots: int, role: str) -> Result:
    command = [
        sys.executable,
        "-m",
        "scripts.bench.engine",
        "--role",
        role,
        "--base",
        base,
        "--shots",
        str(shots),
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, cwd=ROOT)
    return dict(json.loads(done.stdout.splitlines()[-1]))


# E


class Bench:
    """The engine, and what is asked of it."""

    def __init__(self, origin: Origin, engine: Engine, root: Path, pids: defaultdict[str, list[int]]) -> None:
        self._origin, self._engine, self._root, self._pids = origin, engine, root, pids

    async def begin(self, path: str) -> Attempt:
        name = uuid.uuid4().hex
        folder = self._root / name
        folder.mkdir()
        return await self._engine.run(Assignment(name, 1, self._origin.base + path, OPTIONS, str(folder)))

    async def fetch(self, path: str) -> float:
        """Download one file; returns the processor seconds of the child."""
        attempt = await self.begin(path)
        last = None
        async for report in attempt.reports():
            last = report
        assert isinstance(last, Finished), last
        assert last.fault is None, last
        return (await attempt.wait()).cpu_sec or 0.0

    async def shots(self, shots: int) -> Result:
        first, done, cpu = [], [], []
        for _ in range(shots):
            path, began, used = fresh("1mb"), time.monotonic(), cpu_sec() + self._zygote_cpu_sec()
            child = await self.fetch(path)
            done.append(time.monotonic() - began)
            cpu.append(child + cpu_sec() + self._zygote_cpu_sec() - used)
            first.append(await asyncio.to_thread(self._origin.asked_at, path) - began)
        return _medians(first, done, cpu)

    def _zygote_cpu_sec(self) -> float:
        """What the fork itself costs is the zygote's time."""
        zygotes = self._pids["zygote_ready"]
        return sum(int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9 for pid in zygotes)

    async def wall(self) -> float:
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(number: int) -> None:
            async with gate:
                await self.fetch(fresh(f"n/{number}"))

        began = time.monotonic()
        await asyncio.gather(*(one(number) for number in range(FILES)))
        return time.monotonic() - began

    async def memory(self) -> Result:
        """Ten downloads that have begun to write."""
        self._pids["child_started"].clear()
        slow = [fresh("50mb") + f"?rate={SLOW_BYTES_SEC}" for _ in range(AT_ONCE)]
        attempts = [await self.begin(path) for path in slow]
        await asyncio.gather(*(_until_ticking(attempt) for attempt in attempts))
        each = [pss_mb(pid) for pid in self._pids["child_started"]]
        zygote = sum(pss_mb(pid) for pid in self._pids["zygote_ready"])
        await asyncio.gather(*(attempt.stop() for attempt in attempts))
        return {
            "pss_child_mb": statistics.median(each),
            "pss_mb": sum(each) + zygote,
            "pss_zygote_mb": zygote,
        }


async def _until_ticking(attempt: Attempt) -> None:
    ticks = 0
    async for report in attempt.reports():
        assert not isinstance(report, Finished), report
        ticks += isinstance(report, Tick)
        if ticks == 3:
            return


async def engine(origin: Origin, shots: int, mode: str) -> Result:
    with tempfile.TemporaryDirectory() as name:
        settings = Settings(data_dir=name, allow_addresses="127.0.0.1")
        tools = ffmpeg.find(scratch_folder(settings) / "bin")
        pids: defaultdict[str, list[int]] = defaultdict(list)
        egress = Egress(rules_of(settings), SystemResolver())
        made = runner.create(
            configure(settings, tools), mode, egress, lambda notice: pids[notice.what].append(notice.pid or 0)
        )
        await made.start()
        try:
            bench = Bench(origin, made, Path(name), pids)
            await bench.fetch(fresh("small"))
            result = await bench.shots(shots)
            result["wall_sec"] = await bench.wall()
            return result | await bench.memory()
        finally:
            await made.stop()


TARGETS = {"first_ms": 0.35, "cpu_ms": 0.5, "wall_sec": 0.4}
PSS_CHILD_MB = 25.0


def report(threads: Result, floor: Result, ours: Result) -> None:
    print(f"{'':14}{'T':>9}{'F':>9}{'E':>9}{'E/T':>8}  target")
    for name in ("first_ms", "done_ms", "cpu_ms", "wall_sec", "pss_mb"):
        t, f, e = threads.get(name), floor.get(name), ours.get(name)
        ratio = f"{e / t:8.2f}" if t and e else " " * 8
        target = f"<= {TARGETS[name]}" if name in TARGETS else ""
        values = "".join(f"{value:9.2f}" if value else " " * 9 for value in (t, f, e))
        print(f"{name:14}{values}{ratio}  {target}")
    child, zygote = ours["pss_child_mb"], ours["pss_zygote_mb"]
    print(f"{'pss_child_mb':32}{child:9.2f}{'':8}  <= {PSS_CHILD_MB:.0f} (zygote {zygote:.0f})")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--shots", type=int, default=12, help="1 MB downloads for each median")
    parser.add_argument("--mode", default="fork", choices=("fork", "spawn"))
    parser.add_argument("--role", choices=("threads", "floor"), help=argparse.SUPPRESS)
    parser.add_argument("--base", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.role:
        print(
            json.dumps(in_process(arguments.base, arguments.shots, reuse=arguments.role == "floor")),
            flush=True,
        )
        os._exit(0)  # without waiting for the slow downloads
    with Origin() as origin:
        rounds = []
        for number in range(arguments.rounds):
            threads = other_process(origin.base, arguments.shots, "threads")
            floor = other_process(origin.base, arguments.shots, "floor")
            ours = asyncio.run(engine(origin, arguments.shots, arguments.mode))
            print(f"round {number + 1}: load {os.getloadavg()[0]:.1f}")
            report(threads, floor, ours)
            rounds.append((threads, floor, ours))
        print(f"median of {len(rounds)} rounds")
        report(
            *(
                {key: statistics.median(one[key] for one in column) for key in column[0]}
                for column in zip(*rounds, strict=True)
            )
        )


if __name__ == "__main__":
    main()
