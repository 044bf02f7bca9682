"""What a worker sees of the proxy: tunnels, plain requests, and refusals."""

import asyncio
import gc
import itertools
import os
import socket

import psutil
import pytest

from tests.egress.net import DEADLINE_SEC, INNER, PUBLIC, PUBLIC_V6, Server, answering, net
from umd.domain.destinations import rules_of
from umd.egress import exchange
from umd.egress.passage import CONNECTIONS_MAX, Allowance
from umd.settings import Settings

SPELLINGS = (
    *("127.0.0.1", "2130706433", "0x7f.1", "0177.0.0.1", "127.1", "[::1]", "[::ffff:127.0.0.1]", "[::]", "0"),
    *(
        "[::ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "169.254.169.254",
        "[fd00:ec2::254]",
        "localhost",
    ),
    *("10.0.0.7", "metadata.google.internal", "redis", "x.railway.internal", "256.0.0.1", "224.0.0.1"),
    *("127.0.0.1.", "LOCALHOST", "[fe80::1]", "100.100.100.200", "168.63.129.16", "192.0.0.192"),
)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Give back what comes, and end when the other side has."""
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()


async def test_a_tunnel_carries_bytes_both_ways_and_its_half_close() -> None:
    async with net(Server(echo)) as world, world.passage() as client, client.connected() as (reader, writer):
        writer.write(b"CONNECT site.example:443 HTTP/1.1\r\nHost: site.example:443\r\n\r\nfirst")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 200 Connection established\r\n\r\n"
        assert await reader.readexactly(5) == b"first"
        writer.write(os.urandom(300_000))
        writer.write_eof()

        assert len(await reader.read()) == 300_000
        assert world.dialled == [(PUBLIC, 443)]
        assert (client.passage.traffic.bytes_in, client.passage.traffic.bytes_out) == (300_005, 300_005)
        assert client.passage.refusal is None


async def test_a_plain_request_is_passed_on_as_the_origin_wants_it() -> None:
    async with net() as world, world.passage() as client:
        got = await client.get(
            "http://site.example:8080/a?b=c#d",
            *(
                "Proxy-Connection: keep-alive",
                "Proxy-Authorization: Basic eDp5",
                "Upgrade: h2c",
                "Accept: */*",
            ),
            *("Connection: X-Drop", "X-Drop: 1", "TE: trailers", "Range: bytes=0-4"),
        )

    assert got.endswith(b"\r\n\r\nhello")
    (head,) = world.origin.heads
    assert head.decode().splitlines() == [
        *("GET /a?b=c HTTP/1.1", "Host: site.example:8080", "Accept: */*", "Range: bytes=0-4"),
        *("Connection: keep-alive", ""),
    ]
    assert world.dialled == [(PUBLIC, 8080)]


@pytest.mark.parametrize("host", SPELLINGS)
async def test_no_spelling_of_an_inner_address_is_connected_to(host: str) -> None:
    async with net() as world, world.passage() as client:
        world.table.answers |= dict.fromkeys(("redis", "x.railway.internal"), lambda: (PUBLIC,))
        plain = await client.get(f"http://{host}/secret")
        tunnel = await client.connect(f"{host}:443")

        for answer in (plain, tunnel):
            assert answer.startswith(b"HTTP/1.1 403 address_not_allowed\r\n"), answer
            assert b"INSIDE" not in answer
        assert world.canary.hits == 0
        assert world.dialled == []
        assert client.passage.refusal is not None
        assert client.passage.refusal.code == "address_not_allowed"
        assert [refusal.code for refusal in client.passage.refusals] == ["address_not_allowed"] * 2
        assert "secret" not in repr(client.passage.refusals)


@pytest.mark.parametrize("host", ["１２７.0.0.1", "127。0。0。1", "%31%32%37.0.0.1", "a@b@c", "[::1%25lo]"])
async def test_a_host_that_is_no_host_is_not_read(host: str) -> None:
    async with net() as world, world.passage() as client:
        answer = await client.connect(f"{host}:80")

        assert answer.startswith(b"HTTP/1.1 400 ")
        assert world.dialled == []


async def test_rebinding_wins_nothing() -> None:
    async with net() as world, world.passage() as client:
        answers = itertools.cycle(((PUBLIC,), (INNER,)))
        world.table.answers["rebind.example"] = lambda: next(answers)
        got = [await client.get("http://rebind.example/") for _ in range(1_000)]

        assert world.canary.hits == 0
        assert sum(answer.endswith(b"hello") for answer in got) == 500
        assert sum(b" 403 address_not_allowed" in answer for answer in got) == 500
        assert len(world.table.asked) == 1_000
        assert {address for address, _ in world.dialled} == {PUBLIC}
        assert len(client.passage.refusals) == 100
        assert client.passage.traffic.refused == 500


async def test_one_inner_answer_refuses_the_name() -> None:
    async with net() as world, world.passage() as client:
        world.table.set("mixed.example", PUBLIC, INNER)
        world.table.set("six.example", PUBLIC, PUBLIC_V6)

        assert b" 403 " in await client.connect("mixed.example:443")
        assert (await client.get("http://six.example/")).endswith(b"hello")
        assert world.dialled == [(PUBLIC, 80), (PUBLIC_V6, 80)]
        assert world.canary.hits == 0


async def test_blocked_domains_and_ports_are_refused_by_name() -> None:
    rules = rules_of(
        Settings(blocked_domains="bad.example", allow_youtube=False, allowed_domains="site.example")
    )
    async with net(rules=rules) as world, world.passage() as client:
        for name in ("x.bad.example", "youtu.be", "cdn.example"):
            world.table.set(name, PUBLIC)

        assert b" 403 domain_not_allowed\r\n" in await client.get("http://x.BAD.example/")
        assert b" 403 domain_not_allowed\r\n" in await client.connect("youtu.be:443")
        assert b" 403 address_not_allowed\r\n" in await client.connect("site.example:25")
        assert (await client.get("http://cdn.example/")).endswith(b"hello")
        assert [refusal.place for refusal in client.passage.refusals] == [
            *("x.BAD.example:80", "youtu.be:443", "site.example:25")
        ]
        assert client.passage.refusal is not None
        assert client.passage.refusal.code == "domain_not_allowed"


async def test_allowed_addresses_are_connected_to_on_every_port() -> None:
    async with (
        net(rules=rules_of(Settings(allow_addresses="10.0.0.0/8"))) as world,
        world.passage() as client,
    ):
        world.table.set("nas.local", INNER)

        assert (await client.get("http://nas.local:22/")).endswith(b"INSIDE")
        assert (await client.get("http://10.0.0.7:6379/")).endswith(b"INSIDE")
        assert b" 403 " in await client.get("http://192.168.0.1/")


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        ("GET ftp://site.example/x HTTP/1.1", 501),
        ("GET https://site.example/x HTTP/1.1", 501),
        ("GET file:///etc/passwd HTTP/1.1", 501),
        ("GET /x HTTP/1.1", 400),
        ("CONNECT site.example HTTP/1.1", 400),
        ("CONNECT site.example:0 HTTP/1.1", 400),
        ("CONNECT site.example:99999 HTTP/1.1", 400),
        ("GET http://site.example/x HTTP/2.0", 400),
        ("GET http://site.example/ x HTTP/1.1", 400),
        ("get http://site.example/ HTTP/1.1", 400),
        ("GET http:///x HTTP/1.1", 400),
    ],
)
async def test_what_is_not_spoken_is_refused_clearly(request_line: str, status: int) -> None:
    async with net() as world, world.passage() as client:
        answer = await client.send(f"{request_line}\r\nHost: a\r\n\r\n".encode())

        assert answer.startswith(f"HTTP/1.1 {status} ".encode()), answer
        assert world.dialled == []
        assert (client.passage.refusal is not None) is (status == 501)


@pytest.mark.parametrize(
    "fields",
    [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: 0x5\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        " folded: x\r\n",
        "a: b\n\r\n",
        "a: b\0\r\n",
        "no colon\r\n",
    ],
)
async def test_a_request_that_two_could_read_differently_is_refused(fields: str) -> None:
    async with net() as world, world.passage() as client:
        answer = await client.send(
            f"POST http://site.example/ HTTP/1.1\r\nHost: a\r\n{fields}\r\nhello".encode()
        )

        assert answer.startswith(b"HTTP/1.1 400 ")
        assert world.dialled == []


async def test_a_head_without_end_is_refused() -> None:
    async with net() as world, world.passage() as client:
        answer = await client.send(b"GET http://site.example/ HTTP/1.1\r\n" + b"A: " + b"x" * 70_000)

        assert answer.startswith(b"HTTP/1.1 400 ")


async def test_a_websocket_over_plain_http_is_refused() -> None:
    async with net() as world, world.passage() as client:
        answer = await client.get("http://site.example/", "Upgrade: WebSocket")

        assert answer.startswith(b"HTTP/1.1 501 unsupported_url\r\n")
        assert world.dialled == []


async def test_a_site_that_cannot_be_reached_is_a_bad_gateway() -> None:
    async with net() as world, world.passage() as client:
        assert (await client.get("http://nowhere.example/")).startswith(b"HTTP/1.1 502 unreachable\r\n")
        assert (await client.connect("nowhere.example:443")).startswith(b"HTTP/1.1 502 unreachable\r\n")
        assert client.passage.refusal is None
        assert [notice.what for notice in world.notices] == ["failed", "failed"]


async def test_an_answer_that_is_no_http_is_a_bad_gateway_and_shows_nothing() -> None:
    async def banner(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.inside ESMTP\r\n\r\n")
        await reader.read()

    async with net(Server(banner)) as world, world.passage() as client:
        answer = await client.get("http://site.example/")

        assert answer.startswith(b"HTTP/1.1 502 ")
        assert b"mail.inside" not in answer


async def test_requests_to_one_origin_share_its_connection() -> None:
    origin = answering()
    async with net(origin) as world, world.passage() as client, client.connected() as (reader, writer):
        for number in range(50):
            writer.write(f"GET http://site.example/{number} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert b"Connection: keep-alive" in await reader.readuntil(b"\r\n\r\n")
            assert await reader.readexactly(5) == b"hello"

        assert origin.hits == 1
        assert world.table.asked == ["site.example"]


async def test_a_connection_that_the_origin_has_closed_is_opened_anew() -> None:
    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await origin.head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")  # promises more, and closes

    origin = Server(once)
    async with net(origin) as world, world.passage() as client, client.connected() as (reader, writer):
        for _ in range(5):
            writer.write(b"GET http://site.example/ HTTP/1.1\r\nHost: x\r\n\r\n")
            await reader.readuntil(b"\r\n\r\n")
            assert await reader.readexactly(2) == b"ok"

        assert origin.hits == 5


async def test_an_origin_that_says_more_than_it_announced_is_not_believed_twice() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await origin.head(reader)
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s"
        writer.write(answer % (2, b"ok") + answer % (3, b"bad"))
        await reader.read()

    origin = Server(serve)
    async with net(origin) as world, world.passage() as client, client.connected() as (reader, writer):
        for _ in range(2):
            writer.write(b"GET http://site.example/ HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"Content-Length: 2" in await reader.readuntil(b"\r\n\r\n")
            assert await reader.readexactly(2) == b"ok"

        assert origin.hits == 2


async def test_a_site_that_never_answers_is_a_gateway_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    monkeypatch.setattr(exchange, "IDLE_SEC", 0.2)
    monkeypatch.setattr(exchange, "IDLE_CHECK_SEC", 0.05)
    async with net(Server(silent)) as world, world.passage() as client:
        plain = await client.get("http://site.example/")
        tunnel = await client.connect("site.example:443")

        assert plain.startswith(b"HTTP/1.1 504 timeout\r\n")
        assert tunnel == b"HTTP/1.1 200 Connection established\r\n\r\n"


async def test_a_client_that_has_gone_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await gone.wait()

    gone = asyncio.Event()
    monkeypatch.setattr(exchange, "HALF_IDLE_SEC", 0.2)
    monkeypatch.setattr(exchange, "IDLE_CHECK_SEC", 0.05)
    async with (
        net(Server(silent)) as world,
        world.passage() as client,
        client.connected() as (reader, writer),
    ):
        writer.write(b"CONNECT site.example:443 HTTP/1.1\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        writer.write_eof()

        assert await reader.read() == b""
        gone.set()


async def test_bodies_of_every_framing_arrive_whole() -> None:
    chunked = b"5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nTrailer: t\r\n\r\n"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await origin.head(reader)
            if b"/close " in head:
                writer.write(b"HTTP/1.0 200 OK\nX: y\n\nto the end")
                return
            if b"/icy " in head:
                writer.write(b"ICY 200 OK\r\nicy-name: radio\r\n\r\nstream")
                return
            if b"/none " in head or head.startswith(b"HEAD"):
                writer.write(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n")
                continue
            for piece in (
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
                chunked,
            ):
                for at in range(len(piece)):
                    writer.write(piece[at : at + 1])
                    await writer.drain()

    origin = Server(serve)
    async with net(origin) as world, world.passage() as client, client.connected() as (reader, writer):
        for path, end in (("a", chunked), ("none", b""), ("b", chunked)):
            writer.write(f"GET http://site.example/{path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            assert (b"Content-Length: 3" in head) is False
            assert await reader.readexactly(len(end)) == end
        assert origin.hits == 1
        assert (await client.get("http://site.example/close")).endswith(
            b"\r\nConnection: close\r\n\r\nto the end"
        )
        assert (await client.get("http://site.example/icy")).endswith(b"stream")


@pytest.mark.parametrize("framing", ["sized", "chunked"])
async def test_a_request_s_body_waits_for_its_go_ahead_and_arrives_whole(framing: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await origin.head(reader)
        assert b"Expect: 100-continue" in head
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        got.append(await reader.readexactly(len(body)))
        writer.write(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
        await reader.read()

    body = b"3\r\nabc\r\n0\r\n\r\n" if framing == "chunked" else b"x" * 200_000
    field = "Transfer-Encoding: chunked" if framing == "chunked" else f"Content-Length: {len(body)}"
    got: list[bytes] = []
    origin = Server(serve)
    async with net(origin) as world, world.passage() as client, client.connected() as (reader, writer):
        lines = ("POST http://site.example/ HTTP/1.1", "Host: x", "Expect: 100-continue", field, "", "")
        writer.write("\r\n".join(lines).encode())
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 Continue\r\n")
        writer.write(body)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 201 Created\r\n")
        assert got == [body]


async def test_what_follows_a_chunked_body_at_once_is_the_next_request() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await origin.head(reader):
            if b"chunked" in head:
                assert await reader.readexactly(13) == b"3\r\nabc\r\n0\r\n\r\n"
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    first = b"POST http://site.example/1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    second = b"GET http://site.example/2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    origin = Server(serve)
    async with net(origin) as world, world.passage() as client:
        got = await client.send(first + b"3\r\nabc\r\n0\r\n\r\n" + second)

    assert got.count(b"\r\n\r\nok") == 2
    assert [head.split()[1] for head in origin.heads] == [b"/1", b"/2"]


async def test_an_early_answer_ends_a_body_that_is_never_sent() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await origin.head(reader)
        writer.write(b"HTTP/1.1 413 Too large\r\nContent-Length: 2\r\n\r\nno")
        await reader.read()

    origin = Server(serve)
    async with net(origin) as world, world.passage() as client:
        answer = await client.send(
            b"POST http://site.example/ HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"
        )

        assert answer.startswith(b"HTTP/1.1 413 ")
        assert answer.endswith(b"no")


async def test_a_body_that_breaks_off_is_not_made_whole() -> None:
    origin = answering(b"short", "Content-Length: 100", "Connection: close")
    async with net(origin) as world, world.passage() as client:
        assert (await client.get("http://site.example/")).endswith(b"short")


async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        writer.write(b"x" * 65_536)
        await writer.drain()


@pytest.mark.parametrize("tunnel", [False, True])
async def test_the_budget_cuts_every_connection_at_once(tunnel: bool) -> None:
    async with net(Server(endless)) as world, world.passage(Allowance(bytes_max=2_000_000)) as client:
        request = b"GET http://site.example/ HTTP/1.1\r\nHost: x\r\n\r\n"
        if tunnel:
            request = b"CONNECT site.example:443 HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n"
        async with client.connected() as (idle, _), client.connected() as (other, writer):
            writer.write(b"CONNECT site.example:443 HTTP/1.1\r\n\r\n")  # asks for nothing, and is cut as well
            await other.readuntil(b"\r\n\r\n")
            got = await client.send(request)
            assert await other.read() == b""
            assert await idle.read() == b""
        after = await client.get("http://site.example/")

        assert len(got) <= 2_000_000 + 200
        assert client.passage.traffic.bytes_in <= 2_000_000 + 262_144 + 200
        assert after.startswith(b"HTTP/1.1 403 too_large\r\n")
        assert client.passage.refusal is not None
        assert (client.passage.refusal.code, client.passage.refusal.retryable) == ("too_large", False)


async def test_too_large_explains_more_than_an_earlier_refusal() -> None:
    async with net(Server(endless)) as world, world.passage(Allowance(bytes_max=100_000)) as client:
        await client.get("http://10.0.0.7/thumbnail.jpg")
        await client.get("http://site.example/")

        assert client.passage.refusal is not None
        assert client.passage.refusal.code == "too_large"


async def test_the_rate_holds_over_all_connections_together() -> None:
    loop = asyncio.get_running_loop()
    allowance = Allowance(2**40, bytes_per_sec=400_000)
    async with net(answering(b"x" * 100_000)) as world, world.passage(allowance) as client:
        began = loop.time()
        got = await asyncio.gather(*(client.get("http://site.example/") for _ in range(4)))
        took = loop.time() - began

    assert all(answer.endswith(b"x" * 1_000) for answer in got)
    assert 0.7 <= took <= 3  # 400,000 bytes and the heads, with a quarter of a second's credit


async def test_no_more_is_taken_from_a_site_than_a_worker_reads() -> None:
    loop = asyncio.get_running_loop()
    async with net(Server(endless)) as world, world.passage() as client:
        with socket.create_connection(("127.0.0.1", client.port)) as idle:
            idle.setblocking(False)
            await loop.sock_sendall(idle, b"GET http://site.example/ HTTP/1.1\r\nHost: x\r\n\r\n")
            async with client.connected() as (reader, writer):
                writer.write(b"GET http://site.example/ HTTP/1.1\r\nHost: x\r\n\r\n")
                await reader.readexactly(8_000_000)  # so there was time to bring the other one as much
        await client.passage.close()

        taken = min(notice.bytes_in for notice in world.notices if notice.what == "closed")
        assert 0 < taken < 1_000_000


async def test_no_more_connections_than_the_limit_are_served_and_the_rest_wait() -> None:
    async with net(Server(echo)) as world, world.passage() as client:
        async with asyncio.timeout(DEADLINE_SEC):
            opened = [
                await asyncio.open_connection("127.0.0.1", client.port) for _ in range(CONNECTIONS_MAX + 1)
            ]
            for _, writer in opened:
                writer.write(b"CONNECT site.example:443 HTTP/1.1\r\n\r\n")
            for reader, _ in opened[:-1]:
                await reader.readuntil(b"\r\n\r\n")
            assert world.origin.hits == CONNECTIONS_MAX
            opened[0][1].close()
            await opened[-1][0].readuntil(b"\r\n\r\n")
        for _, writer in opened:
            writer.close()


async def test_closing_ends_everything_and_may_be_repeated() -> None:
    async with (
        net(Server(endless)) as world,
        world.passage() as client,
        client.connected() as (reader, writer),
    ):
        writer.write(b"GET http://site.example/ HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readexactly(100_000)
        await client.passage.close()
        await client.passage.close()

        assert world.egress.passages == 0
        assert [notice.what for notice in world.notices] == ["connected", "closed"]
        assert world.notices[1].bytes_in == client.passage.traffic.bytes_in > 100_000
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", client.port)


async def test_five_hundred_passages_leave_nothing_behind() -> None:
    async def one(number: int) -> None:
        async with world.passage() as client, client.connected() as (reader, writer):
            writer.write(b"GET http://site.example/ HTTP/1.1\r\nHost: x\r\n\r\n")
            match number % 4:
                case 0:  # reads a little of an endless stream and goes
                    await reader.readexactly(100_000)
                case 1:  # never reads, is closed from our side while the proxy waits for room
                    writer.transport.pause_reading()  # type: ignore[attr-defined]  # of a socket's
                    await until_idle(client.passage)
                case 2:  # is cancelled as soon as it has asked
                    pass
                case _:  # a refusal
                    await client.get("http://127.0.0.1/")

    async with net(Server(endless)) as world:
        await one(0)
        before = counts()
        for number in range(500):
            await one(number)
        async with asyncio.timeout(DEADLINE_SEC):
            while any(now > then for now, then in zip(counts(), before, strict=True)):  # noqa: ASYNC110  # the origin's own ends have no event
                await asyncio.sleep(0.01)
        gc.collect()

        assert world.egress.passages == 0


async def until_idle(passage: object) -> None:
    """Wait until nothing comes in any more, because nobody takes it."""
    seen = -1
    while seen != passage.traffic.bytes_in or seen == 0:  # type: ignore[attr-defined]  # a passage's
        seen = passage.traffic.bytes_in  # type: ignore[attr-defined]
        await asyncio.sleep(0.005)


def counts() -> tuple[int, int]:
    """Descriptors and tasks."""
    return psutil.Process().num_fds(), len(asyncio.all_tasks())
