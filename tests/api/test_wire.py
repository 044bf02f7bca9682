"""What is not HTTP, what is too large and who is too slow, over real sockets."""

import asyncio
import io
import re

import pytest

from tests.api.world import DEADLINE_SEC, PREFIX, URL, World, is_problem, parse, until
from umd.api import connection, decoding
from umd.api.server import Server

HOST = b"Host: localhost\r\n"
POST = (
    b"POST /api/v1/download HTTP/1.1\r\n" + HOST + b"Content-Type: application/json\r\nConnection: close\r\n"
)


def get(path: str, *headers: bytes) -> bytes:
    lines = b"".join(header + b"\r\n" for header in (b"Connection: close", *headers))
    return b"GET " + path.encode() + b" HTTP/1.1\r\n" + HOST + lines + b"\r\n"


@pytest.mark.parametrize(
    ("request_", "code", "status"),
    [
        (b"\r\n\x00\r\n\r\n", "malformed_request", 400),
        (b"FOO\r\n\r\n", "malformed_request", 400),
        (b"GET\r\n\r\n", "malformed_request", 400),
        (b"GET / HTTP/9.9\r\n" + HOST + b"\r\n", "malformed_request", 400),
        (b"GET / HTTP/1.1\r\n\r\n", "malformed_request", 400),
        (b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n", "malformed_request", 400),
        (b"GET / HTTP/1.1\r\n" + HOST + b"A b: c\r\n\r\n", "malformed_request", 400),
        (b"GET / HTTP/1.1\r\n" + HOST + b": c\r\n\r\n", "malformed_request", 400),
        (b"GET / HTTP/1.1\r\n" + HOST + b"A: \x00\r\n\r\n", "malformed_request", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "malformed_request", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "malformed_request", 400),
        (POST + b"Content-Length: -1\r\n\r\n", "malformed_request", 400),
        (POST + b"Content-Length: 1a\r\n\r\n", "malformed_request", 400),
        (POST + b"Content-Length: 99999999999999999999999\r\n\r\n", "malformed_request", 400),
        (POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", "malformed_request", 400),
        (POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}", "malformed_request", 400),
        (POST + b"Transfer-Encoding: gzip\r\n\r\n{}", "malformed_request", 400),
        (get("/", b"X: " + b"a" * 100_000), "headers_too_large", 431),
        (get("/", b"X" * 100_000 + b": a"), "headers_too_large", 431),
        (get("/", *[b"X: a"] * 1_000), "headers_too_large", 431),
        (get("/" + "a" * 100_000), "uri_too_long", 414),
        (get(PREFIX + "/download?cursor=" + "a" * 100_000), "uri_too_long", 414),
        (get("/", b"Expect: a miracle"), "expectation_failed", 417),
        (get(PREFIX + "/download", b"Expect: 101"), "expectation_failed", 417),
        (get("/ÿ"), "malformed_request", 400),
        (b"GET /\xff\xfe HTTP/1.1\r\nConnection: close\r\n" + HOST + b"\r\n", "malformed_request", 400),
        (b"CONNECT a:1 HTTP/1.1\r\nConnection: close\r\n" + HOST + b"\r\n", "not_found", 404),
        (b"OPTIONS * HTTP/1.1\r\nConnection: close\r\n" + HOST + b"\r\n", "not_found", 404),
        (POST + b"Content-Length: 2000000\r\n\r\n", "body_too_large", 413),
        (POST + b"Content-Length: 2\r\nContent-Encoding: gzip\r\n\r\n{}", "unsupported_media_type", 415),
        (POST + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n{}\r\n0\r\n\r\n", "malformed_request", 400),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}XX0\r\n\r\n", "malformed_request", 400),
    ],
)
async def test_what_cannot_be_read_is_answered_as_a_problem(
    world: World, request_: bytes, code: str, status: int
) -> None:
    answer = await world.raw(request_)

    assert is_problem(answer, code, status), answer


async def test_nothing_is_read_behind_what_could_not_be_read(world: World) -> None:
    answers = await world.exchange(b"FOO\r\n\r\n" + get(PREFIX + "/health/live"))

    assert answers.count(b"Content-Length") == 1


async def test_a_client_that_is_still_sending_reads_why_it_is_refused(world: World) -> None:
    """The answer would be lost if the connection were closed over bytes that nobody has read."""
    answer = await world.raw(get("/", b"X: " + b"a" * 5_000_000))

    assert is_problem(answer, "headers_too_large", 431)


async def test_a_body_of_eleven_megabytes_is_refused_and_the_connection_lives_on(world: World) -> None:
    body = io.BytesIO(b'"' + b"a" * 11_000_000 + b'"')
    answer = await world.ask("POST", "/download", data=body, headers={"Content-Type": "application/json"})

    assert is_problem(answer, "body_too_large", 413)
    assert (await world.get("/health/live")).status == 200


async def test_a_chunked_body_is_counted_while_it_comes(world: World) -> None:
    chunk = b"10000\r\n" + b"a" * 65_536 + b"\r\n"

    answer = await world.raw(POST + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 20 + b"0\r\n\r\n")

    assert is_problem(answer, "body_too_large", 413)


async def test_a_body_that_breaks_off_leaves_no_job(world: World) -> None:
    await world.exchange(POST + b'Content-Length: 100\r\n\r\n{"url":', close=True)

    assert world.log.head == 0


async def test_a_client_may_wait_for_the_word_to_go_on(world: World) -> None:
    body = b'{"url": "' + URL.encode() + b'"}'
    head = POST + b"Expect: 100-continue\r\nContent-Length: " + str(len(body)).encode() + b"\r\n\r\n"

    answers = await world.exchange(head + body)

    assert answers.startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert parse(answers.partition(b"\r\n\r\n")[2]).status == 202


async def test_pipelined_requests_are_answered_in_order(world: World) -> None:
    live = get(PREFIX + "/health/live").replace(b"Connection: close\r\n", b"")

    answers = await world.exchange(live * 3 + get("/nothing"))

    assert re.findall(rb"HTTP/1.1 (\d+)", answers) == [b"200", b"200", b"200", b"404"]


async def test_links_are_relative_where_no_host_is_named(world: World) -> None:
    job_id = await world.submit()

    answer = await world.raw(f"GET {PREFIX}/download/{job_id} HTTP/1.0\r\n\r\n".encode())

    assert answer.json["logs_url"] == f"{PREFIX}/download/{job_id}/logs"


@pytest.mark.parametrize("host", [b"a b", b'"><script>', b"user@host", b"\xff", b"a/b", b""])
async def test_a_host_that_is_none_gets_into_no_link(world: World, host: bytes) -> None:
    job_id = await world.submit()

    answer = await world.raw(get(f"{PREFIX}/download/{job_id}").replace(b"localhost", host))

    assert answer.status in (200, 400, 421)
    assert answer.status != 200 or answer.json["logs_url"].startswith(PREFIX)


async def test_headers_that_drip_are_cut_off(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEADER_WAIT_SEC", 0.05)

    answers = await world.exchange(b"GET / HTTP/1.1\r\nHost: loc")

    assert answers == b""


async def test_headers_that_drip_are_cut_off_on_a_used_connection(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "HEADER_WAIT_SEC", 0.05)
    live = get(PREFIX + "/health/live").replace(b"Connection: close\r\n", b"")
    async with asyncio.timeout(DEADLINE_SEC):
        reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
        writer.write(live)
        await reader.readuntil(b"}")
        writer.write(b"GET / HTT")

        assert await reader.read() == b""
        writer.close()


async def test_a_body_that_drips_is_answered_with_a_timeout(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "BODY_WAIT_SEC", 0.05)
    async with asyncio.timeout(DEADLINE_SEC):
        reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
        writer.write(POST + b'Content-Length: 100\r\n\r\n{"url"')
        head = await reader.readuntil(b"\r\n\r\n")
        writer.close()

    assert head.startswith(b"HTTP/1.1 408")


async def test_a_client_that_does_not_read_is_dropped(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "WRITE_WAIT_SEC", 0.1)
    for _ in range(20):
        await world.submit(custom_format="x" * 500, webhook_url=URL + "x" * 1_900)
    request = get(PREFIX + "/log?limit=1000").replace(b"Connection: close\r\n", b"")
    others = world.connections
    async with asyncio.timeout(DEADLINE_SEC):
        reader, writer = await asyncio.open_connection("127.0.0.1", world.port, limit=1)
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(request * 500)
        await until(lambda: world.connections > others)
        await until(lambda: world.connections == others)
        writer.close()


async def test_a_server_may_be_stopped_twice_and_before_its_start(world: World) -> None:
    fresh = Server(world.context, world.hub)

    await fresh.stop()
    await fresh.stop()
    await world.server.stop()
    await world.server.stop()

    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", world.port)
