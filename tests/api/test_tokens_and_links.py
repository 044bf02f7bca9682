"""What opens a stream or a file without a key: one thing, for a short time, and in no log."""

import hashlib
import random  # noqa: TID251  # seeded
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import structlog

from tests.api.door import Door, door, headers
from tests.api.world import PREFIX, HandClock, is_problem
from umd.api.file_links import FileLinks, LinkQuery
from umd.api.stream_tokens import TOKENS_MAX, StreamTokens
from umd.clock import SECOND
from umd.domain import commands as c
from umd.domain.access import Caller
from umd.errors import Overloaded
from umd.storage import secret

DATA = b"0123456789"


@pytest.fixture
async def locked(tmp_path: Path) -> AsyncIterator[Door]:
    async with door(tmp_path) as running:
        assert isinstance(running, Door)
        yield running


async def token(world: Door, who: str, path: str) -> str:
    answer = await world.post({"path": path}, path="/auth/token", **headers(who))
    assert answer.status == 201, answer.body
    assert answer.json["expires_at"] == "2023-11-14T22:14:20.000Z"
    made: str = answer.json["token"]
    return made


async def opened(world: Door, path: str, token: str, **sent: str) -> int:
    async with world.session.get(f"{PREFIX}{path}?token={token}", headers=sent) as answer:
        return answer.status


async def link(world: Door, path: str = "videos/a.mp4") -> str:
    """The signed link to a file of alice's, below the prefix."""
    job_id = await world.job_of("alice-write")
    await world.complete(job_id, {path: DATA})
    url: str = (await world.by("alice-read", "GET", f"/download/{job_id}")).json["file_info"]["file_url"]
    return url.partition(PREFIX)[2]


# ------------------------------------------------------------------------------------------------- tokens


@pytest.mark.parametrize("form", ["{prefix}{path}", "http://127.0.0.1:1{prefix}{path}"])
async def test_t18_a_token_opens_its_stream_once(locked: Door, form: str) -> None:
    path = f"/download/{await locked.job_of('alice-write')}/events"
    made = await token(locked, "alice-read", form.format(prefix=PREFIX, path=path))

    assert await opened(locked, path, made) == 200
    assert await opened(locked, path, made) == 401


async def test_t18_a_token_opens_nothing_else(locked: Door) -> None:
    job_id, other = [await locked.job_of("alice-write") for _ in range(2)]
    made = await token(locked, "alice-read", f"{PREFIX}/download/{job_id}/events")

    assert await opened(locked, f"/download/{other}/events", made) == 401
    assert await opened(locked, "/events", made) == 401
    assert (await locked.get(f"/download/{job_id}?token={made}")).status == 401
    assert (await locked.get("/download", X_API_Key=made)).status == 401
    assert await opened(locked, f"/download/{job_id}/events", made) == 200


async def test_t18_a_token_lasts_for_a_minute(locked: Door) -> None:
    made = await token(locked, "alice-read", f"{PREFIX}/events")
    locked.clock.at += 60 * SECOND

    assert await opened(locked, "/events", made) == 401
    await token_count_after_another(locked)


async def token_count_after_another(world: Door) -> None:
    world.clock.at -= 60 * SECOND
    await token(world, "alice-read", f"{PREFIX}/events")
    world.clock.at += 120 * SECOND
    await world.post({}, path="/auth/token", **headers("alice-read"))
    assert len(world.gate.tokens) == 1


async def test_t18_a_token_shows_what_its_caller_may_see(locked: Door) -> None:
    path = f"/download/{await locked.job_of('alice-write')}/events"

    assert await opened(locked, path, await token(locked, "bob-write", f"{PREFIX}{path}")) == 404
    assert await opened(locked, path, await token(locked, "bob-admin", f"{PREFIX}{path}")) == 200


@pytest.mark.parametrize(
    "path", ["/", "", "http://[", f"{PREFIX}/log", f"{PREFIX}/download", "/api/v1/events/", "x" * 2_049]
)
async def test_t18_there_are_tokens_for_streams_only(locked: Door, path: str) -> None:
    answer = await locked.post({"path": path}, path="/auth/token", **headers("alice-admin"))

    assert is_problem(answer, "validation_error", 422)


@pytest.mark.parametrize("made", ["", "x", "é", "x" * 5_000])
async def test_t18_what_is_no_token_opens_nothing(locked: Door, made: str) -> None:
    assert await opened(locked, "/events", made) == 401
    assert await opened(locked, "/events", made, **headers("alice-read")) == 200


