"""The media: files that completed jobs have left, whole or in part, and nothing else on the disk."""

import asyncio
import io
import os
import re
import stat
import unicodedata
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.utils import formatdate
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import structlog
from aiohttp import web

from umd.api import conditions, owned, ranges
from umd.api.conditions import Validators
from umd.api.context import CONTEXT
from umd.api.decoding import read_query
from umd.api.file_links import LinkQuery
from umd.api.problems import HttpRefusal
from umd.api.ranges import Span
from umd.clock import SECOND, Clock
from umd.domain.events import File
from umd.errors import Gone, NotFound
from umd.projections.files import Files, StoredFile
from umd.storage.volume import Volume

SLICE_BYTES = 262_144
SLICE_WAIT_SEC = 60
"""A client that takes less than a slice in this time is cut off: a descriptor is held for it."""

_SHOWN_TYPES = frozenset(
    {
        "application/json",
        "image/gif",
        "image/jpeg",
        "image/png",
        "image/webp",
        "text/plain",
        "text/vtt",
    }
)
_MEDIA_TYPE = re.compile(r"(audio|video)/[a-z0-9.+-]+")
_log = structlog.get_logger(__name__)


class Part(NamedTuple):
    """Bytes of the answer: some words, then a span of the file."""

    words: bytes
    span: Span


class Delivery(NamedTuple):
    """How a file is answered."""

    status: int
    headers: dict[str, str]
    parts: list[Part]


