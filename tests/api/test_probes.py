"""The probes over HTTP: what is asked, what is refused, and how an answer is marked."""

import asyncio
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.api.world import COOKIE_KEY, JAR, URL, World, is_problem, until
from umd.clock import SECOND
from umd.domain.faults import KINDS, fault
from umd.settings import Settings

PATHS = ("/formats", "/metadata", "/playlist/preview", "/channel/info")


def ask(path: str, url: str = URL, **query: object) -> str:
    return f"{path}?{urlencode({'url': url, **query})}"


@pytest.mark.parametrize(
    ("path", "query", "named"),
    [
        *((path, {"url": "file:///etc/passwd"}, "url") for path in PATHS),
        ("/formats", {"url": "https://example.com/#__youtubedl_smuggle=%7B%7D"}, "url"),
        ("/formats", {"url": "https://u:p@example.com/"}, "url"),
        ("/formats", {"url": ""}, "url"),
        ("/formats", {"url": f"https://example.com/{'x' * 2_048}"}, "url"),
        ("/formats", {"raw": "true"}, "raw"),
        ("/metadata", {"raw": "perhaps"}, "raw"),
        ("/metadata", {"cookies_id": ""}, "cookies_id"),
        ("/playlist/preview", {"page": 0}, "page"),
        ("/playlist/preview", {"page": "two"}, "page"),
        ("/playlist/preview", {"page_size": 101}, "page_size"),
        ("/playlist/preview", {"sort_by": "title"}, "sort_by"),
        ("/channel/info", {"date_after": "2026-01-01"}, "date_after"),
        ("/channel/info", {"date_before": "20260230"}, "date_before"),
        ("/channel/info", {"min_duration": -1}, "min_duration"),
        ("/channel/info", {"min_views": 2, "max_views": 1}, "max_views"),
        ("/channel/info", {"sort_by": "luck"}, "sort_by"),
        ("/channel/info", {"sort_order": "up"}, "sort_order"),
    ],
)
async def test_a_bad_parameter_is_named_and_no_site_is_asked(
    world: World, path: str, query: dict[str, object], named: str
) -> None:
    answer = await world.get(f"{path}?{urlencode({'url': URL, **query})}")

    assert is_problem(answer, "invalid_query", 400)
    assert answer.json["detail"].startswith(f"{named}: ")
    assert world.prober.asked == []


@pytest.mark.parametrize("path", PATHS)
async def test_a_place_that_may_not_be_asked_is_refused_at_the_door(tmp_path: Path, path: str) -> None:
    settings = Settings(port=0, blocked_domains="bad.example.com")
    async with World(tmp_path, settings).running() as world:
        inner = await world.get(ask(path, "http://169.254.169.254/latest/"))
        blocked = await world.get(ask(path, "https://bad.example.com/"))

        assert is_problem(inner, "address_not_allowed", 403)
        assert is_problem(blocked, "domain_not_allowed", 403)
        assert world.prober.asked == []


@pytest.mark.parametrize("code", sorted(KINDS))
async def test_why_a_site_does_not_tell_is_a_problem_with_its_code(world: World, code: str) -> None:
    world.prober.error = fault(code, "Because.", retry_after_sec=77)
    answer = await world.get(ask("/metadata"))
    statuses = {
        "address_not_allowed": 403,
        "domain_not_allowed": 403,
        "cookies_not_found": 404,
        "upstream_error": 502,
        "storage_full": 507,
    }

    assert is_problem(answer, code, statuses.get(code, 422))
    assert (answer.json["detail"], answer.json["hint"]) == ("Because.", KINDS[code].hint)
    assert answer.json["retryable"] is KINDS[code].retryable
    assert (answer.json["retry_after"], answer.headers["Retry-After"]) == (77, "77")


