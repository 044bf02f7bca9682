"""Finds processes of ours by the mark in their environment, and kills them without ever meeting a stranger.

Linux only: elsewhere there is no `/proc`, and nothing is found.
"""

import os
import select
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

from umd.engine.config import MARK_VARIABLE, EngineConfig

DEATH_MS_MAX = 1_000
"""How long the end of a killed process is waited for; one that is stuck in the kernel takes longer."""

_PROC = Path("/proc")
_DEAD = frozenset("ZX")


def sweep(config: EngineConfig) -> list[int]:
    """Kill what earlier runs on the same data directory left alive; returns the process ids.

    To be called once the directory is known to have no other server, which its lock sees to.
    """
    directory = config.mark.partition(".")[0] + "."
    return _kill_all(lambda mark: mark.startswith(directory) and not _is_of(mark, config.mark))


def kill_marked(mark: str) -> list[int]:
    """Kill all processes that bear this mark, in whatever group they are; returns their ids."""
    return _kill_all(lambda found: _is_of(found, mark))


def kill_group(mark: str, group: int) -> list[int]:
    """Kill the processes of a group that bear this mark; returns their ids, and those of the dying."""
    members = [pid for pid in _pids() if _living_group(pid) == group]
    # The environment goes before the process does. Who has none any more needs nothing but time.
    dying = [pid for pid in members if not _mark(pid)]
    return dying + [pid for pid in members if _kill(pid, lambda found: _is_of(found, mark))]


def _kill_all(wanted: Callable[[str], bool]) -> list[int]:
    return [pid for pid in _pids() if wanted(_mark(pid)) and _kill(pid, wanted)]


def _is_of(found: str, mark: str) -> bool:
    return found == mark or found.startswith(f"{mark}.")


def _kill(pid: int, wanted: Callable[[str], bool]) -> bool:
    """Kill exactly this process: its number is held (pidfd_open(2)) while the mark is looked at."""
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        if not wanted(_mark(pid)):
            return False
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        end = select.poll()
        end.register(descriptor, select.POLLIN)
        end.poll(DEATH_MS_MAX)
        return True
    except OSError:
        return False  # It ended by itself in this moment, or is not ours to signal.
    finally:
        os.close(descriptor)


def _pids() -> Iterator[int]:
    """All processes but this one."""
    if hasattr(os, "pidfd_open") and _PROC.is_dir():
        pids = (int(entry.name) for entry in _PROC.iterdir() if entry.name.isdecimal())
        yield from (pid for pid in pids if pid != os.getpid())


def _mark(pid: int) -> str:
    """The mark that a process was executed with; empty for a stranger's, a zombie's, another user's."""
    try:
        environment = (_PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return ""
    prefix = f"{MARK_VARIABLE}=".encode()
    found = (entry for entry in environment.split(b"\0") if entry.startswith(prefix))
    return next(found, b"").removeprefix(prefix).decode("ascii", "replace")


def _living_group(pid: int) -> int:
    """The group of a process that is not dead; 0 for one that is (proc(5), /proc/pid/stat)."""
    try:
        state, _, group = (_PROC / str(pid) / "stat").read_bytes().rpartition(b") ")[2].split()[:3]
    except (OSError, ValueError):
        return 0
    return 0 if state.decode() in _DEAD else int(group)
