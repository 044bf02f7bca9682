"""The process that children are forked from: it has yt-dlp imported and warm, one thread, and no connection.

The service runs it as `python -m umd.engine.zygote`, with a SOCK_SEQPACKET socket as its standard input. It
ends when the service is gone, after all its children. If it dies itself, its children go on: the service
starts another one and still hears them.
"""

import contextlib
import gc
import os
import select
import signal
import socket
import sys
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from umd.engine import child, control, linux, sandbox, warmup, worker
from umd.engine.config import EngineConfig
from umd.engine.protocol import Assignment

CRASHED = 70
REASON_CHARACTERS_MAX = 500
LAST_WORDS_SEC = 2.0
"""How long the end of killed children is waited for when the service is gone."""

_STOPS = {signal.SIGINT, signal.SIGTERM}


class Job(msgspec.Struct):
    """A child. It stays unreaped until its whole group is killed, so that its number is nobody else's."""

    number: int
    pid: int
    status: int | None = None
    cpu_sec: float = 0.0


class Zygote:
    """Forks, signals and reaps, as the service asks."""

    def __init__(self, service: socket.socket, config: EngineConfig, loader: Any) -> None:
        self._service = service
        self._config = config
        self._loader = loader
        self._jobs: dict[int, Job] = {}
        self._woken, wake = os.pipe()
        for end in (self._woken, wake):
            os.set_blocking(end, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        self._wake = wake
        self._pid = os.getpid()

    def serve(self, ready: control.Ready) -> None:
        """Say that it is warm, and work until the service is gone; then no child is left."""
        try:
            control.send(self._service, ready)
            self._serve()
        except ConnectionError:
            pass  # the other way to hear that the service is gone
        finally:
            if os.getpid() != self._pid:
                os._exit(CRASHED)  # a child that a signal threw out of its work
        self._end_all()

    def _serve(self) -> None:
        poll = select.poll()
        poll.register(self._service, select.POLLIN)
        poll.register(self._woken, select.POLLIN)
        while True:
            ready = {descriptor for descriptor, _ in poll.poll()}
            if self._woken in ready:
                self._drain()
                self._reap()
            if self._service.fileno() in ready and not self._obey():
                return

    def _obey(self) -> bool:
        """Take one message; False when there will be none any more."""
        order, descriptors = control.receive_order(self._service)
        try:
            match order:
                case control.Fork():
                    self._fork(order, *descriptors)
                case control.Signal(number, signum):
                    self._signal(number, signum)
                case _:
                    return False
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return True

    def _fork(self, order: control.Fork, *descriptors: int) -> None:
        # A signal must not come before the child is ready for it: the handlers of this process would take it.
        signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)
        try:
            pid = os.fork()
        except OSError as error:
            control.send(self._service, control.NotForked(order.number, str(error)))
            return
        if pid == 0:
            self._become_worker(order, child.Ends(*descriptors))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPS)
        with contextlib.suppress(OSError):  # The child does it as well; whoever comes first.
            os.setpgid(pid, pid)
        self._jobs[order.number] = Job(order.number, pid)
        control.send(self._service, control.Forked(order.number, pid))

    def _become_worker(self, order: control.Fork, ends: child.Ends) -> NoReturn:
        status = CRASHED
        try:
            assignment = msgspec.json.decode(order.assignment, type=Assignment)
            self._forget_the_service()
            status = worker.work(assignment, self._config, ends, lambda: self._loader)
        finally:
            os._exit(status)

    def _forget_the_service(self) -> None:
        """In the child: what leads to the service is not its business."""
        signal.set_wakeup_fd(-1)
        self._service.close()
        os.close(self._woken)
        os.close(self._wake)

    def _signal(self, number: int, signum: int) -> None:
        job = self._jobs.get(number)
        if job is not None and job.status is None:
            _signal_group(job.pid, signum)

    def _drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while os.read(self._woken, 4_096):
                pass

    def _reap(self) -> None:
        """Take note of what has ended; a child counts as gone when its group is empty."""
        for job in list(self._jobs.values()):
            if job.status is None and _has_ended(job.pid):
                # While the leader is a zombie, its number is taken: this cannot meet strangers.
                _signal_group(job.pid, signal.SIGKILL)
                _, status, usage = os.wait4(job.pid, 0)
                job.status = os.waitstatus_to_exitcode(status)
                job.cpu_sec = usage.ru_utime + usage.ru_stime
        strays = self._kill_strays()
        for job in list(self._jobs.values()):
            if job.status is not None and _is_empty(job.pid) and not strays:
                del self._jobs[job.number]
                control.send(self._service, control.Gone(job.number, job.status, job.cpu_sec))

    def _kill_strays(self) -> bool:
        """Kill what has left its group (a daemon that ffmpeg or a plugin made) and came to us as an orphan.

        Returns whether there still is one, dying.
        """
        known = {job.pid for job in self._jobs.values()}
        strays = [pid for pid in _children() if pid not in known and _group(pid) not in known]
        for pid in strays:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, os.WNOHANG)
        return any(pid in strays for pid in _children())

    def _end_all(self) -> None:
        """The service is gone: take everything along."""
        for job in self._jobs.values():
            _signal_group(job.pid, signal.SIGKILL)
        signal.setitimer(signal.ITIMER_REAL, LAST_WORDS_SEC)
        with contextlib.suppress(ChildProcessError):
            while True:
                os.waitpid(-1, 0)
                self._kill_strays()


def _signal_group(group: int, signum: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signum)


def _has_ended(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _is_empty(group: int) -> bool:
    """Reap what of a group has ended. All of it comes to this process: it is their subreaper."""
    try:
        while os.waitpid(-group, os.WNOHANG) != (0, 0):
            pass
    except ChildProcessError:
        return True
    return False


def _children() -> list[int]:
    with contextlib.suppress(OSError):
        return [int(word) for word in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]
    return []


def _group(pid: int) -> int:
    with contextlib.suppress(ProcessLookupError):
        return os.getpgid(pid)
    return 0


def _become_subreaper() -> None:
    """Orphans of a job come to this process and not to init, so that it can end and reap them (prctl(2))."""
    linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)


def _settle_memory() -> None:
    """Nothing that exists now will be looked at by the collector again: looking at it would copy it."""
    gc.collect()
    gc.freeze()


def _threads() -> int:
    return len(os.listdir("/proc/self/task"))


def main() -> None:
    service = socket.socket(fileno=os.dup(0))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    order, _ = control.receive_order(service)
    if not isinstance(order, control.Setup):
        return
    child.find_release(order.config)
    confinement = sandbox.probe(order.config.sandbox)
    with contextlib.suppress(ConnectionError):  # the service is gone: that is heard again when it is warm
        control.send(service, control.Confined(confinement))
    try:
        with warmup.origin() as address:
            loader = warmup.warm_loader(order.config, address)
    except Exception as error:
        control.send(service, control.NotReady(f"{type(error).__name__}: {error}"[:REASON_CHARACTERS_MAX]))
        raise
    _become_subreaper()
    if _threads() != 1:
        # A forked child has only the one thread, and the locks that others held stay locked in it.
        sys.exit("umd.engine.zygote: something in this environment (a yt-dlp plugin?) started a thread.")
    config = msgspec.structs.replace(order.config, sandbox=confinement.level)
    sandbox.prepare(child.bounds(config))
    zygote = Zygote(service, config, loader)
    _settle_memory()
    zygote.serve(control.Ready(_version()))


def _version() -> str:
    from yt_dlp.version import __version__

    return str(__version__)


if __name__ == "__main__":
    main()
