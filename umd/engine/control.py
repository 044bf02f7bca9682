"""What the service and its zygote say to each other, over a SOCK_SEQPACKET socket: messages stay apart."""

import os
import socket
from collections.abc import Sequence

import msgspec

from umd.engine.config import EngineConfig
from umd.engine.sandbox import Confinement

MESSAGE_BYTES_MAX = 131_072
DESCRIPTORS_MAX = 4


class Message(msgspec.Struct, frozen=True, tag_field="is"):
    """Anything on this socket."""


class Setup(Message, frozen=True, tag="setup"):
    """The first message to the zygote."""

    config: EngineConfig


class Fork(Message, frozen=True, tag="fork"):
    """Fork a child for this assignment. With it come the descriptors of `umd.engine.child.Ends`."""

    number: int
    assignment: msgspec.Raw
    """An `Assignment`; the child decodes it, so that a bad one is nobody else's trouble."""


class Signal(Message, frozen=True, tag="signal"):
    """Send a signal to the whole group of that child, if it has not been reaped."""

    number: int
    signum: int


class Confined(Message, frozen=True, tag="confined"):
    """What children will be shut off by: known at once, while the zygote warms up."""

    confinement: Confinement


class Ready(Message, frozen=True, tag="ready"):
    """The zygote is warm."""

    ytdlp_version: str


class NotReady(Message, frozen=True, tag="not_ready"):
    """The zygote cannot be warmed, and ends."""

    reason: str


class Forked(Message, frozen=True, tag="forked"):
    """The child lives."""

    number: int
    pid: int


class NotForked(Message, frozen=True, tag="not_forked"):
    """There was no process to be had."""

    number: int
    reason: str


class Gone(Message, frozen=True, tag="gone"):
    """The child has ended, and no process of its group is left."""

    number: int
    status: int
    cpu_sec: float


ToZygote = Setup | Fork | Signal
FromZygote = Confined | Ready | NotReady | Forked | NotForked | Gone

_encode = msgspec.json.Encoder().encode
_to_zygote = msgspec.json.Decoder(ToZygote)
_from_zygote = msgspec.json.Decoder(FromZygote)


def send(control: socket.socket, message: Message, descriptors: Sequence[int] = ()) -> None:
    """Send one message. The descriptors stay open here."""
    socket.send_fds(control, [_encode(message)], list(descriptors))


def receive_order(control: socket.socket) -> tuple[ToZygote | None, list[int]]:
    """The zygote's side: a message with its descriptors, or None when the service is gone."""
    data, descriptors, _, _ = socket.recv_fds(control, MESSAGE_BYTES_MAX, DESCRIPTORS_MAX)
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    return (_to_zygote.decode(data) if data else None), descriptors


def receive_news(control: socket.socket) -> FromZygote | None:
    """The service's side: a message, or None when the zygote is gone."""
    data = control.recv(MESSAGE_BYTES_MAX)
    return _from_zygote.decode(data) if data else None
