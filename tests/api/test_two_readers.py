"""T27: a second reader of HTTP beside the server's: what one of them sees, a proxy may not have seen.

Requests are changed at random, and the server must not find more in them than h11 does, nor other targets:
that would be a request that somebody hid. To find less, and to close, is no harm.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from random import Random  # noqa: TID251  # seeded
from urllib.parse import unquote

import h11
import pytest

from tests.api.world import World

PATIENCE_SEC = 0.3
AT_ONCE = 32
TURNS = 20
HOST = b"Host: localhost\r\n"
BODY = b'{"url": "https://example.com/v"}'
SEEDS = (
    b"GET /a HTTP/1.1\r\n" + HOST + b"Accept: */*\r\nX-Request-ID: abc\r\n\r\n",
    b"GET /b?c=d HTTP/1.1\r\n" + HOST + b"Connection: keep-alive\r\n\r\n",
    b"GET /e HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"POST /f HTTP/1.1\r\n" + HOST + b"Content-Length: 32\r\n\r\n" + BODY,
    b"POST /g HTTP/1.1\r\n"
    + HOST
    + b"Transfer-Encoding: chunked\r\n\r\n10;a=b\r\n"
    + BODY[:16]
    + b"\r\n10\r\n"
    + BODY[16:]
    + b"\r\n0\r\nX-Trailer: a\r\n\r\n",
    b"DELETE http://localhost/h HTTP/1.1\r\n" + HOST + b"Cookie: a=b; c=d\r\n\r\n",
    b"PUT /i HTTP/1.1\r\n" + HOST + b'X-Long: "a, b"\r\nContent-Length: 0\r\n\r\n',
)
"""None of these is there, so that each answer names what was asked for."""

LAST = b"GET /last HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"
FILLING = b"\0" * 100_000
"""For a body that is waited for. Nothing in it is a request, so that the connection has an end."""

PIECES = (
    *(b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\n\n", b"\0", b"\x0b", b"\x0c", b"\x85", b"\xa0", b"\xff"),
    *(b" ", b"\t", b":", b";", b",", b"+", b"-", b"_", b'"', b"0", b"1", b"0x", b"00", b"f", b"9999"),
    *(b"Content-Length: 0\r\n", b"Content-Length: 5\r\n", b"Content-Length:\r\n", b"content-length: 32\r\n"),
    *(
        b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: identity\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
    ),
    *(
        b"Connection: close\r\n",
        b"Connection: upgrade\r\nUpgrade: h2c\r\n",
        b"Expect: 100-continue\r\n",
        HOST,
    ),
    *(
        b"chunked",
        b"Transfer-Encoding",
        b"Content-Length",
        b"HTTP/1.1",
        b"HTTP/1.0",
        b"HTTP/2.0",
        b"GET ",
        b"0\r\n\r\n",
    ),
)

_SPACES = re.compile(rb"\A(\S+) +(\S+) +HTTP")


def changed(request: bytes, rng: Random) -> bytes:
    """A request after a few changes of a few bytes."""
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(request) + 1)
        to = min(len(request), at + rng.choice((1, 1, 1, 2, 4, 16)))
        match rng.randrange(6):
            case 0:
                request = request[:at] + rng.choice(PIECES) + request[at:]
            case 1:
                request = request[:at] + rng.choice(PIECES) + request[to:]
            case 2:
                request = request[:at] + request[to:]
            case 3:
                request = request[:to] + request[at:]
            case 4:
                request = request[:at] + bytes([rng.randrange(256)]) + request[to:]
            case _:
                lines = request.split(b"\r\n")
                lines.insert(rng.randrange(len(lines) + 1), rng.choice(lines))
                request = b"\r\n".join(lines)
    return request


def cases(seed: int, count: int) -> Iterator[bytes]:
    rng = Random(seed)
    for _ in range(count):
        yield changed(b"".join(rng.choices(SEEDS, k=rng.randint(1, 3))), rng) + LAST


def read_by_h11(data: bytes) -> list[str]:
    """The paths of the requests that h11 finds, up to the first thing that is none.

    It sees one at a time, for three things that RFC 9112 lets the server do and h11 does not: empty lines
    before a request are passed over (2.2), there may be more than one space in its line (3), for whoever
    takes that reads the same; and a connection of HTTP/1.0 lives on where the client asks for it (9.3).
    """
    paths: list[str] = []
    lives = True
    while lives and (data := data.lstrip(b"\r\n")):
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1_000_000)
        connection.receive_data(_SPACES.sub(b"\\1 \\2 HTTP", data, count=1))
        lives = may_live = False
        with suppress(h11.RemoteProtocolError):
            while (event := connection.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
                if isinstance(event, h11.Request):
                    paths.append(path_of(event.target.decode("latin-1")))
                    may_live = keeps_alive(event)
                lives = isinstance(event, h11.EndOfMessage) and may_live
        data, _ = connection.trailing_data
    return paths


def keeps_alive(request: h11.Request) -> bool:
    """By RFC 9112, 9.3."""
    values = b",".join(value for name, value in request.headers if name == b"connection").lower()
    options = [option.strip() for option in values.split(b",")]
    if b"close" in options:
        return False
    return request.http_version == b"1.1" or b"keep-alive" in options


def path_of(target: str) -> str:
    return unquote(re.sub(r"^[A-Za-z][\w+.-]*://[^/?#]*", "", target).partition("?")[0])


async def read_by_umd(world: World, data: bytes) -> list[str]:
    """The paths that the server has answered to, but for its last word on what is no request."""
    answers = bytearray()
    async with world.connected() as (reader, writer):
        for part in pieces(data):
            writer.write(part)
            for _ in range(TURNS):
                await asyncio.sleep(0)  # so that the server may read what there is
        try:
            async with asyncio.timeout(PATIENCE_SEC):
                await collect(reader, answers)
        except TimeoutError:
            writer.write(FILLING)
            await collect(reader, answers)
    told = re.findall(rb'"code":"(\w+)".*?"instance":"([^"]*)"', answers)
    return [unquote(path.decode()) for code, path in told if code != b"malformed_request"]


def pieces(data: bytes) -> Iterator[bytes]:
    """As it may come over a network. The server takes nothing from a piece that it cannot read to its end."""
    rng = Random(data)
    places = sorted(rng.randrange(len(data)) for _ in range(rng.randrange(4)))
    yield from (data[at:to] for at, to in pairwise([0, *places, len(data)]))


async def collect(reader: asyncio.StreamReader, into: bytearray) -> None:
    with suppress(ConnectionError):
        while part := await reader.read(2**16):
            into += part


async def compared(world: World, requests: list[bytes]) -> list[tuple[bytes, list[str], list[str]]]:
    room = asyncio.Semaphore(AT_ONCE)

    async def both(request: bytes) -> tuple[bytes, list[str], list[str]]:
        async with room:
            return request, await read_by_umd(world, request), read_by_h11(request + FILLING)

    return await asyncio.gather(*map(both, requests))


@pytest.mark.parametrize(
    ("seed", "count"),
    [(1, 500), *(pytest.param(seed, 10_000, marks=pytest.mark.soak) for seed in range(2, 12))],
)
async def test_t27_the_server_finds_nothing_that_another_reader_does_not(
    world: World, seed: int, count: int
) -> None:
    seen: Counter[str] = Counter()
    hidden = {}
    for request, ours, theirs in await compared(world, list(cases(seed, count))):
        seen["same" if ours == theirs else "less"] += 1
        seen["several"] += len(ours) > 1
        if ours != theirs[: len(ours)]:
            hidden[request] = (ours, theirs)

    assert hidden == {}
    assert min(seen["same"], seen["less"], seen["several"]) > count / 20, seen
