"""Sends a file's bytes as its knobs say: whole, in part, slowly, or not to the end."""

import asyncio
import fcntl
import socket
import struct
import termios
import time

from aiohttp import web

from tests.site.journal import Record
from tests.site.knobs import Knobs
from tests.site.state import RECORD, STATE, refusal

CHUNK_BYTES = 256 * 1024
FLUSH_STEP_SEC, FLUSH_STEPS_MAX = 0.005, 400
LAST_MODIFIED = "Fri, 02 Jan 2026 03:04:05 GMT"


async def deliver(request: web.Request, data: memoryview, content_type: str, etag: str) -> web.StreamResponse:
    """Answer a GET or HEAD with `data`. When this returns, the record is complete."""
    knobs = request.app[STATE].faults.due(request.query, request.path)
    if (refused := await refusal(request, knobs)) is not None:
        return refused

    start, end = _span(request, len(data)) if knobs.ranges else (0, len(data))
    if start >= end:
        return web.Response(status=416, headers={"Content-Range": f"bytes */{len(data)}"})
    response = _response(knobs, start, end, len(data), content_type)
    response.headers["ETag"] = f'"{etag}-{len(data)}"'
    await response.prepare(request)
    if request.method == "HEAD":
        return response

    record = request[RECORD]
    record.status = response.status
    try:
        if await _send(request, response, data, start, end, knobs):
            await response.write_eof()
        else:
            await _cut(request, record, knobs)
    except ConnectionError:
        record.aborted = True
    return response


def _span(request: web.Request, size: int) -> tuple[int, int]:
    """What the Range header asks for; all of it where the header is absent or malformed (RFC 9110, 14.2)."""
    try:
        start, end, _ = request.http_range.indices(size)
    except ValueError:
        return 0, size
    return start, end


def _response(knobs: Knobs, start: int, end: int, size: int, content_type: str) -> web.StreamResponse:
    response = web.StreamResponse()
    response.headers["Content-Type"] = knobs.content_type or content_type
    response.headers["Last-Modified"] = LAST_MODIFIED
    if knobs.ranges:
        response.headers["Accept-Ranges"] = "bytes"
    if (start, end) != (0, size):
        response.set_status(206)
        response.headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    if knobs.chunked:
        response.enable_chunked_encoding()
    else:
        response.content_length = max(0, end - start + knobs.length_off)
    if knobs.length_off or knobs.break_after is not None or knobs.break_every is not None:
        response.force_close()
    return response


async def _send(
    request: web.Request, response: web.StreamResponse, data: memoryview, start: int, end: int, knobs: Knobs
) -> bool:
    """Write `data[start:end]`; False if it is to end early. A step ends where a stall or break is due."""
    state, record = request.app[STATE], request[RECORD]
    stop, stall = _stop(start, end, knobs), knobs.stall_after
    step = CHUNK_BYTES if knobs.rate is None else max(1, min(CHUNK_BYTES // 4, knobs.rate // 20))
    began, position = time.monotonic(), start
    while position < stop:
        if stall is not None and position >= stall:
            if not await state.gates.wait(knobs.gate):
                return False
            stall, began, start = None, time.monotonic(), position
        size = min(step, stop - position, *([stall - position] if stall is not None else []))
        if knobs.rate is not None:
            # Before the write and not after it: with the last byte the client may hang up at once.
            await asyncio.sleep(max(0.0, began + (position + size - start) / knobs.rate - time.monotonic()))
        await response.write(data[position : position + size])
        position += size
        state.journal.sent(record, size)
    return stop == end


def _stop(start: int, end: int, knobs: Knobs) -> int:
    """Where the bytes end. yt-dlp resumes a little before a break: its Range must not meet it again."""
    if knobs.break_every is not None:
        return min(end, start + knobs.break_every)
    if knobs.break_after is not None and start == 0:
        return min(end, knobs.break_after)
    return end


async def _cut(request: web.Request, record: Record, knobs: Knobs) -> None:
    """End the connection below HTTP, in order or with a reset; the client gets what was sent before."""
    record.cut = True
    if (transport := request.transport) is None:
        return
    if not knobs.reset:
        transport.close()
        return
    raw = transport.get_extra_info("socket")
    for _ in range(FLUSH_STEPS_MAX):
        # A reset throws away what this side still holds, so that none of it might ever arrive.
        if not transport.get_write_buffer_size() and not _unsent_bytes(raw):
            break
        await asyncio.sleep(FLUSH_STEP_SEC)
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def _unsent_bytes(raw: socket.socket) -> int:
    """What the kernel still holds for a peer that has not acknowledged it."""
    (count,) = struct.unpack("i", fcntl.ioctl(raw.fileno(), termios.TIOCOUTQ, bytes(4)))
    return int(count)