@pytest.mark.parametrize("path", PATHS)
async def test_a_jar_is_its_owners_and_so_is_what_it_shows(tmp_path: Path, path: str) -> None:
    keys = "ann:write:ann-key-0123456789abcdef,bob:write:bob-key-0123456789abcdef"
    settings = Settings(port=0, cookie_key=COOKIE_KEY, api_keys=keys)
    ann, bob = ({"X_API_Key": f"{name}-key-0123456789abcdef"} for name in ("ann", "bob"))
    async with World(tmp_path, settings).running() as world:
        body = {"name": "mine", "cookies": JAR}
        jar = (await world.post(body, "/auth/cookies", **ann)).json["cookie_id"]
        mine = await world.get(ask(path, cookies_id=jar), **ann)
        again = await world.get(ask(path, cookies_id=jar), **ann)
        without = await world.get(ask(path), **ann)
        foreign = await world.get(ask(path, cookies_id=jar), **bob)
        await world.ask("DELETE", f"/auth/cookies/{jar}", headers={"X-API-Key": ann["X_API_Key"]})
        deleted = await world.get(ask(path, cookies_id=jar), **ann)

        assert (mine.status, again.status, without.status) == (200, 200, 200)
        assert len(world.prober.asked) == 2, "what is seen with a jar is not what is seen without"
        assert is_problem(foreign, "cookies_not_found", 404)
        assert is_problem(deleted, "cookies_not_found", 404)


async def test_a_page_and_its_neighbours(world: World) -> None:
    first, last, beyond = [
        (await world.get(ask("/playlist/preview", page=page, page_size=100))).json for page in (1, 3, 4)
    ]

    assert (first["has_previous"], first["has_next"], len(first["items"])) == (False, True, 100)
    assert (last["has_previous"], last["has_next"], len(last["items"])) == (True, False, 50)
    assert (last["total_items"], last["total_pages"], last["items"][-1]["playlist_index"]) == (250, 3, 250)
    assert (beyond["items"], beyond["has_next"], beyond["has_previous"]) == ([], False, True)


async def test_totals_are_unknown_as_long_as_nobody_knows_them(world: World) -> None:
    world.prober.gate.clear()
    early = (await world.get(ask("/playlist/preview"))).json

    assert (early["total_items"], early["total_pages"], early["has_next"]) == (None, None, True)


async def test_an_answer_tells_its_age_and_when_the_site_was_asked(world: World) -> None:
    fresh = await world.get(ask("/metadata"))
    world.clock.at += 42 * SECOND
    kept = await world.get(ask("/metadata"))

    assert (fresh.headers["Age"], kept.headers["Age"]) == ("0", "42")
    assert fresh.json == kept.json
    assert kept.headers["Cache-Control"] == "no-store"


async def test_the_metrics_tell_what_was_asked_and_what_was_known(world: World) -> None:
    await world.get(ask("/metadata"))
    await world.get(ask("/metadata"))
    await world.get(ask("/formats"))
    world.prober.error = fault("private", "Because.")
    await world.get(ask("/formats", "https://example.com/private"))
    shown = (await world.get("/metrics")).body.decode().splitlines()

    assert 'umd_probe_requests_total{source="site"} 2.0' in shown
    assert 'umd_probe_requests_total{source="shared"} 0.0' in shown
    assert 'umd_probe_requests_total{source="kept"} 2.0' in shown
    assert 'umd_probe_readings_total{outcome="whole"} 1.0' in shown
    assert 'umd_probe_readings_total{outcome="refused"} 1.0' in shown
    assert "umd_probe_reading_seconds_count 2.0" in shown
    assert "umd_probes_in_flight 0.0" in shown


async def test_too_many_questions_are_told_when_to_come_again(tmp_path: Path) -> None:
    async with World(tmp_path, Settings(port=0, probes_max=1)).running() as world:
        world.prober.gate.clear()
        urls = [f"https://example.com/{number}" for number in range(33)]
        asking = [asyncio.create_task(world.get(ask("/formats", url))) for url in urls]
        await until(lambda: len(world.probes._tasks) == 33)
        refused = await world.get(ask("/formats"))
        world.prober.gate.set()
        answers = await asyncio.gather(*asking)

        assert is_problem(refused, "queue_full", 503)
        assert int(refused.headers["Retry-After"]) > 0
        assert {answer.status for answer in answers} == {200}
        assert world.prober.most_at_work == 1


async def test_a_client_that_goes_away_leaves_the_others_their_answer(world: World) -> None:
    world.prober.gate.clear()
    gone = asyncio.create_task(world.get(ask("/formats")))
    stays = asyncio.create_task(world.get(ask("/formats")))
    await until(lambda: any(one.waiting == 2 for one in world.probes._under_way.values()))
    gone.cancel()
    await until(lambda: any(one.waiting == 1 for one in world.probes._under_way.values()))
    world.prober.gate.set()

    assert (await stays).status == 200
    assert world.prober.asked == [URL]
