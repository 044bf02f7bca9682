"""A network of a process's own with nobody else in it (user_namespaces(7), network_namespaces(7)).

What is opened in it can be handed out: a socket keeps the namespace that it was made in.
"""

import fcntl
import os
import socket
import struct

from umd.engine import linux

CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
SIOCSIFFLAGS = 0x8914
IFF_UP = 1


def enter() -> None:
    """Leave the machine's network for an empty one with a loopback device. Raises `OSError`.

    The process must have one thread. It keeps its user and its group; all others are nobody to it.
    """
    user, group = os.geteuid(), os.getegid()
    linux.call("unshare", CLONE_NEWUSER | CLONE_NEWNET)
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{user} {user} 1")
    _write("/proc/self/gid_map", f"{group} {group} 1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as device:
        fcntl.ioctl(device, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP))


def _write(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
