"""T12: what is small on the wire and huge when it is opened ends its own attempt, and nothing else."""

import gc
import struct
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest
import pytest_asyncio
from aiohttp import web

from tests.engine.rig import Rig
from tests.site import Site

MIB = 1_048_576
WORKER_BYTES_MAX = 256 * MIB
SERVICE_GROWTH_BYTES_MAX = 64 * MIB
BLOCK_BYTES, BLOCKS = 16 * MIB, 640
"""10 GiB, when all is opened."""
PIXELS = 40_000
"""Each way: 1.6 GB with a byte each."""


def inflating(beginning: bytes) -> bytes:
    """What begins so and goes on with nothing, in gzip. Each block stands for itself, so one is enough."""
    packer = zlib.compressobj(9, wbits=31)
    head = packer.compress(beginning) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(BLOCK_BYTES)) + packer.flush(zlib.Z_FULL_FLUSH)
    return head + block * BLOCKS


def picture() -> bytes:
    """A PNG in which nothing is to be seen, a bit for each pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", PIXELS, PIXELS, 1, 0, 0, 0, 0)
    rows = bytes((PIXELS // 8 + 1) * PIXELS)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows, 9))
        + chunk(b"IEND", b"")
    )


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def bombs() -> AsyncIterator[str]:
    """The address of a site with nothing else."""
    answers = {
        "page": (inflating(b"<!DOCTYPE html><html><title>A page</title>"), "text/html", "gzip"),
        "list": (inflating(b"#EXTM3U\n"), "application/vnd.apple.mpegurl", "gzip"),
        "picture.png": (picture(), "image/png", "identity"),
    }

    async def answer(request: web.Request) -> web.Response:
        body, kind, coding = answers[request.match_info["name"]]
        return web.Response(body=body, headers={"Content-Type": kind, "Content-Encoding": coding})

    app = web.Application()
    app.router.add_get("/{name}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def narrow(site: Site, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    """An engine whose workers may hold little."""
    root: Path = tmp_path_factory.mktemp("narrow")
    async with Rig(site, root, "fork", worker_memory_bytes=WORKER_BYTES_MAX) as rig:
        yield rig


def memory() -> int:
    """What this process holds, in which the proxy is that all goes through."""
    gc.collect()
    return psutil.Process().memory_info().rss


@pytest.mark.parametrize("name", ["page", "list"])
async def test_t12_a_page_that_inflates_ends_its_own_attempt(narrow: Rig, bombs: str, name: str) -> None:
    before = memory()
    run = await narrow.download(f"{bombs}/{name}")
    after = memory()

    assert run.fault.code == "worker_crashed"
    assert "out of memory" in run.fault.message
    assert after - before < SERVICE_GROWTH_BYTES_MAX
    assert (await narrow.download("/media/small/well.mp4")).finished.fault is None


async def test_t12_a_picture_that_inflates_ends_its_own_attempt(narrow: Rig, bombs: str) -> None:
    before = memory()
    thumb = quote(f"{bombs}/picture.png", safe="")
    run = await narrow.download(
        f"/site/video/bomb?formats=combined&thumb={thumb}", write_thumbnail=True, thumbnail_format="jpg"
    )
    after = memory()

    assert run.fault.code == "postprocessing_failed"
    assert after - before < SERVICE_GROWTH_BYTES_MAX
    assert (await narrow.download("/media/small/well.mp4")).finished.fault is None
