"""Starts attempts as fresh processes: slower, and for systems where a warm process cannot be forked."""

import asyncio
import contextlib
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from functools import cache, partial

import msgspec

from umd.egress.proxy import Egress
from umd.engine import child, leftovers, selftest
from umd.engine.config import EngineConfig
from umd.engine.doorway import Doorway, allowance
from umd.engine.inbox import Inbox
from umd.engine.joint import Joint
from umd.engine.notices import Listener, Notice, ignore
from umd.engine.protocol import Assignment, Attempt, Ended
from umd.engine.roster import Roster, make_place, needed, require, sweep
from umd.engine.sandbox import Confinement
from umd.engine.shelf import version_at
from umd.engine.trial import Trial
from umd.engine.worker import Order
from umd.errors import EngineError, ReleaseChanged

LOOK_SEC = 0.01
PROBE_SEC_MAX = 30.0


class SpawnedChild:
    """The leash of a child of the service itself. Implements `umd.engine.attempt.Leash`.

    A thread waits for its end. The group is signalled only while the child is unreaped, so that its
    number cannot be a stranger's.
    """

    def __init__(self, process: subprocess.Popen[bytes], life: int, mark: str) -> None:
        self.ended: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
        self._loop = asyncio.get_running_loop()
        self._process = process
        self._life: int | None = life
        self._mark = mark
        self._reaping = threading.Lock()
        self._reaped = False
        threading.Thread(target=self._wait, name=f"attempt-{process.pid}", daemon=True).start()

    async def signal(self, signum: int) -> None:
        self._signal(signum)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def _signal(self, signum: int) -> None:
        with self._reaping:
            if not self._reaped:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self._process.pid, signum)

    def _wait(self) -> None:
        """In the thread: until the child has ended, and then its group."""
        pid = self._process.pid
        if hasattr(os, "waitid"):  # not on macOS
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        self.kill()
        with self._reaping:
            _, status, usage = os.wait4(pid, 0)
            self._reaped = True
        self._process.returncode = os.waitstatus_to_exitcode(status)
        while leftovers.kill_marked(self._mark):
            time.sleep(LOOK_SEC)
        with contextlib.suppress(RuntimeError):  # The loop is closed: nobody waits any more.
            self._loop.call_soon_threadsafe(
                self._end, Ended(self._process.returncode, usage.ru_utime + usage.ru_stime)
            )

    def _end(self, ended: Ended) -> None:
        if self._life is not None:
            os.close(self._life)
            self._life = None
        self.ended.set_result(ended)


