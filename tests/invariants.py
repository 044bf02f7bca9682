"""What must be true after any fault: one checker over the client's acks, the log, the disk and the processes.

Each check raises `BrokenInvariant` with what it found. The client's ledger is the oracle, not the service's
opinion: what was answered has to be there, and what was not may be there whole, or not at all.
"""

import hashlib
import os
import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import psutil

from tests.histories import History, history, hold
from umd.domain.batch import FINAL as BATCH_FINAL
from umd.domain.job import ACTIVE, FINAL, Job, State
from umd.domain.retention import deadline
from umd.engine.config import MARK_VARIABLE
from umd.log import Record, mark

DYING_SEC = 5
"""How long a process that was killed may take to go."""
LOOK_SEC = 0.02

COLUMNS = "position, stream, version, kind, type, schema_version, at, correlation, causation, data, hash"


def check(
    root: Path,
    acknowledged: Iterable[str],
    *,
    settled: bool = True,
    served: Mapping[str, Mapping[str, object]] | None = None,
) -> dict[str, Job]:
    """Everything, of a service that has stopped: returns the jobs as the log has them.

    `acknowledged` are the ids of the accepted jobs and batches. `settled` says that each has come to its end.
    `served` is what GET answered last for some of the jobs.
    """
    records = stored(root)
    told = history(records)
    jobs = told.jobs
    check_mark(root, records)
    check_acknowledged(told, acknowledged, settled=settled)
    check_served(jobs, served or {})
    check_disk(root, jobs)
    check_processes(root)
    return jobs


def stored(root: Path) -> list[Record]:
    """Every row of the log below a data directory, read by a connection of the checker's own."""
    with closing(sqlite3.connect(f"file:{root / 'log/log.sqlite3'}?mode=ro", uri=True)) as connection:
        rows = connection.execute(f"SELECT {COLUMNS} FROM log ORDER BY position")  # noqa: S608  # a constant
        return [Record(*row) for row in rows]


def check_mark(root: Path, records: Sequence[Record]) -> None:
    """No row is missing at the end that the high-water mark has seen."""
    with mark.opened(root / "log/log.mark") as high:
        marked = high.get()
    hold(
        marked is None or marked[0] <= len(records), f"the mark stands at {marked}, the log at {len(records)}"
    )


def check_acknowledged(told: History, acknowledged: Iterable[str], *, settled: bool) -> None:
    """What a client was told is true, and has come to its end."""
    lost = sorted(set(acknowledged) - set(told.jobs) - set(told.batches))
    hold(not lost, f"accepted and lost: {lost}")
    if settled:
        open_ = [job.job_id for job in told.jobs.values() if job.state not in FINAL]
        open_ += [one.batch_id for one in told.batches.values() if one.state not in BATCH_FINAL]
        hold(not open_, f"not at their end: {open_}")


def check_served(jobs: Mapping[str, Job], served: Mapping[str, Mapping[str, object]]) -> None:
    """What GET said last is what the log says, where the job had ended by then."""
    for job_id, answer in served.items():
        job = jobs[job_id]
        if answer["status"] in FINAL:
            hold(answer["status"] == job.state, f"{job_id} was served as {answer['status']}, is {job.state}")
            hold(answer["attempt"] == job.attempt, f"{job_id} was served with another attempt")


def check_disk(root: Path, jobs: Mapping[str, Job]) -> None:
    """Every completed job has its files, whole; every other file belongs to somebody who may go on."""
    known = {}
    for job in jobs.values():
        if job.state is State.COMPLETED and job.files_deleted_at is None:
            hold(job.files, f"{job.job_id} is completed and has no file")
            for file in job.files:
                hold(file.path not in known, f"{file.path} is the file of two jobs")
                known[file.path] = file
    for path, file in known.items():
        target = root / path
        hold(target.is_file() and not target.is_symlink(), f"{path} is missing")
        data = target.read_bytes()
        hold(len(data) == file.size_bytes, f"{path} has {len(data)} bytes, not {file.size_bytes}")
        hold(hashlib.sha256(data).hexdigest() == file.sha256, f"{path} has another content")
    going = {file.path for job in jobs.values() if job.files_deleted_at is not None for file in job.files}
    _check_no_strangers(root, set(known) | going)
    for folder in (root / "temp").glob("job-*"):
        owner = jobs.get(folder.name.removeprefix("job-"))
        hold(owner is not None, f"{folder.name} belongs to nobody")
        assert owner is not None
        may_go_on = owner.state not in FINAL or (owner.state is State.FAILED and deadline(owner) is not None)
        hold(may_go_on, f"{folder.name} is left over; the job is {owner.state}")


def _check_no_strangers(root: Path, known: set[str]) -> None:
    service = {"log", "temp", "cookies", "engines"}
    for folder, _, names in os.walk(root):
        relative = Path(folder).relative_to(root)
        if relative.parts and relative.parts[0] in service:
            continue
        for name in names:
            path = (relative / name).as_posix()
            if path.startswith("."):  # a secret of the service's own
                continue
            hold(path in known, f"{path} is a file of no job")


def check_live(jobs: Iterable[Job], live: Iterable[str]) -> None:
    """At most one attempt of a job is alive, and only of a job that is active."""
    alive = list(live)
    hold(len(alive) == len(set(alive)), f"a job has two live attempts: {sorted(alive)}")
    active = {job.job_id for job in jobs if job.state in ACTIVE}
    hold(set(alive) <= active, f"attempts without a job: {sorted(set(alive) - active)}")


def check_processes(root: Path) -> None:
    """No process of an engine that worked on this directory is left."""
    fingerprint = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:16]
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK_VARIABLE, "").startswith(f"{fingerprint}."):
                found.append(process)
        except psutil.Error:
            continue
    left = survivors(found)
    hold(not left, f"processes are left: {left}")


def survivors(processes: Sequence[psutil.Process]) -> list[psutil.Process]:
    """Those that are still alive after `DYING_SEC`. A dead one that its parent did not look at is dead."""
    alive = list(processes)
    for _ in range(int(DYING_SEC / LOOK_SEC)):
        alive = [process for process in alive if _lives(process)]
        if not alive:
            break
        time.sleep(LOOK_SEC)
    return alive


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
