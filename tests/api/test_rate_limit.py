"""How many requests are taken, of whom, and that nobody gets out of it."""

from pathlib import Path

import pytest
from aiohttp import ClientTimeout

from tests.api.door import Door, door, headers
from tests.api.world import PREFIX, World, is_problem
from umd.api.quotas import COUNTERS_MAX, Counters, Quotas
from umd.clock import SECOND
from umd.domain.access import new_key
from umd.settings import Settings


async def test_the_limit_of_a_key_is_told_and_held(tmp_path: Path) -> None:
    async with door(tmp_path, rate_limit="3/minute;100/hour") as world:
        answers = [await world.get("/download", **headers("alice-read")) for _ in range(4)]
        others = [await world.get("/download", **headers(who)) for who in ("alice-write", "bob-read")]
        world.clock.at += 60 * SECOND
        later = await world.get("/download", **headers("alice-read"))

    assert [answer.status for answer in answers] == [200, 200, 200, 429]
    assert answers[0].headers["RateLimit-Policy"] == '"3/minute";q=3;w=60, "100/hour";q=100;w=3600'
    assert answers[0].headers["RateLimit"] == '"3/minute";r=2;t=60, "100/hour";r=99;t=3600'
    assert answers[3].headers["RateLimit"] == '"3/minute";r=0;t=60, "100/hour";r=97;t=3600'
    assert is_problem(answers[3], "rate_limited", 429)
    assert answers[3].headers["Retry-After"] == str(answers[3].json["retry_after"]) == "60"
    assert [answer.status for answer in others] == [429, 200]
    assert later.status == 200


async def test_t20_keys_that_are_tried_out_count_for_the_address(tmp_path: Path) -> None:
    async with door(tmp_path, rate_limit_anonymous="5/minute") as world:
        statuses = [
            (await world.get("/download", X_API_Key=new_key(bytes([number]) * 32))).status
            for number in range(8)
        ]
        nothing = (await world.get("/download")).status
        good = (await world.get("/download", **headers("alice-read"))).status
        probe = (await world.get("/health/ready")).status

    assert statuses == [401] * 5 + [429] * 3
    assert (nothing, good, probe) == (429, 200, 200)


@pytest.mark.parametrize(
    ("query", "status"), [("signature=x", 403), ("signature=x&more=1", 400), ("signature=x&signature=y", 400)]
)
async def test_t20_links_that_are_tried_out_count_for_the_address(
    tmp_path: Path, query: str, status: int
) -> None:
    async with door(tmp_path, rate_limit_anonymous="2/minute") as world:
        statuses = [(await world.get(f"/files/videos/a.mp4?{query}")).status for _ in range(3)]

    assert statuses == [status, status, 429]


async def test_t20_a_forwarded_address_of_nobody_known_changes_nothing(tmp_path: Path) -> None:
    async with door(tmp_path, rate_limit_anonymous="5/minute") as world:
        statuses = [
            (
                await world.get(
                    "/download",
                    X_Forwarded_For=f"203.0.113.{number}",
                    X_Real_IP=f"203.0.113.{number}",
                    Forwarded=f"for=203.0.113.{number}",
                )
            ).status
            for number in range(8)
        ]

    assert statuses == [401] * 5 + [429] * 3


