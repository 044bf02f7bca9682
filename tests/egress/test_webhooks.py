"""The connector of the webhooks reaches no inner address, however it is named."""

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address

import aiohttp
import pytest

from tests.egress.net import PUBLIC, Server, Table, answering
from umd.domain.addresses import Address
from umd.domain.destinations import Rules, rules_of
from umd.egress.webhooks import JudgingResolver, connector
from umd.errors import AddressNotAllowed, DomainNotAllowed
from umd.settings import Settings

CANARY = ip_address("127.0.0.1")
ALLOWED = rules_of(Settings(allow_addresses="127.0.0.0/8", blocked_domains="bad.example"))


@asynccontextmanager
async def session(rules: Rules, table: Table) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(connector=connector(rules, table)) as opened:
        yield opened


async def test_an_allowed_receiver_is_reached() -> None:
    table = Table()
    table.set("hooks.example", CANARY)
    async with answering().running() as server, session(ALLOWED, table) as http:
        for host in ("hooks.example", "127.0.0.1", "localhost"):
            async with http.post(f"http://{host}:{server.port}/", data=b"{}") as answer:
                assert await answer.read() == b"hello"


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "2130706433",
        "0x7f.1",
        "localhost",
        "inner.example",
        "mixed.example",
        "[::ffff:127.0.0.1]",
    ],
)
async def test_an_inner_receiver_is_not(host: str) -> None:
    table = Table()
    table.set("inner.example", CANARY)
    table.set("mixed.example", PUBLIC, CANARY)
    async with answering().running() as canary, session(Rules(), table) as http:
        # Some spellings aiohttp itself takes for no address at all.
        with pytest.raises((AddressNotAllowed, aiohttp.InvalidUrlClientError)):
            await http.post(f"http://{host}:{canary.port}/")

        assert canary.hits == 0


async def test_a_redirect_to_the_inside_ends_there_even_when_it_is_followed() -> None:
    table = Table()
    table.set("hooks.example", ip_address("127.0.0.2"))
    rules = rules_of(Settings(allow_addresses="127.0.0.2/32"))
    async with answering().running() as canary:
        to = f"Location: http://127.0.0.1:{canary.port}/"
        origin = Server(answering(b"", to, "Content-Length: 0", status="307 Temporary Redirect").serve)
        async with origin.running("127.0.0.2"), session(rules, table) as http:
            with pytest.raises(AddressNotAllowed):
                await http.post(f"http://hooks.example:{origin.port}/")

            assert (origin.hits, canary.hits) == (1, 0)


async def test_a_name_that_changes_its_mind_wins_nothing() -> None:
    table = Table()
    answers = itertools.cycle(((ip_address("127.0.0.2"),), (CANARY,)))
    table.answers["rebind.example"] = lambda: next(answers)
    rules = rules_of(Settings(allow_addresses="127.0.0.2/32"))
    async with answering().running() as canary, session(rules, table) as http:
        for _ in range(100):
            with pytest.raises((AddressNotAllowed, aiohttp.ClientConnectorError)):
                await http.post(f"http://rebind.example:{canary.port}/")

        assert canary.hits == 0


async def test_blocked_domains_and_closed_ports_are_refused() -> None:
    table = Table()
    table.set("x.bad.example", PUBLIC)
    table.set("hooks.example", PUBLIC)
    async with session(ALLOWED, table) as http:
        with pytest.raises(DomainNotAllowed):
            await http.post("http://x.bad.example/")
        with pytest.raises(AddressNotAllowed):
            await http.post("http://hooks.example:25/")
        with pytest.raises(AddressNotAllowed):
            await http.post(f"http://{PUBLIC}:6379/")


@pytest.mark.parametrize("addresses", [(PUBLIC, CANARY), (CANARY, PUBLIC)])
async def test_no_part_of_a_mixed_answer_is_given_to_the_connector(
    addresses: tuple[Address, Address],
) -> None:
    table = Table()
    table.set("mixed.example", *addresses)

    with pytest.raises(AddressNotAllowed):
        await JudgingResolver(Rules(), table).resolve("mixed.example", 443)