async def fetch(request: web.Request) -> web.StreamResponse:
    """A file of a completed job, whole or in part."""
    context = request.app[CONTEXT]
    read_query(request, LinkQuery)
    stored = _find(request, context.files, request.match_info["path"])
    validators = Validators(stored.file.sha256, stored.completed_at // SECOND)
    if conditions.failed(request.headers, validators):
        raise HttpRefusal("precondition_failed", "The file is not the one that the request means.")
    if conditions.unchanged(request.headers, validators):
        return web.Response(status=304, headers=_validator_headers(validators))
    delivery = _delivery(request, stored, validators, context.clock)
    with context.volume.reading(stored.file.path):
        async with _opened(context.volume, stored) as file:
            return await _deliver(request, file, delivery)


def _find(request: web.Request, files: Files, path: str) -> StoredFile:
    stored = files.get(path)
    if stored is None or owned.find(request, stored.job_id) is None:
        raise NotFound("file", path[:255])
    if stored.deleted:
        raise Gone("The file was deleted when its time was over.")
    return stored


def _delivery(request: web.Request, stored: StoredFile, validators: Validators, clock: Clock) -> Delivery:
    size = stored.file.size_bytes
    headers = {**_validator_headers(validators), **_content_headers(stored)}
    spans = _wanted(request, validators, size)
    if spans is None:
        return Delivery(200, headers, [Part(b"", Span(0, size))])
    if not spans:
        unsatisfied = {"Content-Range": f"bytes */{size}"}
        raise HttpRefusal("range_not_satisfiable", f"The file has {size} bytes.", unsatisfied)
    if len(spans) == 1:
        headers["Content-Range"] = spans[0].content_range(size)
        return Delivery(206, headers, [Part(b"", spans[0])])
    return _several(headers, spans, size, clock.new_id())


def _wanted(request: web.Request, validators: Validators, size: int) -> list[Span] | None:
    """The spans that are asked for, None for the whole. Only a GET can ask for a part."""
    asked = request.headers.getall("Range", ())
    if request.method != "GET" or len(asked) != 1 or not conditions.range_holds(request.headers, validators):
        return None
    return ranges.parse(asked[0], size)


def _several(headers: dict[str, str], spans: list[Span], size: int, boundary: str) -> Delivery:
    """Several spans as `multipart/byteranges`."""
    head = f"\r\n--{boundary}\r\nContent-Type: {headers['Content-Type']}\r\nContent-Range: "
    parts = [Part(f"{head}{span.content_range(size)}\r\n\r\n".encode(), span) for span in spans]
    parts.append(Part(f"\r\n--{boundary}--\r\n".encode(), Span(0, 0)))
    headers["Content-Type"] = f"multipart/byteranges; boundary={boundary}"
    return Delivery(206, headers, parts)


def _validator_headers(validators: Validators) -> dict[str, str]:
    return {
        "ETag": f'"{validators.etag}"',
        "Last-Modified": formatdate(validators.modified, usegmt=True),
        "Cache-Control": "private, no-cache",
    }


def _content_headers(stored: StoredFile) -> dict[str, str]:
    """What keeps a browser from taking the file for anything but a file."""
    return {
        "Accept-Ranges": "bytes",
        "Content-Type": _shown_type(stored.file.mime_type),
        "Content-Disposition": disposition(stored.file.path.rpartition("/")[2]),
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "X-Content-Type-Options": "nosniff",
    }


def _shown_type(mime_type: str) -> str:
    """The type, if nothing in a file of it can run; else bytes."""
    shown = mime_type in _SHOWN_TYPES or _MEDIA_TYPE.fullmatch(mime_type)
    return mime_type if shown else "application/octet-stream"


def disposition(name: str) -> str:
    """`Content-Disposition` for a download under this name (RFC 6266), in ASCII and in full (RFC 8187)."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    safe = re.sub(r'["\\%]|[^ -~]', "_", plain) or "file"
    full = quote(name, safe="", errors="replace")
    return f"attachment; filename=\"{safe}\"; filename*=UTF-8''{full}"


@asynccontextmanager
async def _opened(volume: Volume, stored: StoredFile) -> AsyncIterator[io.FileIO]:
    """The file, open. Raises `NotFound` and `HttpRefusal` when it is not what the log says."""
    opening = asyncio.ensure_future(asyncio.to_thread(_open, volume, stored.file))
    try:
        file = await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(_close_unwanted)
        raise
    except OSError as error:
        _log.error("files.missing", job_id=stored.job_id, path=stored.file.path, error=str(error))
        raise NotFound("file", stored.file.path) from error
    if file is None:
        _log.error("files.changed", job_id=stored.job_id, path=stored.file.path)
        raise HttpRefusal("internal", "The file is not as it was when it was stored.")
    with file:
        yield file


def _open(volume: Volume, file: File) -> io.FileIO | None:
    """Open a stored file for reading; None when another than the stored one is there."""
    descriptor = _descriptor_beneath(volume.root, file.path)
    found = os.fstat(descriptor)
    if stat.S_ISREG(found.st_mode) and found.st_size == file.size_bytes:
        return io.FileIO(descriptor)
    os.close(descriptor)
    return None


def _descriptor_beneath(root: Path, path: str) -> int:
    """Open a path below a folder, with no symbolic link anywhere on the way, and without waiting."""
    *folders, name = path.split("/")
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in folders:
            inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = inner
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    finally:
        os.close(folder)


def _close_unwanted(opening: asyncio.Future[io.FileIO | None]) -> None:
    if not opening.cancelled() and opening.exception() is None and (file := opening.result()) is not None:
        file.close()


async def _deliver(request: web.Request, file: io.FileIO, delivery: Delivery) -> web.StreamResponse:
    response = web.StreamResponse(status=delivery.status, headers=delivery.headers)
    response.content_length = sum(len(part.words) + part.span.length for part in delivery.parts)
    await response.prepare(request)
    if request.method != "HEAD":
        for part in delivery.parts:
            if part.words:
                await response.write(part.words)
            await _pour(request, file, part.span)
    await response.write_eof()
    return response


async def _pour(request: web.Request, file: io.FileIO, span: Span) -> None:
    """Send a span of the file. Raises `ConnectionResetError` when the answer has to break off."""
    loop = asyncio.get_running_loop()
    start, left = span
    while left:
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError
        try:
            async with asyncio.timeout(SLICE_WAIT_SEC):
                sent = await loop.sendfile(transport, file, start, min(left, SLICE_BYTES))
        except TimeoutError:
            transport.abort()
            raise ConnectionResetError("The client takes nothing more.") from None
        if sent == 0:
            _log.error("files.shrank", path=request.match_info["path"])
            raise ConnectionResetError("The file is shorter than it was.")
        start, left = start + sent, left - sent
