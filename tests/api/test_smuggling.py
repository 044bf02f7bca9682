"""Requests that two servers could read in two ways: no second answer comes, and the next client is well."""

import re

import pytest

from tests.api.world import PREFIX, World

HIDDEN = f"GET {PREFIX}/log HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
HEAD = f"POST {PREFIX}/download HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n".encode()
TE = b"Transfer-Encoding: chunked\r\n"
CHUNKED_END = b"0\r\n\r\n"


def sized(*lengths: bytes) -> bytes:
    return b"".join(b"Content-Length: " + length + b"\r\n" for length in lengths)


CASES = {
    "a length and chunks": HEAD + sized(b"5") + TE + b"\r\n" + CHUNKED_END + HIDDEN,
    "chunks and a length": HEAD + TE + sized(b"5") + b"\r\n" + CHUNKED_END + HIDDEN,
    "two lengths": HEAD + sized(b"0", b"%d" % len(HIDDEN)) + b"\r\n" + HIDDEN,
    "two lengths in one": HEAD + sized(b"0, %d" % len(HIDDEN)) + b"\r\n" + HIDDEN,
    "two codings": HEAD + TE + b"Transfer-Encoding: identity\r\n\r\n" + CHUNKED_END + HIDDEN,
    "chunked before another": HEAD + b"Transfer-Encoding: chunked, gzip\r\n\r\n" + CHUNKED_END + HIDDEN,
    "chunked misspelled": HEAD + b"Transfer-Encoding: xchunked\r\n\r\n" + CHUNKED_END + HIDDEN,
    "chunked with a vertical tab": HEAD + b"Transfer-Encoding: \x0bchunked\r\n\r\n" + CHUNKED_END + HIDDEN,
    "a space before the colon": HEAD + b"Transfer-Encoding : chunked\r\n\r\n" + CHUNKED_END + HIDDEN,
    "a folded header": HEAD + b"Transfer-Encoding:\r\n chunked\r\n\r\n" + CHUNKED_END + HIDDEN,
    "a header with a bare line feed": HEAD + b"X: a\n" + TE + b"\r\n" + CHUNKED_END + HIDDEN,
    "a header with a bare return": HEAD + b"X: a\rTransfer-Encoding: chunked\r\n\r\n" + CHUNKED_END + HIDDEN,
    "a header with nul": HEAD + b"X: a\x00b\r\n" + sized(b"0") + b"\r\n" + HIDDEN,
    "a length with a sign": HEAD + sized(b"+0") + b"\r\n" + HIDDEN,
    "a negative length": HEAD + sized(b"-1") + b"\r\n" + HIDDEN,
    "a hexadecimal length": HEAD + sized(b"0x0") + b"\r\n" + HIDDEN,
    "a length with an underscore": HEAD + sized(b"1_0") + b"\r\n" + HIDDEN,
    "a length in other digits": HEAD + sized("\u0663".encode()) + b"\r\n" + HIDDEN,
    "an endless length": HEAD + sized(b"9" * 30) + b"\r\n" + HIDDEN,
    "a chunk size with a sign": HEAD + TE + b"\r\n+0\r\n\r\n" + HIDDEN,
    "a chunk size in other form": HEAD + TE + b"\r\n0x0\r\n\r\n" + HIDDEN,
    "a chunk size with an underscore": HEAD + TE + b"\r\n0_0\r\n\r\n" + HIDDEN,
    "a chunk size without end": HEAD + TE + b"\r\n" + b"f" * 40 + b"\r\n" + HIDDEN,
    "a chunk extension with a line feed": HEAD + TE + b"\r\n0;a\nb\r\n\r\n" + HIDDEN,
    "a chunk longer than said": HEAD + TE + b"\r\n1\r\naa\r\n" + CHUNKED_END + HIDDEN,
    "two hosts": HEAD + b"Host: evil.example\r\n" + sized(b"0") + b"\r\n" + HIDDEN,
    "no host": HEAD.replace(b"Host: localhost\r\n", b"") + sized(b"0") + b"\r\n" + HIDDEN,
    "another host in the line": HEAD.replace(b"POST /", b"POST http://evil.example/")
    + b"Host: b\r\n\r\n"
    + HIDDEN,
    "a line in two": b"GET /\r\n HTTP/1.1\r\nHost: localhost\r\n\r\n" + HIDDEN,
    "a version that is none": b"GET / HTTP/1.1.1\r\nHost: localhost\r\n\r\n" + HIDDEN,
    "a tab in the line": b"GET\t/\tHTTP/1.1\r\nHost: localhost\r\n\r\n" + HIDDEN,
    "HTTP/0.9": b"GET /\r\n\r\n" + HIDDEN,
}


@pytest.mark.parametrize(
    "version", [b"", b" HTTP/0.9", b" HTTP/2.0", b" HTTP/1.2", b"HTTP/1.1", b" http/1.1"]
)
async def test_t27_other_versions_are_refused_and_closed(world: World, version: bytes) -> None:
    """A line without a version is one of HTTP/0.9, where aiohttp's parser went on to headers and a body."""
    line = HEAD.replace(b" HTTP/1.1", version)
    body = b'{"url": "https://example.com/v"}'

    answers = await world.exchange(
        line + b"Connection: keep-alive\r\n" + sized(b"%d" % len(body)) + b"\r\n" + body
    )

    assert re.findall(rb"^HTTP/\d\.\d (\d+)", answers) == [b"400"]
    assert b"malformed_request" in answers
    assert world.jobs.position == 0


@pytest.mark.parametrize("request_", CASES.values(), ids=CASES.keys())
async def test_t27_nothing_that_is_hidden_behind_a_request_is_answered(world: World, request_: bytes) -> None:
    answers = await world.exchange(request_, close=True)

    assert re.findall(rb"HTTP/1\.1 (\d+)", answers) in ([b"400"], []), answers
    assert b'"events"' not in answers
    assert (
        await world.raw(f"GET {PREFIX}/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    ).status == 200
    assert world.jobs.position == 0


async def test_t27_what_is_well_formed_is_read_to_its_end_and_no_further(world: World) -> None:
    """The body looks like a request, and is none."""
    request = HEAD + sized(b"%d" % len(HIDDEN)) + b"\r\n" + HIDDEN
    last = f"GET {PREFIX}/health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()

    answers = await world.exchange(request + last)

    assert re.findall(rb"HTTP/1\.1 (\d+)", answers) == [b"400", b"200"]
    assert b"malformed_json" in answers