@pytest.mark.parametrize(
    "sent",
    [
        [{"X-Real-IP": "203.0.113.1", "X-Forwarded-For": f"{number}.1.1.1"} for number in range(3)],
        [{"X-Forwarded-For": f"{number}.1.1.1, 203.0.113.1"} for number in range(3)],
        [{"X-Forwarded-For": f"{number}.1.1.1, 203.0.113.1, 127.0.0.9"} for number in range(3)],
        [{"X-Real-IP": f"2001:db8:1:2:{number}::1"} for number in range(3)],
        [{"X-Real-IP": address} for address in ("203.0.113.1", "::ffff:203.0.113.1", " 203.0.113.1")],
        [{"X-Real-IP": text} for text in ("", "nonsense", "1.2.3.4.5")],
    ],
)
async def test_t20_what_a_known_proxy_says_counts_for_the_client(
    tmp_path: Path, sent: list[dict[str, str]]
) -> None:
    async with door(tmp_path, rate_limit_anonymous="2/minute", trusted_proxies="127.0.0.0/8") as world:
        same = [(await world.ask("GET", "/download", headers=each)).status for each in sent]
        other = (await world.get("/download", X_Real_IP="198.51.100.7")).status
        neighbour = (await world.get("/download", X_Real_IP="2001:db8:1:3::1")).status

    assert same == [401, 401, 429]
    assert (other, neighbour) == (401, 401)


async def test_links_count_by_address_as_much_as_a_key(tmp_path: Path) -> None:
    async with door(tmp_path, rate_limit="20/minute", rate_limit_anonymous="1/minute") as world:
        assert isinstance(world, Door)
        job_id = await world.job_of("alice-write")
        await world.complete(job_id)
        url = (await world.by("alice-read", "GET", f"/download/{job_id}")).json["file_info"]["file_url"]
        statuses = [(await world.get(url.partition(PREFIX)[2])).status for _ in range(21)]

    assert statuses == [200] * 20 + [429]


@pytest.mark.parametrize("path", ["/nothing", "/download"])
async def test_what_is_refused_is_counted_too(tmp_path: Path, path: str) -> None:
    async with door(tmp_path, rate_limit_anonymous="2/minute") as world:
        statuses = [(await world.ask("PUT", path)).status for _ in range(3)]

    assert statuses[2] == 429


async def test_a_service_that_is_one_s_own_does_not_count(tmp_path: Path) -> None:
    async with World(tmp_path, settings=Settings(port=0)).running() as world:
        assert {(await world.get("/download")).status for _ in range(101)} == {200}
        assert "RateLimit" not in (await world.get("/download")).headers


async def test_a_limit_that_was_asked_for_holds_for_one_s_own_service_too(tmp_path: Path) -> None:
    settings = Settings(port=0, rate_limit_anonymous="2/minute")
    async with World(tmp_path, settings=settings).running() as world:
        assert [(await world.get("/download")).status for _ in range(3)] == [200, 200, 429]


def test_t20_the_table_of_addresses_is_bounded_and_keeps_those_that_come_again(tmp_path: Path) -> None:
    clock = World(tmp_path).clock
    counters = Counters(clock, counters_max=100)
    for number in range(10_000):
        counters.incr("again", 3_600)
        counters.incr(str(number), 3_600)

    assert len(counters) == 100
    assert counters.get("again") == 10_000
    assert COUNTERS_MAX == 50_000


def test_t20_addresses_cannot_crowd_keys_out(tmp_path: Path) -> None:
    quotas = Quotas(World(tmp_path).clock, "1/hour", "1/hour")
    assert quotas.of_key("a").retry_sec is None
    for number in range(COUNTERS_MAX + 10):
        quotas.of_address(str(number))

    assert quotas.of_key("a").retry_sec == 3_600


async def test_t16_the_streams_of_a_key_are_limited(tmp_path: Path) -> None:
    async with door(tmp_path, sse_max_per_caller=2) as world:
        streams = [
            await world.session.get(f"{PREFIX}/events", headers=headers("alice-read")) for _ in range(2)
        ]
        third = await world.get("/events", **headers("alice-write"))
        async with world.session.get(f"{PREFIX}/events", headers=headers("bob-read")) as other:
            assert other.status == 200
        assert is_problem(third, "rate_limited", 429)
        assert third.headers["Retry-After"] == "10"
        streams[0].close()
        while world.hub.subscribers > 1:
            await world.get("/health/live")
        async with world.session.get(
            f"{PREFIX}/events", headers=headers("alice-read"), timeout=ClientTimeout(5)
        ) as again:
            assert again.status == 200
        streams[1].close()
