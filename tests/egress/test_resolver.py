"""Looking names up with the system's resolver, within bounds."""

import asyncio
import threading
from ipaddress import ip_address

import pytest

from umd.egress import resolver
from umd.egress.resolver import LOOKUPS_MAX, SystemResolver


async def test_the_system_s_names_are_found() -> None:
    system = SystemResolver()

    found = await system.resolve("localhost")

    assert set(found) <= {ip_address("127.0.0.1"), ip_address("::1")}
    assert len(set(found)) == len(found) > 0
    system.stop()


@pytest.mark.parametrize("name", ["no-such-name.invalid", "a" * 70 + ".example", "..", "xn--\udcff"])
async def test_a_name_that_cannot_be_found_is_an_os_error(name: str) -> None:
    system = SystemResolver()

    with pytest.raises(OSError):  # noqa: PT011  # whatever the system calls it
        await system.resolve(name)
    system.stop()


async def test_a_resolver_that_hangs_is_left_and_takes_no_more_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def hang(host: str) -> list[object]:
        running.append(host)
        over.wait(10)
        return []

    running: list[str] = []
    over = threading.Event()
    monkeypatch.setattr(resolver, "_look_up", hang)
    monkeypatch.setattr(resolver, "LOOKUP_SEC", 0.2)
    system = SystemResolver()

    found = await asyncio.gather(*(system.resolve(str(n)) for n in range(40)), return_exceptions=True)

    assert all(isinstance(error, TimeoutError) for error in found)
    assert len(running) == LOOKUPS_MAX
    over.set()
    system.stop()
