"""Measures the event log: `python -m scripts.bench.log [--rounds 5] [--seconds 0.5] [--rows 1000000]`.

The first table: appends of a command and its event (two rows), in a closed loop, each appender on a stream of
its own, against raw sqlite3 that commits one row after the other. Rounds of the two alternate on the same
volume, and each figure is a median. The second: how long a start on a long log takes, a verify
of it, and an append meanwhile, and during each kind of upkeep; beside that the longest hold of the writer by
a step of upkeep (from the statement's begin to its end, commit and checkpoint included), and the longest time
that the event loop had no turn for others, with the processor time in it. Ratios are what counts; absolute
figures are the machine's.
"""

import argparse
import asyncio
import gc
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import Any

from msgspec.structs import astuple

from umd.actors.upkeep import REST_SEC
from umd.clock import instant
from umd.domain import commands as c
from umd.domain import events as e
from umd.domain.options import DownloadRequest
from umd.log import database
from umd.log.codec import entries
from umd.log.ledger import Draft, Ledger
from umd.log.reader import opened
from umd.log.shelf import WAL_BYTES_MAX
from umd.log.sqlite import INSERT, ROW, VERIFIED_AT_START_ROWS, SqliteLog
from umd.log.verify import verify
from umd.projections.models import Models

APPENDERS = (1, 10, 100, 1_000)
AT = 1_790_000_000_000_000
BATCH_ROWS = 5_000
BESIDE_SEC = 2.0
REPEATED_SEC = 10.0
TICK_SEC = 0.001
BESIDE = "  {:<27} {:>8} {:>8} {:>9} {:>12} {:>10} {:>8} {:>8}"
LINE = "{:>9} {:>10} {:>9} {:>9} {:>12} {:>14}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5, help="of each round")
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the long log; 0 leaves it out")
    parser.add_argument("--directory", type=Path, help="on the volume to measure; default: the system's")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="umd-bench-", dir=arguments.directory) as directory:
        print(LINE.format("appenders", "appends/s", "p50 ms", "p99 ms", "raw rows/s", "appends : raw"))
        for appenders in APPENDERS:
            report_appends(Path(directory), appenders, arguments.rounds, arguments.seconds)
        if arguments.rows:
            report_start(Path(directory) / "long", arguments.rows, arguments.rounds)
            report_upkeep(Path(directory), arguments.rows)


# ----------------------------------------------------------------------------------------------- appends


def report_appends(directory: Path, appenders: int, rounds: int, seconds: float) -> None:
    ours: list[float] = []
    raw: list[float] = []
    times: list[float] = []
    for number in range(rounds):
        answered = asyncio.run(append(directory / f"log-{appenders}-{number}", appenders, seconds))
        ours.append(len(answered) / seconds)
        times += answered
        raw.append(commit_rows(directory / f"raw-{appenders}-{number}.sqlite3", seconds))
    percentiles = [1_000 * value for value in statistics.quantiles(times, n=100)]
    rate, floor = statistics.median(ours), statistics.median(raw)
    print(
        LINE.format(
            appenders,
            f"{rate:,.0f}",
            f"{percentiles[49]:.2f}",
            f"{percentiles[98]:.2f}",
            f"{floor:,.0f}",
            f"{rate / floor:.1f}",
        ),
        flush=True,
    )


async def append(directory: Path, appenders: int, seconds: float) -> list[float]:
    """How long each append took that was answered in time."""
    log = SqliteLog(directory)
    await log.start()
    times: list[float] = []
    end = time.perf_counter() + seconds

    async def appender(stream: str) -> None:
        command, events = entered(stream, 1.0)
        position = 0
        while True:
            before = time.perf_counter()
            done = await log.append(stream, position, command, events, at=AT, correlation=stream)
            after = time.perf_counter()
            if after > end:
                return
            times.append(after - before)
            position = done.last

    await asyncio.gather(*(appender(f"job-{number:026d}") for number in range(appenders)))
    await log.stop()
    return times


