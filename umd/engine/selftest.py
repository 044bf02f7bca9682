"""What a release of yt-dlp has to pass before downloads run on it, done by children as downloads are.

The first child looks at the release itself (`umd.engine.soundness`). The second one is a download like any
other, with the same sandbox, proxy, parameters and reports, from a page with a sound in it to a file that
ffmpeg has encoded. Only the origin is not the Internet: it is a server here, and whatever the child asks for,
it gets to no other place. What a release makes of real sites is not tested; the downloads that follow tell.
"""

import asyncio
import io
import shutil
import socket
import wave
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_address, ip_network
from pathlib import Path

from umd.domain.addresses import Address
from umd.domain.destinations import Rules
from umd.domain.options import MediaOptions
from umd.egress.dialler import dial
from umd.egress.proxy import Egress
from umd.egress.resolver import SystemResolver
from umd.engine.config import EngineConfig
from umd.engine.protocol import AnyTask, Assignment, Attempt, Download, Finished, SelfTest
from umd.errors import EngineError

TEST_SEC_MAX = 120.0

Run = Callable[[Assignment, Egress], Awaitable[Attempt]]
"""Starts a child on the release to be tested."""

_LOOPBACK = ip_address("127.0.0.1")
_PAGE = (
    b"<!DOCTYPE html><html><head><title>Self-test</title></head>"
    b'<body><audio src="/sound.wav"></audio></body></html>'
)
_HEAD = "HTTP/1.1 200 OK\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n"
_REQUEST_SEC_MAX = 10


async def examine(run: Run, config: EngineConfig, version: str) -> None:
    """Test a release; `EngineError` says what is wrong with it."""
    folder = Path(config.scratch) / "self-test"
    has_tools = bool(config.tools.ffmpeg and config.tools.ffprobe)
    options = MediaOptions(audio_only=has_tools, audio_format="flac", embed_metadata=has_tools)
    try:
        async with asyncio.timeout(TEST_SEC_MAX), _origin() as (url, egress):
            for task in (SelfTest(version), Download()):
                await asyncio.to_thread(_make_empty, folder)
                assignment = Assignment("self-test", 1, url, options, str(folder), task=task)
                await _pass(await run(assignment, egress), task)
    except TimeoutError as error:
        raise EngineError(f"The self-test took longer than {TEST_SEC_MAX:.0f} s.") from error
    except OSError as error:
        raise EngineError(f"The self-test cannot be done: {error}") from error
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


async def _pass(attempt: Attempt, task: AnyTask) -> None:
    finished = None
    try:
        async for report in attempt.reports():
            finished = report if isinstance(report, Finished) else finished
    finally:
        ended = await attempt.stop()
    if finished is None:
        raise EngineError(f"The self-test's process died (status {ended.status}).")
    if finished.fault is not None:
        raise EngineError(f"The self-test failed: {finished.fault.message}")
    if isinstance(task, Download) and finished.main is None:
        raise EngineError("The self-test's download brought no file.")


def _make_empty(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)


@asynccontextmanager
async def _origin() -> AsyncIterator[tuple[str, Egress]]:
    """The address of a page, and the way to it, which leads nowhere else."""
    async with await asyncio.start_server(_answer, str(_LOOPBACK), 0) as server:
        port = server.sockets[0].getsockname()[1]

        async def dial_origin(_addresses: Sequence[Address], _port: int) -> socket.socket:
            return await dial([_LOOPBACK], port)

        resolver = SystemResolver()
        egress = Egress(Rules((ip_network(str(_LOOPBACK)),)), resolver, dial=dial_origin)
        try:
            yield f"http://{_LOOPBACK}:{port}/", egress
        finally:
            await egress.stop()
            resolver.stop()


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        async with asyncio.timeout(_REQUEST_SEC_MAX):
            head = await reader.readuntil(b"\r\n\r\n")
            is_sound = head.split(b" ", 2)[1].endswith(b".wav")
            kind, body = ("audio/wav", _sound()) if is_sound else ("text/html", _PAGE)
            writer.write(_HEAD.format(kind, len(body)).encode() + body)
            await writer.drain()
    except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, IndexError):
        pass  # the child will say what became of it
    finally:
        writer.close()


def _sound() -> bytes:
    """A tenth of a second of silence."""
    target = io.BytesIO()
    with wave.open(target, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8_000)
        file.writeframes(bytes(1_600))
    return target.getvalue()
