"""Shuts a child off from the network and from the files of others, as tightly as the machine allows.

Whatever the level, a child has one way out: a listener of its own on loopback, whose other side is the
egress proxy in the service (`umd.egress`). The levels differ in who sees to it that there is no other way:

- `netns`: the child has a network of its own, in which there is nothing but that listener.
- `landlock`: the kernel refuses it every other TCP port, and every socket that is not TCP.
- `proxy`: its parameters and its environment name the proxy, and nobody holds it to that.

In the first two, and in the third where the kernel can, it reads what running takes and writes its own
folder alone. This module runs in a process with one thread; the service asks for a probe in another one.
"""

import argparse
import contextlib
import errno
import functools
import os
import platform
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import msgspec

from umd.engine import landlock, linux, namespace, seccomp

Level = Literal["netns", "landlock", "proxy"]
LEVELS: tuple[Level, ...] = ("netns", "landlock", "proxy")
"""The best one first."""

PROXY_PORT = 3_128
"""In a network of its own a child has every port to choose from."""

BACKLOG = 128
_PROBE_SEC_MAX = 2.0
_SYSTEM = (
    *("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/usr", "/opt"),
    *("/proc", "/sys/devices/system", "/sys/fs/cgroup", "/dev/urandom", "/dev/random"),
    *("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives"),
    *("/etc/ssl", "/etc/pki", "/etc/ca-certificates", "/etc/fonts", "/etc/localtime", "/etc/mime.types"),
    *("/etc/nsswitch.conf", "/etc/hosts", "/etc/host.conf", "/etc/gai.conf", "/etc/resolv.conf"),
    *("/etc/passwd", "/etc/group"),
)
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full")
_PACKAGE = Path(__file__).parent.parent


class Confinement(msgspec.Struct, frozen=True):
    """The level that holds on this machine, and why none of the better ones does."""

    level: Level
    obstacles: dict[str, str] = {}

    def __str__(self) -> str:
        return f"{self.level} ({self.reason})" if self.obstacles else self.level

    @property
    def reason(self) -> str:
        """The obstacles in a line; empty where there are none."""
        return "; ".join(f"no {level}: {reason}" for level, reason in self.obstacles.items())


class Bounds(msgspec.Struct, frozen=True):
    """What a child may open besides the system's programs and libraries.

    `private` is the folder of the service's own data: below it nothing is readable but what is named here.
    """

    writable: tuple[str, ...]
    readable: tuple[str, ...] = ()
    private: str = ""


def prepare(bounds: Bounds) -> None:
    """Do beforehand, once, what is the same for every process that is forked from this one."""
    with contextlib.suppress(OSError):  # whoever enters will meet it again
        _common(bounds.readable, bounds.private)
        seccomp.compiled()


def enter(level: Level, handover: socket.socket, bounds: Bounds) -> str:
    """Shut the calling process off; returns the URL of its proxy. Raises `OSError`.

    The listener's descriptor goes to the other end of `handover`, which is closed here.
    """
    if level == "netns":
        namespace.enter()
    with handover, socket.socket() as listener:
        listener.bind(("127.0.0.1", PROXY_PORT if level == "netns" else 0))
        listener.listen(BACKLOG)
        socket.send_fds(handover, [b"\0"], [listener.fileno()])
        port = listener.getsockname()[1]
    if platform.system() == "Linux":
        linux.give_up_privileges()
        with _unless_needed(level):
            _restrict_files(bounds, port)
        with _unless_needed(level):
            seccomp.enforce()
    return f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def _unless_needed(level: Level) -> Iterator[None]:
    """Take what the kernel offers; only a level that stands on it cannot do without."""
    try:
        yield
    except OSError:
        if level == "landlock":
            raise


def _restrict_files(bounds: Bounds, port: int) -> None:
    rules = landlock.Ruleset()
    rules.allow(_common(bounds.readable, bounds.private))
    rules.allow(landlock.places(bounds.writable, landlock.ALL))
    rules.allow_connecting(port)
    rules.enforce()


@functools.cache
def _common(readable: tuple[str, ...], private: str) -> list[landlock.Place]:
    """What every child may open. Their descriptors are inherited by those that are forked later."""
    found = [*_SYSTEM, *readable, sys.prefix, sys.base_prefix, str(_PACKAGE)]
    # In a checkout the data may lie next to the code.
    found += [path for path in sys.path if not Path(private or "/").is_relative_to(path or ".")]
    return [
        *landlock.places(found, landlock.READ),
        *landlock.places(_DEVICES, landlock.READ | landlock.WRITE_FILE),
    ]


# The probe


def probe(best: Level = "netns") -> Confinement:
    """Find the best level that works here, not above `best`, by trying. Linux only; elsewhere it is `proxy`.

    For a process with one thread: each level is tried in a child, which must not get out.
    """
    obstacles: dict[str, str] = {}
    for level in LEVELS[LEVELS.index(best) : -1]:
        obstacle = _obstacle(level)
        if obstacle is None:
            return Confinement(level, obstacles)
        obstacles[level] = obstacle
    return Confinement("proxy", obstacles)


def _obstacle(level: Level) -> str | None:
    if platform.system() != "Linux":
        return f"{platform.system()} has no such thing"
    if level == "landlock":
        with contextlib.suppress(OSError):
            if landlock.abi() < landlock.NETWORK_ABI:
                return "this kernel's Landlock does not know of TCP (Linux 6.7 does)"
    return _tried(lambda: _try(level))


def _tried(attempt: Callable[[], str]) -> str | None:
    """Run it in a process of its own; the reason that it gives, or None when it gives none."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writing, attempt().encode())
        except BaseException as error:  # noqa: BLE001 - whatever it was, it is why this level does not work
            os.write(writing, f"{error}".encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, encoding="utf-8", errors="replace") as answer:
        reason = answer.read()
    os.waitpid(pid, 0)
    return reason or None


def _try(level: Level) -> str:
    """In the child: get in, and look for ways out."""
    with socket.create_server(("127.0.0.1", 0)) as outside:
        theirs, mine = socket.socketpair()
        with theirs:
            proxy = enter(level, mine, Bounds(writable=()))
            _, descriptors, _, _ = socket.recv_fds(theirs, 1, 1)
        with socket.socket(fileno=descriptors[0]):
            if not _is_reachable(int(proxy.rpartition(":")[2])):
                return "the proxy cannot be reached from inside"
            if _is_reachable(outside.getsockname()[1]):
                return "other ports can be reached from inside"
    return "" if level == "netns" else _datagrams()


def _is_reachable(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), _PROBE_SEC_MAX).close()
    except OSError:
        return False
    return True


def _datagrams() -> str:
    try:
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close()
    except OSError as error:
        return "" if error.errno == errno.EACCES else str(error)
    return "datagrams can be sent from inside"


def main() -> None:
    """Print the confinement as JSON: for a service with threads, which must not fork."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--best", choices=LEVELS, default="netns", help="not above this level")
    sys.stdout.write(msgspec.json.encode(probe(parser.parse_args().best)).decode())


if __name__ == "__main__":
    main()
