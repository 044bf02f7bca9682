"""The frames of an event stream, as bytes.

The format is that of the HTML standard, section "Parsing an event stream":
https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
JSON as msgspec writes it has no line break, so `data` is always one line.
"""

from typing import Final

import msgspec

from umd.clock import rfc3339
from umd.domain import redaction
from umd.domain.events import Progress
from umd.log import Record

RETRY: Final = b"retry: 2000\n\n"
"""Milliseconds that a client waits before it connects again."""

HEARTBEAT: Final = b": heartbeat\n\n"
PROGRESS: Final = "job.progress"

_encode = msgspec.json.encode


def event(record: Record) -> bytes:
    """A stored event without its secrets, with whose it is and when it happened in front of its fields."""
    kind, _, name = record.stream.partition("-")
    whose = {"batch_id" if kind == "batch" else "request_id": name} if name else {}
    front = _encode({**whose, "at": rfc3339(record.at)})
    return _frame(record.type, _joined(front, redaction.shown(record.data)), record.position)


def progress(job_id: str, tick: Progress) -> bytes:
    """A tick. It has no id: a client that resumes does so from the last durable event."""
    data = _joined(_encode({"request_id": job_id}), _encode(tick))
    return b"event: %b\ndata: %b\n\n" % (PROGRESS.encode(), data)


def snapshot(data: bytes, position: int) -> bytes:
    """The resource as it is at this position."""
    return _frame("snapshot", data, position)


def reset(floor: int, head: int) -> bytes:
    """The position that was asked for cannot be resumed from: only what lies from `floor` to `head` can.

    It has no id, so a client that is cut off before the snapshot asks again for the same.
    """
    return b"event: reset\ndata: %b\n\n" % _encode({"floor": floor, "head": head})


def mark(position: int) -> bytes:
    """A heartbeat that moves the client's last event id and says nothing.

    By the standard's "dispatch the event", a frame without data sets the last event id and is not shown.
    """
    return b": heartbeat\nid: %d\n\n" % position


def chunk(frame: bytes) -> bytes:
    """A frame as a chunk of HTTP/1.1, https://www.rfc-editor.org/rfc/rfc9112#section-7.1 (RFC 9112)."""
    return b"%x\r\n%b\r\n" % (len(frame), frame)


def _frame(name: str, data: bytes, position: int) -> bytes:
    return b"event: %b\ndata: %b\nid: %d\n\n" % (name.encode(), data, position)


def _joined(first: bytes, second: bytes) -> bytes:
    """Two JSON objects as one, the fields of the first in front."""
    return first[:-1] + (b"" if second == b"{}" else b",") + second[1:]
