"""What a process may open, write and connect to, kept by the kernel for it and for all that it starts.

Landlock (landlock(7)) takes rights away from a process by its own wish; it needs no privilege. What a rule
does not name is refused.
"""

import contextlib
import ctypes
import os
import stat
import struct
from collections.abc import Iterable
from typing import NamedTuple

from umd.engine import linux

NETWORK_ABI = 4
"""The first version that knows TCP."""

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION = 1
_PATH_BENEATH, _NET_PORT = 1, 2

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
TRUNCATE, IOCTL_DEV = 1 << 14, 1 << 15
READ = EXECUTE | READ_FILE | READ_DIR
ALL = (1 << 16) - 1
_FILE_RIGHTS = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
_ALL_RIGHTS = ((1, (1 << 13) - 1), (2, 1 << 13), (3, TRUNCATE), (5, IOCTL_DEV))
"""The version of the interface that brought them, and the rights to files."""

_BIND_TCP, _CONNECT_TCP = 1, 2
_SCOPES_ABI = 6
_SCOPE_ABSTRACT_SOCKETS, _SCOPE_SIGNALS = 1, 2


# The structures of linux/landlock.h.
_RULESET = struct.Struct("=QQQ")  # rights to files and to the network that are handled, scopes
_PATH_RULE = struct.Struct("=Qi")  # rights, the folder's descriptor
_PORT_RULE = struct.Struct("=QQ")  # rights, port


def abi() -> int:
    """The version of the interface that this kernel has. Raises `OSError` where it has none."""
    return linux.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION)


class Place(NamedTuple):
    """A folder with all below it, or a file, held open, and what may be done there."""

    descriptor: int
    rights: int


def places(paths: Iterable[str], rights: int) -> list[Place]:
    """These folders and files, as far as they exist: what is not there needs no permission."""
    found = []
    for path in dict.fromkeys(paths):
        with contextlib.suppress(OSError):
            descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
            is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
            found.append(Place(descriptor, rights if is_folder else rights & _FILE_RIGHTS))
    return found


class Ruleset:
    """Rules that are gathered, and then hold for ever.

    Everything about files is refused except what is allowed; so is TCP, if the kernel can tell ports, and
    signals to and abstract sockets of those outside, if it knows of that. Raises `OSError`.
    """

    def __init__(self) -> None:
        version = abi()
        self._files = sum(rights for since, rights in _ALL_RIGHTS if since <= version)
        self._network = version >= NETWORK_ABI
        attributes = _RULESET.pack(
            self._files,
            _BIND_TCP | _CONNECT_TCP if self._network else 0,
            _SCOPE_ABSTRACT_SOCKETS | _SCOPE_SIGNALS if version >= _SCOPES_ABI else 0,
        )
        size = ctypes.c_size_t(len(attributes))
        self._descriptor = linux.syscall(_CREATE_RULESET, attributes, size, 0)

    def allow(self, places: Iterable[Place]) -> None:
        """Allow what is to be allowed there."""
        for place in places:
            rule = _PATH_RULE.pack(place.rights & self._files, place.descriptor)
            linux.syscall(_ADD_RULE, self._descriptor, _PATH_BENEATH, rule, 0)

    def allow_connecting(self, port: int) -> None:
        """Allow TCP to this port."""
        if self._network:
            rule = _PORT_RULE.pack(_CONNECT_TCP, port)
            linux.syscall(_ADD_RULE, self._descriptor, _NET_PORT, rule, 0)

    def enforce(self) -> None:
        """From now on only what was allowed. Needs `no_new_privs`."""
        try:
            linux.syscall(_RESTRICT_SELF, self._descriptor, 0)
        finally:
            os.close(self._descriptor)