async def test_t18_a_caller_has_no_more_tokens_than_it_may_have_streams(tmp_path: Path) -> None:
    async with door(tmp_path, sse_max_per_caller=3) as world:
        assert isinstance(world, Door)
        path = f"{PREFIX}/events"
        others = await token(world, "bob-read", path)
        first, *rest = [await token(world, "alice-read", path) for _ in range(4)]

        assert await opened(world, "/events", first) == 401, "its own oldest has gone"
        for made in (*rest, others):
            assert await opened(world, "/events", made) == 200


async def test_t18_an_address_that_asks_for_tokens_takes_none_from_others(tmp_path: Path) -> None:
    settings = {"require_api_key": False, "trusted_proxies": "127.0.0.1/32", "sse_max_per_caller": 2}
    async with door(tmp_path, **settings) as world:
        assert isinstance(world, Door)

        async def ask(address: str) -> str:
            answer = await world.post({}, path="/auth/token", X_Real_IP=address)
            assert answer.status == 201, answer.body
            return str(answer.json["token"])

        neighbours = await ask("203.0.113.1")
        floods = [await ask("203.0.113.2") for _ in range(5)]

        assert await opened(world, "/events", neighbours) == 200
        assert [await opened(world, "/events", made) for made in floods] == [401, 401, 401, 200, 200]


def test_t18_addresses_cannot_keep_those_with_a_key_from_their_tokens() -> None:
    clock = HandClock()
    tokens = StreamTokens(clock, 60, 100)
    nobody, alice = Caller("anonymous", "read"), Caller("alice", "read", verified=True)

    for number in range(TOKENS_MAX):
        tokens.issue("/events", nobody, f"address:{number}")
    with pytest.raises(Overloaded):
        tokens.issue("/events", nobody, "address:late")
    made, _ = tokens.issue("/events", alice, "key:alice")
    assert tokens.redeem(made, "/events") == alice
    clock.at += 60 * SECOND
    tokens.issue("/events", nobody, "address:late")

    assert len(tokens) == 1


def test_t18_no_caller_is_remembered_without_a_token() -> None:
    clock = HandClock()
    tokens = StreamTokens(clock, 60, 2)
    for number in range(1_000):
        made, _ = tokens.issue("/events", Caller("anonymous", "read"), f"address:{number}")
        assert tokens.redeem(made, "/events") is not None

    assert (len(tokens), len(tokens._held)) == (0, 0)


# -------------------------------------------------------------------------------------------------- links


async def test_a_link_works_without_a_key_and_in_parts(locked: Door) -> None:
    path = await link(locked)

    whole, part = await locked.get(path), await locked.get(path, Range="bytes=2-4")

    assert (whole.status, whole.body) == (200, DATA)
    assert (part.status, part.body) == (206, DATA[2:5])
    assert (await locked.ask("HEAD", path)).status == 200
    assert (await locked.ask("DELETE", path)).status == 405
    assert (await locked.get(path.partition("?")[0])).status == 401


async def test_t24_a_link_ends_after_an_hour(locked: Door) -> None:
    path = await link(locked)
    locked.clock.at += 3_500 * SECOND
    assert (await locked.get(path)).status == 200
    locked.clock.at += 100 * SECOND

    assert is_problem(await locked.get(path), "link_expired", 403)
    assert (await locked.by("alice-read", "GET", path)).status == 200


async def test_t24_a_link_that_was_changed_in_any_part_is_refused(locked: Door) -> None:
    path = await link(locked)
    await link(locked, "videos/b.mp4")
    address, _, query = path.partition("?")
    fields = {name: values[0] for name, values in parse_qs(query).items()}
    changed = [
        f"/files/videos/b.mp4?{query}",
        f"/files/videos/c.mp4?{query}",
        *(
            f"{address}?{urlencode({**fields, **change})}"
            for change in (
                {"expires": str(int(fields["expires"]) + 1)},
                {"expires": "9" * 12},
                {"expires": "9" * 5_000},
                {"expires": ""},
                {"expires": "-1"},
                {"expires": f"{fields['expires']}\n"},
                {"key": "00000000"},
                {"key": ""},
                {"signature": ""},
                {"signature": fields["signature"][:-1]},
                {"signature": f"{fields['signature']}0"},
                {"signature": fields["signature"].upper()},
                {"signature": "é" * 64},
                {"signature": hashlib.sha256(address.encode()).hexdigest()},
            )
        ),
    ]

    for each in changed:
        assert is_problem(await locked.get(each), "forbidden", 403), each
    assert (await locked.get(path)).status == 200
    assert is_problem(await locked.get(f"{path}&more=1"), "invalid_query", 400)


