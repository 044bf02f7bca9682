"""What a process goes through before it works on a job: a group, limits and an environment of its own.

The order matters. First it is made sure that the process ends with the service, then everything that the
service has and a worker must not have is taken away.
"""

import contextlib
import fcntl
import os
import resource
import signal
import socket
import sys
import tempfile
import threading

import msgspec

from umd.engine import sandbox
from umd.engine.config import MARK_VARIABLE, EngineConfig
from umd.engine.protocol import Assignment

NICE = 5
OOM_SCORE = 500
"""The kernel's memory killer takes a worker before the service."""

FILES_MAX = 1_024
PROCESSES_MAX = 4_096
"""Threads included. Without a user namespace the kernel counts those of all children together."""

UMASK = 0o077
_PASSED_ON = ("PATH", "COVERAGE_PROCESS_CONFIG")
"""The second one is there only where umd's own tests measure what they cover."""

_DEFAULT_SIGNALS = (
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGCHLD,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGQUIT,
)


class Ends(msgspec.Struct, frozen=True):
    """A child's ends of what it shares with the service, as descriptors."""

    reports: int
    """A pipe that it reports on."""
    life: int
    """A pipe that nobody writes to: its end is the end of the child and its group."""
    handover: int
    """A socket over which the child gives the service the listener that is its way out."""


def prepare(assignment: Assignment, config: EngineConfig, ends: Ends) -> str:
    """Turn the calling process into a worker; returns the URL of the proxy that is its only way out.

    The process must have one thread only, and no socket of its own yet. Raises `OSError` where it cannot be
    shut off as it should be: then it must not work.
    """
    with contextlib.suppress(PermissionError):
        # Refused to the leader of a session, which leads its group already.
        os.setpgid(0, 0)
    _end_with_the_service(ends.life)
    _reset_signals()
    os.umask(UMASK)
    os.chdir(assignment.directory)
    _redirect_streams(assignment.directory)
    _scrub_environment(assignment.directory, config)
    _limit(filesize_max_bytes(assignment, config), config.memory_max_bytes)
    proxy = sandbox.enter(
        config.sandbox, socket.socket(fileno=ends.handover), bounds(config, assignment.directory)
    )
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
    return proxy


def filesize_max_bytes(assignment: Assignment, config: EngineConfig) -> int:
    """The largest file that this attempt may write."""
    return min(assignment.options.max_filesize or config.filesize_max_bytes, config.filesize_max_bytes)


def worker_environment(config: EngineConfig) -> dict[str, str]:
    """The environment that a worker, or the zygote, is executed with: no secrets, no proxies, no settings.

    `/proc/<pid>/environ` goes on showing it whatever a process changes later, and forked children inherit
    it: the mark in it is how a later run of the service finds them.
    """
    kept = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)
    return {**kept, "LANG": "C.UTF-8", "PYTHONPATH": path, MARK_VARIABLE: config.mark}


def find_release(config: EngineConfig) -> None:
    """Have `yt_dlp` imported from its release, in this process alone. Before anything imports it."""
    if config.release:
        sys.path.insert(0, config.release)


def _end_with_the_service(life: int) -> None:
    os.set_inheritable(life, False)
    if hasattr(fcntl, "F_SETSIG"):
        # The kernel itself kills the whole group, even while yt-dlp is stuck in C code: SIGKILL in the place
        # of SIGIO (fcntl(2), F_SETSIG), to a process group (F_SETOWN, negative). Unlike PR_SET_PDEATHSIG this
        # does not depend on the zygote, which may die and be replaced while its children go on.
        fcntl.fcntl(life, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(life, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(life, fcntl.F_SETFL, fcntl.fcntl(life, fcntl.F_GETFL) | os.O_ASYNC | os.O_NONBLOCK)
        with contextlib.suppress(BlockingIOError):
            if os.read(life, 1) == b"":  # The service was gone before the kernel was asked to tell.
                os.killpg(0, signal.SIGKILL)
    else:
        threading.Thread(target=_watch, args=(life,), daemon=True).start()


def _watch(life: int) -> None:
    """The same where the kernel cannot do it (macOS)."""
    with contextlib.suppress(OSError):
        os.read(life, 1)
    os.killpg(0, signal.SIGKILL)


def _reset_signals() -> None:
    """A shell may have started the service with SIGINT ignored; the polite stop has to work nevertheless."""
    signal.set_wakeup_fd(-1)
    for number in _DEFAULT_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _redirect_streams(directory: str) -> None:
    """Nothing to read, nowhere to print. What ffmpeg complains of goes to a file without a name."""
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    os.close(nothing)
    try:
        with tempfile.TemporaryFile(dir=directory) as complaints:
            os.dup2(complaints.fileno(), 2)
    except OSError:  # No space: the download will say so in a better way.
        os.dup2(1, 2)


def _scrub_environment(directory: str, config: EngineConfig) -> None:
    path = os.environ.get("PATH", os.defpath)
    os.environ.clear()
    os.environ.update(PATH=path, HOME=directory, TMPDIR=directory, LANG="C.UTF-8")
    os.environ[MARK_VARIABLE] = config.mark
    tempfile.tempdir = None


def bounds(config: EngineConfig, *writable: str) -> sandbox.Bounds:
    """What a child may open that writes to these folders."""
    programs = [os.path.dirname(os.path.realpath(one)) for one in config.programs]
    return sandbox.Bounds(
        writable=(*writable, *config.writable),
        readable=(config.scratch, *filter(None, [config.plugin_dir]), *programs),
        private=config.data_dir,
    )


def _limit(filesize_max_bytes: int, memory_max_bytes: int) -> None:
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_NOFILE, FILES_MAX)
    _lower(resource.RLIMIT_FSIZE, filesize_max_bytes)
    # Not the address space: what deno reserves of that is far more than it uses.
    _lower(resource.RLIMIT_DATA, memory_max_bytes)
    if hasattr(resource, "RLIMIT_NPROC"):
        _lower(resource.RLIMIT_NPROC, PROCESSES_MAX)
    os.nice(NICE)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
        score.write(str(OOM_SCORE))


def _lower(which: int, limit: int) -> None:
    """Lower both limits, so that no program that is started can raise them again."""
    _, hard = resource.getrlimit(which)
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(which, (limit, limit))