def commit_rows(path: Path, seconds: float) -> float:
    """What SQLite does alone: the same table, one row and one commit after the other, in this thread."""
    connection = sqlite3.connect(path)
    connection.executescript(database.PRAGMAS)
    for script in database.migrations():
        connection.executescript(script)
    rows = sample_rows()
    end = time.perf_counter() + seconds
    done = 0
    while time.perf_counter() < end:
        connection.execute(INSERT + ROW, next(rows))
        connection.commit()
        done += 1
    connection.close()
    return done / seconds


# ------------------------------------------------------------------------------------------------- start


def report_start(directory: Path, rows: int, rounds: int) -> None:
    """How long a start takes: wall and processor time, for a busy machine lengthens the first."""
    payload = asyncio.run(generate(directory, rows))
    size = (directory / "log.sqlite3").stat().st_size
    print(f"\nstart on {rows:,} rows, payload {payload / rows:.0f} B in the mean, {size / 2**20:.0f} MiB")
    report_starts(directory, rounds, f"all {rows:,} verified, nothing folded", None, rows)
    report_starts(directory, rounds, "nothing folded", None)
    report_starts(directory, rounds, "read models, no snapshot", Models)
    took, bytes_ = asyncio.run(put_by(directory))
    report_starts(directory, rounds, "read models, with a snapshot", Models)
    print(f"  the snapshot: {took:.2f} s to take, {bytes_ / 2**20:.1f} MiB")


def report_starts(
    directory: Path,
    rounds: int,
    name: str,
    models: Callable[[], Models] | None,
    verified: int = VERIFIED_AT_START_ROWS,
) -> None:
    times = [asyncio.run(start(directory, models, verified)) for _ in range(rounds)]
    wall, cpu = (statistics.median(kind) for kind in zip(*times, strict=True))
    best_wall, best_cpu = (min(kind) for kind in zip(*times, strict=True))
    print(
        f"  {name:<36} {wall:6.2f} s, of the processor {cpu:5.2f} s "
        f"(best {best_wall:5.2f} s, {best_cpu:5.2f} s)",
        flush=True,
    )


async def start(directory: Path, models: Callable[[], Models] | None, verified: int) -> tuple[float, float]:
    gc.collect()
    log = SqliteLog(directory, verified_at_start_rows=verified)
    wall, cpu = time.perf_counter(), time.process_time()
    await log.start(models=models() if models else None)
    took = time.perf_counter() - wall, time.process_time() - cpu
    await log.stop()
    return took


async def put_by(directory: Path) -> tuple[float, int]:
    """Take a snapshot; how long it takes and how large it is."""
    log = SqliteLog(directory)
    await log.start(models=Models())
    begin = time.perf_counter()
    await log.put_by()
    took = time.perf_counter() - begin
    await log.stop()
    with closing(sqlite3.connect(directory / "log.sqlite3")) as connection:
        [size] = connection.execute("SELECT sum(length(data)) FROM snapshot_part").fetchone()
    return took, size


def report_upkeep(directory: Path, rows: int) -> None:
    """How long looking at the long log takes from outside, and what an append waits during upkeep."""
    long = directory / "long"
    begin = time.perf_counter()
    with opened(long) as reader:
        verify(reader)
    print(f"\n  full verify of {rows:,} rows: {time.perf_counter() - begin:.2f} s")
    backup = ["backup", str(directory / "backup")]
    titles = "p50 ms", "p99 ms", "worst ms", "writer held", "loop held", "its cpu", "seconds"
    print(BESIDE.format("10 appenders", *titles))
    for name, deed in (
        ("alone", wait),
        ("during `umd log verify`", partial(command, long, ["verify"])),
        ("during `umd log backup`", partial(command, long, backup)),
        ("while a snapshot is taken", SqliteLog.put_by),
        ("while the floor rises", raise_floor),
        ("while rows are deleted", partial(repeat, SqliteLog.sweep)),
        ("while pages are given back", partial(repeat, SqliteLog.give_back)),
        ("while the WAL is cut", partial(cut_wal, long)),
    ):
        beside = asyncio.run(append_beside(long, deed))
        percentiles = statistics.quantiles(beside.appends, n=100)
        appends = percentiles[49], percentiles[98], max(beside.appends)
        held = beside.writer_held, beside.loop_held, beside.loop_cpu
        in_ms = (f"{1_000 * figure:.1f}" for figure in (*appends, *held))
        print(BESIDE.format(name, *in_ms, f"{beside.took:.1f}"), flush=True)


