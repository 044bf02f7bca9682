"""The heads of HTTP/1.1 as a forward proxy has to read and write them, and where the body behind one ends.

Requests come from a worker and are read strictly (RFC 9112): what two readers could understand differently
is refused. Answers come from origins of every kind and are read as browsers read them; whatever is odd about
one ends its connection with it.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

HEAD_BYTES_MAX = 65_536
_FIELDS_MAX = 256

_REQUEST_LINE = re.compile(rb"([A-Z][A-Z0-9_-]{0,31}) ([\x21-\x7e]+) HTTP/1\.([01])")
_STATUS_LINE = re.compile(rb"(?:HTTP/1\.([01])|ICY) ([1-9]\d\d)(?: (.*))?")
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(rb"[^\x00-\x08\x0a-\x1f\x7f]*")
_HOST = re.compile(r"[0-9A-Za-z._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\]")
_CHUNK_LINE_BYTES_MAX = 4_096

_HOP_BY_HOP = frozenset(
    (
        *(b"connection", b"proxy-connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization"),
        *(b"te", b"upgrade", b"proxy-authentication-info"),
    )
)
_BODILESS = frozenset((204, 304))


class BadMessage(ValueError):
    """A head or a body that is not valid, or that two readers could understand differently."""


class NotSpoken(ValueError):
    """A valid request for something that this proxy does not speak."""


class Target(NamedTuple):
    """Where a request wants to go; `host` without brackets."""

    host: str
    port: int

    @property
    def authority(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Body(msgspec.Struct, frozen=True):
    """Where a body ends: after `size` bytes, with its last chunk, or (both unset) with the connection."""

    size: int | None = None
    chunked: bool = False

    @property
    def empty(self) -> bool:
        return self.size == 0


NONE = Body(size=0)
UNTIL_CLOSE = Body()


class Request(msgspec.Struct, frozen=True):
    """A request as it came; `head` is what an origin is to be sent."""

    method: str
    target: Target
    head: bytes
    body: Body
    keep: bool
    """Whether the client's connection may be used again."""


class Answer(msgspec.Struct, frozen=True):
    """An origin's answer; `fields` are the lines that the client is to be sent, without `Connection`."""

    status: int
    start: bytes
    fields: tuple[bytes, ...]
    body: Body
    keep: bool
    """Whether the origin's connection may be used again."""

    def head(self, *, keep: bool) -> bytes:
        connection = b"keep-alive" if keep else b"close"
        return b"\r\n".join((self.start, *self.fields, b"Connection: " + connection, b"", b""))


def request(head: bytes) -> Request:
    """Read a request's head. Raises `BadMessage` and `NotSpoken`."""
    line, *lines = _strict_lines(head)
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        raise BadMessage("request line")
    method, text, minor = match[1].decode(), match[2].decode(), match[3]
    fields = [_strict_field(line) for line in lines]
    if method == "CONNECT":
        return Request(method, _authority(text, None), b"", NONE, keep=False)
    if b"websocket" in _joined(fields, b"upgrade").lower():
        raise NotSpoken("WebSocket over plain HTTP")
    target, path = _absolute(text)
    body = _request_body(fields)
    kept = [b"%s: %s" % field for field in _end_to_end(fields) if field[0].lower() != b"host"]
    start = b"%s %s HTTP/1.%s" % (match[1], path.encode(), minor)
    # The name is the target's, whatever the client wrote (RFC 9112, 3.2.2).
    host = target.authority.removesuffix(":80").encode()
    lines = [start, b"Host: " + host, *kept, b"Connection: " + (b"keep-alive" if minor == b"1" else b"close")]
    options = (_joined(fields, b"connection") + b"," + _joined(fields, b"proxy-connection")).lower()
    keep = minor == b"1" and b"close" not in options
    return Request(method, target, b"\r\n".join((*lines, b"", b"")), body, keep)


def answer(head: bytes, method: str) -> Answer:
    """Read the head of an answer to a request of this method. Raises `BadMessage`."""
    line, *lines = head.strip(b"\r\n").replace(b"\r\n", b"\n").split(b"\n")
    match = _STATUS_LINE.fullmatch(line.rstrip())
    if match is None:
        raise BadMessage("status line")
    status = int(match[2])
    fields = list(_lenient_fields(lines))
    body = _answer_body(status, method, fields)
    framed = frozenset((b"content-length",)) if body.chunked or body == UNTIL_CLOSE else frozenset[bytes]()
    kept = tuple(b"%s: %s" % field for field in _end_to_end(fields) if field[0].lower() not in framed)
    minor, reason = match[1] or b"0", _VALUE.match(match[3] or b"")
    keep = minor == b"1" and body != UNTIL_CLOSE and b"close" not in _joined(fields, b"connection").lower()
    start = b"HTTP/1.%s %d %s" % (minor, status, reason[0] if reason else b"")
    return Answer(status, start, kept, body, keep)


