"""The way a webhook is posted, against receivers that misbehave."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import TCPConnector

from umd.egress.delivery import ANSWER_BYTES_MAX, Poster
from umd.errors import Unanswered
from umd.telemetry.records import Listener, Record, WebhookPosted, ignore

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def receiver(talk: Talk) -> AsyncIterator[str]:
    """Whoever connects gets this."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/in"
    finally:
        server.close()


async def ask(reader: asyncio.StreamReader) -> bytes:
    """A request, whole."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
    return head + await reader.readexactly(int(length.partition(b":")[2]))


def answer(words: bytes) -> Talk:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await ask(reader)
        writer.write(words)
        await writer.drain()

    return talk


@asynccontextmanager
async def poster(timeout_sec: float = 5, note: Listener = ignore) -> AsyncIterator[Poster]:
    made = Poster(timeout_sec, TCPConnector, note)
    await made.stop()
    await made.start()
    try:
        yield made
    finally:
        await made.stop()
        await made.stop()


async def test_a_webhook_arrives_as_it_was_signed() -> None:
    seen: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await ask(reader))
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with receiver(talk) as url, poster() as post:
        assert await post.post(url, b'{"a":1}', {"webhook-id": "msg_1"}) == 204

    [request] = seen
    assert request.startswith(b"POST /in HTTP/1.1\r\n")
    assert request.endswith(b'\r\n\r\n{"a":1}')
    assert b"webhook-id: msg_1\r\n" in request
    assert b"Content-Type: application/json\r\n" in request


async def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    elsewhere: list[bytes] = []

    async def trap(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        elsewhere.append(await reader.read(1))

    async with receiver(trap) as inner, poster() as post:
        words = f"HTTP/1.1 307 Go\r\nLocation: {inner}\r\nContent-Length: 0\r\n\r\n"
        async with receiver(answer(words.encode())) as url:
            assert await post.post(url, b"{}", {}) == 307

    assert elsewhere == []


async def test_every_attempt_is_told_with_its_status_or_none() -> None:
    told: list[Record] = []

    async with poster(note=told.append) as post:
        for words in (b"204 No Content\r\n", b"410 Gone\r\nContent-Length: 0\r\n"):
            async with receiver(answer(b"HTTP/1.1 " + words + b"\r\n")) as url:
                await post.post(url, b"{}", {})
        async with receiver(answer(b"")) as url:
            with pytest.raises(Unanswered):
                await post.post(url, b"{}", {})

    assert [record.status for record in told if isinstance(record, WebhookPosted)] == [204, 410, None]


async def test_an_endless_answer_is_cut_off() -> None:
    sent = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await ask(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"1000\r\n" + bytes(4096) + b"\r\n")
            await writer.drain()
            sent += 4096

    async with receiver(talk) as url, poster(timeout_sec=20) as post:
        async with asyncio.timeout(5):
            assert await post.post(url, b"{}", {}) == 200

    assert sent < 100 * ANSWER_BYTES_MAX


async def test_an_answer_whose_rest_never_comes_counts_by_its_status() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await ask(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
        await reader.read()

    async with receiver(talk) as url, poster(timeout_sec=0.3) as post:
        assert await post.post(url, b"{}", {}) == 200


@pytest.mark.parametrize(
    "words",
    [b"", b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n"],
    ids=["nothing", "no HTTP", "a huge header"],
)
async def test_what_is_no_answer_is_told_without_the_address(words: bytes) -> None:
    async with receiver(answer(words)) as url, poster() as post:
        with pytest.raises(Unanswered) as failure:
            await post.post(f"{url}?token=s", b"{}", {})

    assert "token" not in str(failure.value)
    assert "127.0.0.1" not in str(failure.value)


async def test_one_that_never_answers_or_does_not_listen_is_given_up() -> None:
    async def talk(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read(-1)

    async with poster(timeout_sec=0.3) as post:
        async with receiver(talk) as url:
            with pytest.raises(Unanswered, match=r"within 0\.3 s"):
                await post.post(url, b"{}", {})
        with pytest.raises(Unanswered):
            await post.post(url, b"{}", {})