Deed = Callable[[SqliteLog], Awaitable[object]]
"""Something beside the appends."""


async def wait(_log: SqliteLog) -> None:
    await asyncio.sleep(BESIDE_SEC)


async def command(directory: Path, arguments: Sequence[str], _log: SqliteLog) -> None:
    other = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "umd", "log", *arguments, "--from", str(directory), stdout=subprocess.DEVNULL
    )
    assert await other.wait() == 0


async def raise_floor(log: SqliteLog) -> None:
    await log.put_by()
    assert await log.raise_floor(AT + 1)


async def repeat(step: Callable[[SqliteLog], Awaitable[bool]], log: SqliteLog) -> None:
    """One step after the other, with the rests of the upkeep, for some time."""
    end = time.perf_counter() + REPEATED_SEC
    while time.perf_counter() < end and await step(log):  # noqa: ASYNC110  # as the upkeep
        await asyncio.sleep(REST_SEC)


async def cut_wal(directory: Path, log: SqliteLog) -> None:
    """Have somebody read until the WAL is too large, then cut it."""
    with closing(sqlite3.connect(directory / "log.sqlite3")) as reader:
        reader.execute("BEGIN").execute("SELECT 1 FROM log LIMIT 1").fetchall()
        while log.wal_bytes <= WAL_BYTES_MAX:  # noqa: ASYNC110  # nobody tells when it has grown
            await asyncio.sleep(REST_SEC)
    assert await log.cut_wal()


@dataclass
class Beside:
    """How long each append took beside a deed, and it all, and what was held the longest meanwhile."""

    appends: list[float] = field(default_factory=list)
    writer_held: float = 0.0
    loop_held: float = 0.0
    loop_cpu: float = 0.0
    took: float = 0.0

    async def watch_loop(self) -> None:
        while True:
            begin, cpu = time.perf_counter(), time.thread_time()
            await asyncio.sleep(TICK_SEC)
            self.loop_held = max(self.loop_held, time.perf_counter() - begin - TICK_SEC)
            self.loop_cpu = max(self.loop_cpu, time.thread_time() - cpu)


class WatchedLog(SqliteLog):
    """Times in the writer's own thread all that is executed there but the appends."""

    held = 0.0

    async def _begin_writing(self) -> None:
        await super()._begin_writing()
        execute: Callable[..., Awaitable[Any]] = self._writing._execute  # noqa: SLF001  # the only way in

        def watched(function: Callable[..., Any], *arguments: object) -> Awaitable[Any]:
            is_append = str(arguments[0] if arguments else "").startswith(INSERT)
            return execute(function if is_append else partial(self._time_it, function), *arguments)

        self._writing._execute = watched  # type: ignore[assignment]  # noqa: SLF001

    def _time_it(self, function: Callable[..., object], *arguments: object) -> object:
        begin = time.perf_counter()
        try:
            return function(*arguments)
        finally:
            self.held = max(self.held, time.perf_counter() - begin)


async def append_beside(directory: Path, deed: Deed) -> Beside:
    """Append to the long log during a deed."""
    log = WatchedLog(directory)
    await log.start(models=Models())
    log.held = 0.0
    gc.collect()
    gc.freeze()  # as the service does when it is ready
    beside = Beside()
    begin = time.perf_counter()
    watching = asyncio.create_task(beside.watch_loop())
    doing = asyncio.ensure_future(deed(log))

    async def appender(stream: str) -> None:
        order, events = entered(stream, 1.0)
        position = 0
        while not doing.done():
            before = time.perf_counter()
            done = await log.append(stream, position, order, events, at=AT + 2, correlation=stream)
            beside.appends.append(time.perf_counter() - before)
            position = done.last

    await asyncio.gather(*(appender(f"job-beside-{begin}-{number}") for number in range(10)))
    beside.took = time.perf_counter() - begin
    watching.cancel()
    beside.writer_held = log.held
    await doing
    await log.stop()
    gc.unfreeze()
    return beside


