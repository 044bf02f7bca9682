"""The system calls of Linux that Python has no name for, and how they say that they failed."""

import ctypes
import os
import platform
from typing import Any

_libc = ctypes.CDLL(None, use_errno=True) if platform.system() == "Linux" else None

PR_SET_PDEATHSIG = 1
PR_SET_SECUREBITS = 28
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38

_SECURE_NOROOT_LOCKED = 0b1111
"""SECBIT_NOROOT and SECBIT_NO_SETUID_FIXUP with their locks: user 0 is a user like any other."""
_CAPABILITY_VERSION_3 = 0x20080522


def call(name: str, *arguments: Any) -> int:
    """What this function of the C library returns. Raises `OSError`, also where there is no such function."""
    function = getattr(_libc, name, None)
    if function is None:
        raise OSError(f"There is no {name} on this system.")
    result: int = function(*arguments)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


def syscall(number: int, *arguments: Any) -> int:
    """Make a system call by its number. Raises `OSError`."""
    return call("syscall", ctypes.c_long(number), *arguments)


def prctl(option: int, value: int) -> None:
    """Set an attribute of the calling process. Raises `OSError`."""
    call("prctl", option, ctypes.c_ulong(value), *(ctypes.c_ulong(0),) * 3)


def give_up_privileges() -> None:
    """Have no capability, and no way to get one by executing anything. Raises `OSError`."""
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    if _is_capable():
        prctl(PR_SET_SECUREBITS, _SECURE_NOROOT_LOCKED)
        header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
        call("capset", header, (ctypes.c_uint32 * 6)())


def _is_capable() -> bool:
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)()
    call("capget", header, sets)
    return any(sets)
