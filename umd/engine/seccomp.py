"""Which system calls a process may make: a filter of the kernel's (seccomp(2)), inherited by all it starts.

Of sockets only TCP is left, and pairs of connected streams, which lead nowhere: an end of a pair of datagrams
can be sent to any other socket. A connection is made by connect(2) alone, for Landlock does not look at what
goes out with the first data (MSG_FASTOPEN). What goes past such a filter (io_uring), into other processes,
into namespaces with capabilities of their own or into the kernel's own workings is refused as well.
"""

import ctypes
import errno
import functools
import platform
import socket
import struct
from typing import NamedTuple

from umd.engine import linux

PR_SET_SECCOMP = 22
MODE_FILTER = 2

_ALLOW = 0x7FFF0000
_REFUSE = 0x00050000  # with an errno in the lower half
_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _JUMP_ANY_BIT, _AND, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16
_X32_BIT = 0x40000000
_TYPE_MASK = 0xF
"""socket(2) takes flags in the same argument as the type."""


class _Machine(NamedTuple):
    """What the kernel calls the architecture, and the column of the table below."""

    architecture: int
    column: int


_MACHINES = {"x86_64": _Machine(0xC000003E, 0), "aarch64": _Machine(0xC00000B7, 1)}

_SOCKET, _SOCKETPAIR = (41, 198), (53, 199)
_MISSING = {"io_uring_setup": (425, 425), "clone3": (435, 435)}
"""These are as if the kernel did not know them: programs know how to do without. What clone3 is asked for
lies in memory, where a filter cannot look."""
_MSG_FASTOPEN = 0x20000000
_NAMESPACES = 0x7E020000  # CLONE_NEWUSER and its kin
_REFUSED_WITH = {
    "sendto": ((44, 206), 3, _MSG_FASTOPEN),
    "sendmsg": ((46, 211), 2, _MSG_FASTOPEN),
    "sendmmsg": ((307, 269), 3, _MSG_FASTOPEN),
    "clone": ((56, 220), 0, _NAMESPACES),
}
"""The number of an argument, and the flags that are refused in it."""
_REFUSED = {
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_getfd": (438, 438),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "setns": (308, 268),
    "unshare": (272, 97),
    "open_by_handle_at": (304, 265),
    "kexec_load": (246, 104),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
}

_INSTRUCTION = struct.Struct("=HBBI")  # struct sock_filter: code, jump if true, jump if false, value

Code = tuple[int, int, int, int]


def enforce() -> None:
    """From now on no other sockets than TCP. Needs `no_new_privs`. Raises `OSError`."""
    instructions = ctypes.create_string_buffer(compiled())
    count = len(instructions) // _INSTRUCTION.size
    program = struct.pack("@HP", count, ctypes.addressof(instructions))  # struct sock_fprog
    linux.call("prctl", PR_SET_SECCOMP, MODE_FILTER, program)


@functools.cache
def compiled() -> bytes:
    """The filter for this machine; it is the same for every child. Raises `OSError` where there is none."""
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        raise OSError(errno.ENOSYS, f"There is no filter for {platform.machine()}.")
    return b"".join(_INSTRUCTION.pack(*line) for line in _code(machine))


def _code(machine: _Machine) -> list[Code]:
    """Each block ends with a verdict or goes on to the next one."""
    refuse, missing = _REFUSE | errno.EACCES, _REFUSE | errno.ENOSYS
    return [
        # Calls of another architecture, of which the numbers mean something else, are not there.
        _load(_ARCHITECTURE_AT),
        *_unless_equal(machine.architecture, missing),
        _load(_NUMBER_AT),
        (_JUMP_AT_LEAST, 0, 1, _X32_BIT),
        _verdict(missing),
        *(line for numbers in _MISSING.values() for line in _if_equal(numbers[machine.column], missing)),
        *(line for numbers in _REFUSED.values() for line in _if_equal(numbers[machine.column], refuse)),
        *(
            line
            for numbers, argument, flags in _REFUSED_WITH.values()
            for line in _unless_without(numbers[machine.column], argument, flags, refuse)
        ),
        (_JUMP_EQUAL, 0, 8, _SOCKETPAIR[machine.column]),
        _argument(0),
        *_unless_equal(socket.AF_UNIX, refuse),
        *_unless_stream(refuse),
        _verdict(_ALLOW),
        (_JUMP_EQUAL, 1, 0, _SOCKET[machine.column]),
        _verdict(_ALLOW),
        _argument(0),
        (_JUMP_EQUAL, 2, 0, socket.AF_INET),
        (_JUMP_EQUAL, 1, 0, socket.AF_INET6),
        _verdict(refuse),
        *_unless_stream(refuse),
        _argument(2),
        *_if_equal(0, _ALLOW),
        *_unless_equal(socket.IPPROTO_TCP, refuse),
        _verdict(_ALLOW),
    ]


def _load(offset: int) -> Code:
    return (_LOAD, 0, 0, offset)


def _argument(number: int) -> Code:
    """The lower half of an argument of the call."""
    return _load(_ARGUMENTS_AT + 8 * number)


def _verdict(value: int) -> Code:
    return (_RETURN, 0, 0, value)


def _if_equal(value: int, verdict: int) -> tuple[Code, Code]:
    return (_JUMP_EQUAL, 0, 1, value), _verdict(verdict)


def _unless_equal(value: int, verdict: int) -> tuple[Code, Code]:
    return (_JUMP_EQUAL, 1, 0, value), _verdict(verdict)


def _unless_stream(verdict: int) -> tuple[Code, ...]:
    """For socket(2) and socketpair(2)."""
    return _argument(1), (_AND, 0, 0, _TYPE_MASK), *_unless_equal(socket.SOCK_STREAM, verdict)


def _unless_without(number: int, argument: int, flags: int, verdict: int) -> tuple[Code, ...]:
    """The verdict for a call that has one of the flags in this argument; without them it is allowed."""
    return (
        (_JUMP_EQUAL, 0, 4, number),
        _argument(argument),
        (_JUMP_ANY_BIT, 0, 1, flags),
        _verdict(verdict),
        _verdict(_ALLOW),
    )