async def generate(directory: Path, rows: int) -> int:
    """Write a long log in one go, and return the bytes of its payload.

    The log makes the database, the ledger the rows.
    """
    log = SqliteLog(directory)
    await log.start()
    await log.stop()
    (directory / "log.mark").unlink()
    connection = sqlite3.connect(directory / "log.sqlite3")
    connection.execute("PRAGMA synchronous = OFF")
    payload = 0
    jobs = sample_rows()
    for written in range(0, rows, BATCH_ROWS):
        batch = list(islice(jobs, min(BATCH_ROWS, rows - written)))
        connection.executemany(INSERT + ROW, batch)
        connection.commit()
        payload += sum(len(row[9]) for row in batch)
    connection.close()
    os.sync()
    return payload


# ------------------------------------------------------------------------------------------------ sample


def sample_job(job: str) -> Iterator[tuple[c.Command, list[e.Event]]]:
    """The appends of one download, under an address and into a file of its own: 21 rows."""
    limits = e.Limits(timeout_sec=1800, retries=3, retry_base_sec=10, retention_sec=3600)
    request = DownloadRequest(url=f"https://media.example.org/watch?v={job}")
    metadata = e.Metadata(job, "A video of some length", "example", duration=212.0, width=1920)
    file = e.File(f"videos/A video-{job}.mp4", 73_400_320, "0" * 64, "video/mp4", "mp4", "media")
    line = e.LogLine(instant(AT), "info", "[download] Destination: A video-dQw4w9WgXcQ.f137.mp4")
    done = e.Progress("finished", 100.0, 73_400_320, 73_400_320)
    submit = c.SubmitDownload(job, request=request, limits=limits, owner="me")
    yield submit, [e.JobQueued(job, request, limits, "me")]
    yield c.StartAttempt(job, "2026.10.26"), [e.JobStarted(1, "2026.10.26")]
    yield c.RecordMetadata(job, 1, metadata), [e.JobMetadata(1, metadata)]
    yield c.RecordLog(job, 1, (line,)), [e.JobLog(1, (line,))]
    for percent in (10.0, 30.0, 50.0, 70.0):
        yield entered(job, percent)
    yield c.RecordLog(job, 1, (line, line)), [e.JobLog(1, (line, line))]
    yield c.CompleteAttempt(job, 1, (file,), done), [e.JobFile(1, file), e.JobCompleted(1, done, instant(AT))]


def entered(job: str, percent: float) -> tuple[c.Command, list[e.Event]]:
    progress = e.Progress("downloading", percent, 7_340_032, 73_400_320, 5_242_880.0, 12.6)
    return c.EnterPhase(job, 1, progress), [e.JobPhase(1, progress)]


def sample_rows() -> Iterator[tuple[Any, ...]]:
    """Rows without end, of 200 jobs at a time that take turns."""
    ledger = Ledger()
    names = (f"{number:026d}" for number in count())
    while True:
        positions = dict.fromkeys(islice(names, 200), 0)
        for appends in zip(*map(sample_job, positions), strict=True):
            drafts = [
                Draft(f"job-{job}", positions[job], AT, "01k5x8z3d8t7v6w5q4p3n2m1k0", None, entries(*one))
                for job, one in zip(positions, appends, strict=True)
            ]
            plan = ledger.plan(drafts)
            ledger.commit(plan)
            positions = {stream.removeprefix("job-"): tip.position for stream, tip in plan.tips.items()}
            yield from (astuple(fact.record) for fact in plan.facts)


if __name__ == "__main__":
    main()
