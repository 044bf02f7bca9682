"""The way out: bytes through one connection with and without the proxy, and what the first byte costs.

`python -m scripts.bench.egress`. The origin and the client are processes of their own; the proxy runs here,
on an event loop as in the service. Everything is on loopback.
"""

import asyncio
import multiprocessing
import resource
import socket
import statistics
import time
from ipaddress import ip_network
from multiprocessing.connection import Connection

from umd.domain.destinations import Rules
from umd.egress.passage import Allowance
from umd.egress.proxy import Egress
from umd.egress.resolver import SystemResolver

BYTES = 2 * 2**30
FIRST_BYTES = 200
ROUNDS = 3
PIECE = b"\0" * 2**20


def origin(port: Connection) -> None:
    """Answers each request with as many bytes as its path says, on a connection of its own."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        port.send(listener.getsockname()[1])
        while True:
            connection, _ = listener.accept()
            with connection:
                head = connection.recv(65_536)
                left = int(head.split(b" ")[1].rsplit(b"/", 1)[-1])
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % left)
                while left:
                    left -= connection.send(PIECE[:left])


def client(results: Connection, proxy: int, site: int) -> None:
    """Measures each way, in turns."""
    ways = {"direct": _direct, "CONNECT": _tunnel, "plain HTTP": _plain}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            results.send((name, "rate", _rate(way, proxy, site)))
    for _ in range(FIRST_BYTES):
        for name, way in ways.items():
            results.send((name, "first", _first(way, proxy, site)))
    results.send(None)


def _direct(_proxy: int, site: int, count: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", site))
    connection.sendall(b"GET /%d HTTP/1.1\r\n\r\n" % count)
    return connection


def _tunnel(proxy: int, site: int, count: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", proxy))
    connection.sendall(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\n\r\n" % site)
    assert connection.recv(4_096).startswith(b"HTTP/1.1 200")
    connection.sendall(b"GET /%d HTTP/1.1\r\n\r\n" % count)
    return connection


def _plain(proxy: int, site: int, count: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", proxy))
    connection.sendall(b"GET http://127.0.0.1:%d/%d HTTP/1.1\r\nConnection: close\r\n\r\n" % (site, count))
    return connection


def _rate(way: object, proxy: int, site: int) -> float:
    into = bytearray(2**20)
    began = time.perf_counter()
    with way(proxy, site, BYTES) as connection:  # type: ignore[operator]  # one of the above
        got = 0
        while count := connection.recv_into(into):
            got += count
    assert got > BYTES
    return got / (time.perf_counter() - began) / 1e6


def _first(way: object, proxy: int, site: int) -> float:
    began = time.perf_counter()
    with way(proxy, site, 1) as connection:  # type: ignore[operator]  # one of the above
        connection.recv(1)
        took = (time.perf_counter() - began) * 1e3
        while connection.recv(4_096):
            pass
        return took


async def measure() -> None:
    context = multiprocessing.get_context("spawn")
    told, tell = context.Pipe(duplex=False)
    serving = context.Process(target=origin, args=(tell,), daemon=True)
    serving.start()
    site = await asyncio.to_thread(told.recv)
    resolver = SystemResolver()
    egress = Egress(Rules(allowed_networks=(ip_network("127.0.0.0/8"),)), resolver)
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    proxy = listener.getsockname()[1]
    passage = await egress.admit(listener, Allowance(2**60))
    results, report = context.Pipe(duplex=False)
    measuring = context.Process(target=client, args=(report, proxy, site), daemon=True)
    cpu = _cpu()
    measuring.start()
    figures: dict[tuple[str, str], list[float]] = {}
    while (found := await asyncio.to_thread(results.recv)) is not None:
        figures.setdefault((found[0], found[1]), []).append(found[2])
    spent = _cpu() - cpu
    await egress.stop()
    resolver.stop()
    serving.terminate()
    for (name, what), values in figures.items():
        middle = statistics.median(values)
        if what == "rate":
            print(f"{name:12} {middle:8,.0f} MB/s   (each: {', '.join(f'{value:,.0f}' for value in values)})")
        else:
            late = sorted(values)[int(len(values) * 0.95)]
            print(f"{name:12} first byte after {middle:.2f} ms, p95 {late:.2f} ms")
    print(f"the proxy's processor time: {spent / (passage.traffic.bytes_in / 2**20) * 1e3:.2f} ms a MiB")


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    asyncio.run(measure())