class Chunks:
    """Finds the end of a chunked body in what passes by, which itself is passed on as it is."""

    def __init__(self) -> None:
        self._left = 0
        self._line = bytearray()
        self._state = "size"

    @property
    def ended(self) -> bool:
        return self._state == "ended"

    def feed(self, data: memoryview) -> int:
        """How much of the data belongs to the body. Raises `BadMessage`."""
        at = 0
        while at < len(data) and not self.ended:
            if self._left:
                step = min(self._left, len(data) - at)
                self._left -= step
                at += step
                continue
            newline = bytes(data[at : at + _CHUNK_LINE_BYTES_MAX]).find(b"\n")
            step = len(data) - at if newline < 0 else newline + 1
            self._line += data[at : at + step]
            at += step
            if len(self._line) > _CHUNK_LINE_BYTES_MAX:
                raise BadMessage("chunk line")
            if newline >= 0:
                self._next(bytes(self._line).rstrip(b"\r\n"))
                self._line.clear()
        return at

    def _next(self, line: bytes) -> None:
        """A whole line has passed: a chunk's size, the line end behind its data, or a trailer."""
        if self._state == "data end":
            if line:
                raise BadMessage("chunk")
            self._state = "size"
        elif self._state == "trailer":
            self._state = "trailer" if line else "ended"
        else:
            digits = line.partition(b";")[0].strip(b" \t")
            if not re.fullmatch(rb"[0-9A-Fa-f]{1,15}", digits):
                raise BadMessage("chunk size")
            self._left = int(digits, 16)
            self._state = "data end" if self._left else "trailer"


def _strict_lines(head: bytes) -> list[bytes]:
    lines = head.lstrip(b"\r\n").removesuffix(b"\r\n\r\n").split(b"\r\n")
    if not head.endswith(b"\r\n\r\n") or any(
        b"\n" in line or b"\r" in line or b"\0" in line for line in lines
    ):
        raise BadMessage("line end")
    if len(lines) > _FIELDS_MAX:
        raise BadMessage("too many fields")
    return lines


def _strict_field(line: bytes) -> tuple[bytes, bytes]:
    name, colon, value = line.partition(b":")
    value = value.strip(b" \t")
    if not colon or not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
        raise BadMessage("field")
    return name, value


def _lenient_fields(lines: list[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """The fields of an answer; what is none is left out, and folded lines are unfolded."""
    unfolded: list[bytes] = []
    for line in lines[:_FIELDS_MAX]:
        if line[:1] in (b" ", b"\t") and unfolded:
            unfolded[-1] += b" " + line.strip()
        else:
            unfolded.append(line)
    for line in unfolded:
        name, colon, value = line.partition(b":")
        value = value.strip()
        if colon and _NAME.fullmatch(name.rstrip()) and _VALUE.fullmatch(value):
            yield name.rstrip(), value


def _joined(fields: list[tuple[bytes, bytes]], name: bytes) -> bytes:
    return b",".join(value for key, value in fields if key.lower() == name)


def _end_to_end(fields: list[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
    named = {option.strip() for option in _joined(fields, b"connection").lower().split(b",")}
    # What frames the message is never an option of the connection, whoever says so.
    gone = _HOP_BY_HOP | named - {b"content-length", b"transfer-encoding", b"host"}
    return (field for field in fields if field[0].lower() not in gone)


def _request_body(fields: list[tuple[bytes, bytes]]) -> Body:
    sizes = [value for name, value in fields if name.lower() == b"content-length"]
    codings = [value for name, value in fields if name.lower() == b"transfer-encoding"]
    if len(sizes) + len(codings) > 1:
        raise BadMessage("two lengths")
    if codings:
        if codings[0].lower() != b"chunked":
            raise BadMessage("transfer coding")
        return Body(chunked=True)
    return Body(size=_size(sizes[0])) if sizes else NONE


def _answer_body(status: int, method: str, fields: list[tuple[bytes, bytes]]) -> Body:
    if method == "HEAD" or status < 200 or status in _BODILESS:  # noqa: PLR2004  # an interim answer
        return NONE
    coding = _joined(fields, b"transfer-encoding").lower().replace(b" ", b"")
    if coding:
        if coding.split(b",")[-1] != b"chunked":
            return UNTIL_CLOSE
        return Body(chunked=True)
    sizes = {value.strip() for value in _joined(fields, b"content-length").split(b",")} - {b""}
    if len(sizes) > 1:
        raise BadMessage("two lengths")
    return Body(size=_size(sizes.pop())) if sizes else UNTIL_CLOSE


def _size(digits: bytes) -> int:
    if not re.fullmatch(rb"[0-9]{1,18}", digits):
        raise BadMessage("length")
    return int(digits)


def _authority(text: str, default_port: int | None) -> Target:
    host, port = text, ""
    if not text.endswith("]"):
        host, _, port = text.rpartition(":") if ":" in text else (text, "", "")
    if not _HOST.fullmatch(host) or not re.fullmatch(r"[0-9]{0,5}", port):
        raise BadMessage("authority")
    number = int(port) if port else default_port
    if number is None or not 1 <= number <= 65_535:  # noqa: PLR2004
        raise BadMessage("port")
    return Target(host.strip("[]"), number)


def _absolute(text: str) -> tuple[Target, str]:
    """The place of an absolute URL, and what to ask there for. Raises `BadMessage` and `NotSpoken`."""
    scheme, colon, rest = text.partition("://")
    if not colon:
        raise BadMessage("target")
    if scheme.lower() != "http":
        raise NotSpoken("a scheme other than http; https comes with CONNECT")
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    path = rest[len(authority) :].partition("#")[0]
    if not path.startswith("/"):
        path = "/" + path
    return _authority(authority.rpartition("@")[2], 80), path