async def test_t24_a_link_is_for_the_file_of_one_job(locked: Door) -> None:
    path = await link(locked)
    first = next(iter(locked.jobs.page(limit=1).entries)).job
    await locked.execute(c.RecordFilesDeleted(first.job_id, "retention"))
    assert is_problem(await locked.get(path), "file_expired", 410)

    other = await locked.job_of("bob-write")
    await locked.complete(other, {"videos/a.mp4": b"bob's"})

    assert is_problem(await locked.get(path), "forbidden", 403)


async def test_t24_a_link_that_is_not_valid_is_refused_by_an_open_service_too(tmp_path: Path) -> None:
    async with door(tmp_path, api_keys="") as world:
        job_id = await world.completed({"videos/a.mp4": DATA})
        url = (await world.get(f"/download/{job_id}")).json["file_info"]["file_url"]
        path = url.partition(PREFIX)[2]

        assert (await world.get(path)).status == 200
        assert is_problem(await world.get(f"{path}0"), "forbidden", 403)
        assert (await world.get(path.partition("?")[0])).status == 200


def test_t24_no_random_change_of_a_link_is_taken() -> None:
    links = FileLinks([b"a" * 32], 3_600)
    now = 1_700_000_000 * SECOND
    query = {
        name: value[0] for name, value in parse_qs(urlsplit(links.url("", "a.mp4", "1", now)).query).items()
    }
    dice = random.Random(24)
    names = list(query)
    for _ in range(100_000):
        name = dice.choice(names)
        at = dice.randrange(len(query[name]))
        character = dice.choice("0123456789abcdef")
        changed = {**query, name: query[name][:at] + character + query[name][at + 1 :]}
        verdict = links.verdict(LinkQuery(**changed), "a.mp4", "1", now)
        assert verdict == ("valid" if changed == query else "wrong")


def test_t24_a_secret_that_is_taken_away_ends_its_links() -> None:
    old, new = b"a" * 32, b"b" * 32
    now = 1_700_000_000 * SECOND
    url = FileLinks([old], 3_600).url("", "a.mp4", "1", now)
    query = LinkQuery(**{name: values[0] for name, values in parse_qs(urlsplit(url).query).items()})

    assert FileLinks([new, old], 3_600).verdict(query, "a.mp4", "1", now) == "valid"
    assert FileLinks([new], 3_600).verdict(query, "a.mp4", "1", now) == "wrong"


def test_the_secret_is_kept_for_the_service_alone(tmp_path: Path) -> None:
    path = tmp_path / "links.key"
    made = secret.keep(path)

    assert secret.keep(path) == made
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_bytes(made[:5])
    path.chmod(0o644)
    assert len(secret.keep(path)) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_t22_neither_a_token_nor_a_link_gets_into_a_log(locked: Door) -> None:
    with structlog.testing.capture_logs([structlog.contextvars.merge_contextvars]) as lines:
        path = await link(locked)
        made = await token(locked, "alice-read", f"{PREFIX}/events")
        for each in (path, f"{path}0", f"/files/nothing{path[path.index('?') :]}", f"/nothing?token={made}"):
            answer = await locked.get(each)
            assert answer.status == 200 or "?" not in answer.json["instance"]
        for _ in range(2):
            await opened(locked, "/events", made)
    rows = (await locked.by("bob-admin", "GET", "/log?limit=1000")).body.decode()

    written = f"{lines}{rows}"
    assert parse_qs(path.partition("?")[2])["signature"][0] not in written
    assert made not in written
    assert "http.request" in written


async def test_a_token_is_for_the_address_that_answers_give(tmp_path: Path) -> None:
    async with door(tmp_path, api_keys="", public_base_url="https://media.example.com/umd") as world:
        job_id = await world.submit()
        url = (await world.get(f"/download/{job_id}")).json["events_url"]
        answer = await world.post({"path": url}, path="/auth/token")

        assert url.startswith("https://media.example.com/umd/api/v1/")
        assert answer.json["path"] == f"{PREFIX}/download/{job_id}/events"