class SpawnEngine:
    """Implements `umd.engine.protocol.Engine` with a fresh interpreter for each attempt."""

    mode = "spawn"

    def __init__(self, config: EngineConfig, egress: Egress, listener: Listener = ignore) -> None:
        self._config = config
        self._egress = egress
        self._notice = listener
        self._roster = Roster(listener)
        self._numbers = itertools.count(1)
        self._running = False
        self._running_on: dict[int, str] = {}
        self.confinement: Confinement | None = None
        """What children are shut off by; None before the start."""

    @property
    def ytdlp_version(self) -> str:
        """The release that attempts are started with."""
        return _version(self._config.release)

    @property
    def versions(self) -> frozenset[str]:
        """The releases that attempts may be running on: which one an attempt has, it has in its memory."""
        return frozenset({_version(self._config.release), *self._running_on.values()})

    @property
    def release(self) -> str:
        """The folder of the release for new attempts; empty for umd's own."""
        return self._config.release

    @property
    def alive(self) -> bool:
        """Whether an attempt can be started."""
        return self._running

    async def start(self) -> None:
        """Be ready. May be repeated. Raises `EngineError`, and `SettingsError` below the least sandbox."""
        await asyncio.to_thread(make_place, self._config)
        self.confinement = await asyncio.to_thread(_probe, self._config)
        self._notice(Notice("sandbox", detail=str(self.confinement)))
        require(self.confinement, self._config)
        self._running = True

    async def warm(self) -> None:
        """Each attempt begins cold: there is nothing to wait for."""

    async def sweep(self) -> None:
        """Kill what earlier runs left behind: before the first attempt, once the data directory is ours."""
        await sweep(self._config, self._notice)

    async def stop(self) -> None:
        """End all attempts; no process is left on return. May be repeated, and come before a start."""
        self._running = False
        await self._roster.stop()

    async def run(self, assignment: Assignment) -> Attempt:
        """Start a process for the assignment, whose directory exists. Raises `EngineError`."""
        wanted = assignment.ytdlp_version
        if wanted not in ("", self.ytdlp_version):
            raise ReleaseChanged(f"yt-dlp {self.ytdlp_version} came into use in the place of {wanted}.")
        return await self._start(self._config, assignment, self._egress)

    @contextlib.asynccontextmanager
    async def trial(self, folder: str) -> AsyncIterator[Trial]:
        """The release in this folder, when it has passed the self-test; `EngineError` says why it has not."""
        config = msgspec.structs.replace(self._config, release=folder)
        await selftest.examine(partial(self._start, config), config, _version(config.release))
        yield Trial(_version(config.release), partial(self._change_to, config))

    async def _change_to(self, config: EngineConfig) -> None:
        self._config = config

    async def _start(self, config: EngineConfig, assignment: Assignment, egress: Egress) -> Attempt:
        if not self._running or self.confinement is None:
            raise EngineError("The engine is not running.")
        mark = f"{config.mark}.{next(self._numbers)}"
        own = msgspec.structs.replace(config, mark=mark, sandbox=self.confinement.level)
        joint = Joint()
        try:
            process = await _spawned(Order(own, needed(assignment)), joint.ends)
        except BaseException as error:
            joint.close()
            if isinstance(error, OSError):
                raise EngineError(f"No process can be made: {error}") from error
            raise
        finally:
            joint.close_ends()
        spawned = SpawnedChild(process, joint.life, mark)
        limit = child.filesize_max_bytes(assignment, config)
        doorway = Doorway(joint.handover, egress, allowance(assignment.options, limit))
        self._running_on[process.pid] = _version(config.release)
        spawned.ended.add_done_callback(lambda _: self._running_on.pop(process.pid, None))
        inbox = Inbox(lambda reason: self._break(spawned, process.pid, reason))
        try:
            await inbox.open(joint.reports)
        except BaseException:
            spawned.kill()
            self._roster.close(doorway)
            raise
        return self._roster.add(process.pid, spawned, inbox, doorway)

    def _break(self, spawned: SpawnedChild, pid: int, reason: str) -> None:
        """What a child says cannot be understood: it is broken, and is ended."""
        self._notice(Notice("child_broken", pid, reason))
        spawned.kill()


@cache
def _version(release: str) -> str:
    return version_at(release)


async def _spawned(order: Order, ends: child.Ends) -> subprocess.Popen[bytes]:
    """Start a process. A cancel leaves none behind, and no thread that uses the ends."""
    spawning = asyncio.create_task(asyncio.to_thread(_spawn, order, ends))
    try:
        return await asyncio.shield(spawning)
    except asyncio.CancelledError:
        with contextlib.suppress(OSError):
            process = await spawning
            process.kill()
            await asyncio.to_thread(process.wait)
        raise


def _spawn(order: Order, ends: child.Ends) -> subprocess.Popen[bytes]:
    """In a thread: its signal mask is inherited, so that no SIGINT comes before the child is ready for it.

    The order goes through a pipe: there may be cookies in it, which no disk is to see.
    """
    with _without_interrupts():
        # `-P`: the working directory, where a download lies, must not become a place to import from.
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "umd.engine.worker", *_options(ends)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            pass_fds=msgspec.structs.astuple(ends),
            env=child.worker_environment(order.config),
            cwd=order.config.scratch,
            process_group=0,
        )
    assert process.stdin is not None  # noqa: S101  # a pipe was asked for
    with contextlib.suppress(BrokenPipeError), process.stdin as pipe:  # a dead one says so by its end
        pipe.write(msgspec.json.encode(order))
    return process


def _options(ends: child.Ends) -> list[str]:
    return [f"--{name}={descriptor}" for name, descriptor in msgspec.structs.asdict(ends).items()]


def _probe(config: EngineConfig) -> Confinement:
    """In a process of its own, which has one thread."""
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "umd.engine.sandbox", f"--best={config.sandbox}"],
            capture_output=True,
            timeout=PROBE_SEC_MAX,
            check=True,
            env=child.worker_environment(config),
            cwd=config.scratch,
        )
        return msgspec.json.decode(done.stdout, type=Confinement)
    except (OSError, subprocess.SubprocessError, msgspec.MsgspecError) as error:
        raise EngineError(f"The sandbox cannot be tried: {error}") from error


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
