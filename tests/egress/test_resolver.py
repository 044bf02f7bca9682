"""Looking names up with the system's resolver, within bounds."""

import asyncio
import threading
from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from umd.domain.destinations import Rules
from umd.egress import resolver
from umd.egress.http import Target
from umd.egress.proxy import Egress
from umd.egress.resolver import LOOKUPS_EACH, LOOKUPS_MAX, Found, SystemResolver
from umd.errors import AddressNotAllowed


async def test_the_system_s_names_are_found() -> None:
    system = SystemResolver()

    found = await system.resolve("localhost", asyncio.Semaphore())

    assert set(found) <= {ip_address("127.0.0.1"), ip_address("::1")}
    assert len(set(found)) == len(found) > 0
    system.stop()


@pytest.mark.parametrize("name", ["no-such-name.invalid", "a" * 70 + ".example", "..", "xn--\udcff"])
async def test_a_name_that_cannot_be_found_is_an_os_error(name: str) -> None:
    system = SystemResolver()

    with pytest.raises(OSError):  # noqa: PT011  # whatever the system calls it
        await system.resolve(name, asyncio.Semaphore())
    system.stop()


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Names that begin with `hang` are looked up until the end of the test; these are under way."""

    def look_up(host: str) -> Found:
        if not host.startswith("hang"):
            return real(host)
        running.append(host)
        over.wait(10)
        return []

    running: list[str] = []
    over = threading.Event()
    real = resolver._look_up
    monkeypatch.setattr(resolver, "_look_up", look_up)
    monkeypatch.setattr(resolver, "LOOKUP_SEC", 0.2)
    yield running
    over.set()


async def test_a_resolver_that_hangs_is_left_and_takes_no_more_threads(hanging: list[str]) -> None:
    system, share = SystemResolver(), asyncio.Semaphore(100)

    asked = (system.resolve(f"hang-{n}", share) for n in range(40))
    found = await asyncio.gather(*asked, return_exceptions=True)

    assert all(isinstance(error, TimeoutError) for error in found)
    assert len(hanging) == LOOKUPS_MAX
    system.stop()


async def test_who_asks_for_names_that_hang_leaves_threads_to_others(hanging: list[str]) -> None:
    system = SystemResolver()
    hostile, other = (Egress(Rules(), system).route() for _ in range(2))

    for _ in range(3):  # and still has its share when nobody waits for those any more
        asked = (hostile.open(Target(f"hang-{n}.example", 80)) for n in range(20))
        await asyncio.gather(*asked, return_exceptions=True)
    with pytest.raises(AddressNotAllowed):
        await other.open(Target("localhost", 80))

    assert len(hanging) == LOOKUPS_EACH
    system.stop()


async def test_a_share_is_given_back(hanging: list[str]) -> None:
    system, share = SystemResolver(), asyncio.Semaphore(1)

    for _ in range(3):
        await system.resolve("localhost", share)

    assert hanging == []
    system.stop()
