"""What every answer tells a browser, which names and origins are taken, and what came in clear."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog

from tests.api.door import door, headers
from tests.api.test_routes import body_of, name
from tests.api.world import PREFIX, World, is_problem
from umd.api.routes import ROUTES, Route
from umd.api.security_headers import HEADERS
from umd.api.server import MIDDLEWARES
from umd.domain import commands as c
from umd.settings import Settings

ORIGIN = "https://app.example.com"
PROXIED = {"X-Forwarded-Proto": "https", "X-Real-IP": "203.0.113.1"}


@pytest.fixture
async def shared(tmp_path: Path) -> AsyncIterator[World]:
    """A service that one page may use."""
    async with door(tmp_path, cors_origins=f"{ORIGIN},http://localhost:3000") as running:
        yield running


@pytest.fixture
async def proxied(tmp_path: Path) -> AsyncIterator[World]:
    """A service behind a proxy, for HTTPS only."""
    async with door(tmp_path, trusted_proxies="127.0.0.1/32", require_https=True) as running:
        yield running


def test_the_middlewares_stand_in_one_order() -> None:
    assert [middleware.__name__ for middleware in MIDDLEWARES] == [
        "request_id",
        "access_log",
        "problems",
        "versions",
        "peers",
        "hosts",
        "https",
        "cors",
        "authentication",
        "rate_limit",
        "authorization",
        "compression",
    ]


@pytest.mark.parametrize("route", ROUTES, ids=name)
async def test_t25_every_answer_has_the_headers(world: World, route: Route) -> None:
    job_id = await world.completed({"videos/a.mp4": b"1"})
    path = route.path.removeprefix(PREFIX).replace("{id}", job_id).replace("{path:.+}", "videos/a.mp4")
    sent = {"Content-Type": "application/json"}

    async with world.session.request(
        route.method, PREFIX + path, data=body_of(route), headers=sent
    ) as answer:
        found = answer.headers

    expected = {**HEADERS}
    if "/files/" in path:
        expected["Content-Security-Policy"] = "sandbox; default-src 'none'"
    assert {each: found[each] for each in expected} == expected
    assert "Strict-Transport-Security" not in found
    assert found["Server"] == "umd"


@pytest.mark.parametrize(
    "request_", [b"nonsense\r\n\r\n", b"GET /api/v1/nothing HTTP/1.1\r\nHost: localhost\r\n\r\n"]
)
async def test_t25_refusals_have_the_headers_too(world: World, request_: bytes) -> None:
    answer = await world.raw(request_)

    assert {each: answer.headers[each] for each in HEADERS} == dict(HEADERS)


@pytest.mark.parametrize("mime_type", ["text/html", "image/svg+xml", "application/xhtml+xml", "text/xml"])
async def test_t25_what_a_browser_would_run_comes_as_bytes(world: World, mime_type: str) -> None:
    file = world.store("videos/a.html", b"<script>alert(1)</script>", mime_type)
    job_id = await world.submit(path_template="videos/<b>.{ext}")
    await world.start(job_id)
    progress = world.jobs.require(job_id).job.progress
    assert progress is not None
    await world.execute(c.CompleteAttempt(job_id, 1, (file,), progress))
    answer = await world.get("/files/videos/a.html")

    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Content-Disposition"].startswith("attachment")


# --------------------------------------------------------------------------------------------------- CORS


@pytest.mark.parametrize("origin", [ORIGIN, "http://localhost:3000"])
async def test_t26_a_page_of_a_named_origin_may_read(shared: World, origin: str) -> None:
    answer = await shared.get("/download", Origin=origin, **headers("alice-read"))
    refused = await shared.get("/download", Origin=origin)
    asked = await shared.ask(
        "OPTIONS",
        "/download",
        headers={"Origin": origin, "Access-Control-Request-Method": "POST"},
    )

    for each in (answer, refused, asked):
        assert each.headers["Access-Control-Allow-Origin"] == origin
        assert "Access-Control-Allow-Credentials" not in each.headers
        assert "Origin" in each.headers.getall("Vary")  # type: ignore[attr-defined]  # a multidict
    assert (answer.status, refused.status, asked.status) == (200, 401, 204)
    assert asked.headers["Access-Control-Allow-Methods"] == "GET, HEAD, POST"
    assert "X-API-Key" in asked.headers["Access-Control-Allow-Headers"]
    assert "Retry-After" in answer.headers["Access-Control-Expose-Headers"]


async def test_t26_a_page_of_a_named_origin_may_follow(shared: World) -> None:
    async with shared.session.get(
        f"{PREFIX}/events", headers={"Origin": ORIGIN, **headers("bob-read")}
    ) as answer:
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "null",
        "*",
        "",
        f"{ORIGIN}.evil.example",
        f"https://evil-{ORIGIN[8:]}",
        "https://appXexample.com",
        "http://app.example.com",
        f"{ORIGIN}:444",
        ORIGIN.upper(),
        f"{ORIGIN}/",
        "http://localhost:3001",
    ],
)
async def test_t26_no_other_page_may(shared: World, origin: str) -> None:
    sent = {"Origin": origin, "Access-Control-Request-Method": "POST", **headers("alice-read")}
    for method in ("GET", "OPTIONS"):
        answer = await shared.ask(method, "/download", headers=sent)
        assert not [each for each in answer.headers if each.startswith("Access-Control")]


async def test_t26_by_default_no_page_may(world: World) -> None:
    answer = await world.ask(
        "OPTIONS", "/download", headers={"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}
    )

    assert is_problem(answer, "method_not_allowed", 405)
    assert not [each for each in answer.headers if each.startswith("Access-Control")]


# -------------------------------------------------------------------------------------------------- hosts


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8080", "127.0.0.1", "[::1]:1", "localhost."])
async def test_t27_one_s_own_service_answers_to_this_machine_s_names(world: World, host: str) -> None:
    assert (await world.get("/download", Host=host)).status == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.nip.io", "localhost.evil.example", "a b", "::1", ""]
)
async def test_t27_one_s_own_service_cannot_be_reached_by_another_name(world: World, host: str) -> None:
    """A page that lets its own name point to 127.0.0.1 would else read and do everything."""
    answer = await world.get("/download", Host=host)

    assert answer.status in (400, 421)
    assert (await world.get("/health/ready", Host=host)).status in (200, 400)


@pytest.mark.parametrize(
    ("settings", "host", "status"),
    [
        ({"allowed_hosts": "media.example.com, b.example"}, "media.example.com", 200),
        ({"allowed_hosts": "media.example.com, b.example"}, "b.example:443", 200),
        ({"allowed_hosts": "media.example.com"}, "example.com", 421),
        ({"allowed_hosts": "media.example.com"}, "x.media.example.com", 421),
        ({"public_base_url": "https://media.example.com:444/umd"}, "media.example.com", 200),
        ({"api_keys": "a:read:0123456789abcdef"}, "anything.example", 401),
    ],
)
async def test_t27_the_names_are_the_operator_s(
    tmp_path: Path, settings: dict[str, str], host: str, status: int
) -> None:
    async with door(tmp_path, **{"api_keys": "", **settings}) as world:
        assert (await world.get("/download", Host=host)).status == status


# -------------------------------------------------------------------------------------------------- HTTPS


async def test_what_came_over_https_is_told_to_stay_there(proxied: World) -> None:
    answer = await proxied.ask("GET", "/download", headers={**PROXIED, **headers("alice-read")})

    assert answer.status == 200
    assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"


async def test_what_came_in_clear_is_led_away_or_refused(proxied: World) -> None:
    clear = {**PROXIED, "X-Forwarded-Proto": "http", "Host": "umd.example"}
    led = await proxied.ask("GET", "/download?limit=1", headers=clear, allow_redirects=False)
    with_key = await proxied.ask("GET", "/download", headers={**clear, **headers("alice-read")})
    with_token = await proxied.ask("GET", "/events?token=x", headers=clear)
    written = await proxied.ask("POST", "/download", headers=clear)
    probe = await proxied.ask("GET", "/health/ready", headers=clear)

    assert (led.status, led.headers["Location"]) == (308, f"https://umd.example{PREFIX}/download?limit=1")
    assert "Strict-Transport-Security" not in led.headers
    for each in (with_key, with_token, written):
        assert is_problem(each, "forbidden", 403)
    assert probe.status == 200


@pytest.mark.parametrize("said", ["https", "HTTPS", "http, https"])
async def test_nobody_but_a_known_proxy_says_that_it_was_https(tmp_path: Path, said: str) -> None:
    async with door(tmp_path) as world:
        answer = await world.get("/health", X_Forwarded_Proto=said)

    assert "Strict-Transport-Security" not in answer.headers


async def test_the_last_proxy_s_word_counts(proxied: World) -> None:
    answer = await proxied.get(
        "/download", X_Forwarded_Proto="https, http", Host="umd.example", X_API_Key="x"
    )

    assert answer.status == 403


# -------------------------------------------------------------------------------------------- compression


async def test_long_json_is_compressed_and_nothing_else(world: World) -> None:
    for _ in range(5):
        await world.submit()
    await world.completed({"videos/a.txt": b"a" * 10_000})
    sent = {"Accept-Encoding": "gzip"}

    long = await world.ask("GET", "/download", headers=sent)
    head = await world.ask("HEAD", "/download", headers=sent)
    plain = await world.ask("GET", "/download", headers={"Accept-Encoding": "identity"})
    short = await world.ask("GET", "/health/live", headers=sent)
    media = await world.ask("GET", "/files/videos/a.txt", headers=sent)
    async with world.session.get(f"{PREFIX}/events", headers=sent) as stream:
        encoding = stream.headers.get("Content-Encoding")

    assert long.headers["Content-Encoding"] == "gzip"
    assert head.headers["Content-Length"] == long.headers["Content-Length"]
    assert int(long.headers["Content-Length"]) < len(long.body) == len(plain.body)
    assert [each.headers.get("Content-Encoding") for each in (plain, short, media)] == [None] * 3
    assert encoding is None
    assert "Accept-Encoding" in long.headers["Vary"]


# ---------------------------------------------------------------------------------------------------- log


@pytest.mark.parametrize(
    ("how", "address", "shown"),
    [
        ("none", "203.0.113.77", None),
        ("full", "203.0.113.77", "203.0.113.77"),
        ("truncated", "203.0.113.77", "203.0.113.0"),
        ("truncated", "2001:db8:1:2:3:4:5:6", "2001:db8:1::"),
    ],
)
async def test_the_log_shows_an_address_as_the_operator_wants(
    tmp_path: Path, how: str, address: str, shown: str | None
) -> None:
    async with door(tmp_path, log_addresses=how, trusted_proxies="127.0.0.1") as world:
        with structlog.testing.capture_logs() as lines:
            await world.get("/health", X_Real_IP=address)

    assert next(line for line in lines if line["event"] == "http.request").get("address") == shown


async def test_a_hashed_address_is_the_same_one_and_no_address(tmp_path: Path) -> None:
    async with door(tmp_path, log_addresses="hashed", trusted_proxies="127.0.0.1") as world:
        with structlog.testing.capture_logs() as lines:
            for address in ("203.0.113.77", "203.0.113.77", "203.0.113.78"):
                await world.get("/health", X_Real_IP=address)

    first, second, third = [line["address"] for line in lines if line["event"] == "http.request"]
    assert first == second != third
    assert "203" not in first


@pytest.mark.parametrize("path", ["/%0A%0Dinjected", "/%1B[31mred", "/x?a=%0Ainjected"])
async def test_t30_what_a_client_sends_does_not_get_into_the_log(world: World, path: str) -> None:
    with structlog.testing.capture_logs() as lines:
        await world.get(path)

    assert [line["route"] for line in lines if line["event"] == "http.request"] == ["unmatched"]
    assert "injected" not in str(lines)


async def test_t30_many_paths_are_few_routes(world: World) -> None:
    with structlog.testing.capture_logs() as lines:
        for number in range(500):
            await world.get(f"/download/{number}")
            await world.get(f"/{number}")

    assert len({line["route"] for line in lines if line["event"] == "http.request"}) == 2


def test_a_service_with_one_s_own_settings_is_private() -> None:
    assert Settings(host="localhost").on_loopback
    assert Settings(host="127.0.0.9").on_loopback
    assert Settings(host="::1").on_loopback
    assert not Settings(host="0.0.0.0").on_loopback  # noqa: S104
    assert not Settings(host="umd.example").on_loopback
