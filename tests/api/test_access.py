"""Every route and every kind of caller: what the table of routes says is what the wire does."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import structlog

from tests.api.door import Door, door, headers, key_of
from tests.api.test_routes import body_of, name, path_of
from tests.api.world import JAR, PREFIX, Answer, is_problem
from umd.api.routes import ROUTES, STREAM, Route
from umd.domain.commands import RecordSwept
from umd.domain.events import SweptFile

OPEN_TO_ALL = {"/health", "/health/live", "/health/ready", "/metrics"}
FOR_ADMINS = {"/log"}
READING_POSTS = {"/auth/token"}
"""What the contract says of each route, once more: the table of the code is held to this one."""

CALLERS = [
    None,
    "stranger",
    *(f"{who}-{scope}" for who in ("alice", "bob") for scope in ("read", "write", "admin")),
]
ID_CHARACTERS = 26
JAR_BODY = msgspec.json.encode({"name": "mine", "cookies": JAR})
RANK = {"read": 0, "write": 1, "admin": 2}


@pytest.fixture
async def locked(tmp_path: Path) -> AsyncIterator[Door]:
    async with door(tmp_path) as running:
        assert isinstance(running, Door)
        yield running


def scope_of(route: Route) -> str | None:
    path = route.path.removeprefix(PREFIX)
    if path in OPEN_TO_ALL:
        return None
    if path in FOR_ADMINS:
        return "admin"
    return "read" if route.method == "GET" or path in READING_POSTS else "write"


def names_something(route: Route) -> bool:
    return "{" in route.path


def expected(route: Route, caller: str | None) -> set[int]:
    """The statuses that a caller may get of a route whose resource is alice's."""
    scope = scope_of(route)
    allowed = {route.status} if scope is None or not names_something(route) else {route.status, 409}
    if scope is None:
        return allowed
    if caller in (None, "stranger"):
        return {401}
    who, _, own = caller.partition("-")
    if RANK[own] < RANK[scope]:
        return {403}
    return {404} if names_something(route) and who != "alice" and own != "admin" else allowed


async def prepared(world: Door, route: Route) -> str:
    """The path of the route with something of alice's in it, in a state that allows what the route does."""
    if "/batch/{id}" in route.path:
        return await prepared_batch(world, route)
    job_id = await world.job_of("alice-write")
    if "/files/" in route.path:
        await world.complete(job_id, {"videos/a.mp4": b"1"})
    if route.path.endswith("/retry"):
        await world.by("alice-write", "DELETE", f"/download/{job_id}")
    if route.path.endswith("/resume"):
        await world.by("alice-write", "POST", f"/download/{job_id}/pause")
    if route.path.endswith("/redeliver"):
        await world.complete(job_id)
    if route.path.endswith("/cookies/{id}"):
        stored = await world.post(JAR_BODY, path="/auth/cookies", **headers("alice-write"))
        job_id = stored.json["cookie_id"]
    return path_of(route, job_id)


async def prepared_batch(world: Door, route: Route) -> str:
    batch_id = await world.batch_of("alice-write")
    if route.path.endswith(("/retry", "/redeliver")):
        await world.by("alice-write", "DELETE", f"/batch/{batch_id}")
    return path_of(route, batch_id)


async def ask(world: Door, route: Route, path: str, sent: dict[str, str]) -> Answer:
    """The status and the beginning of the answer, which need not end."""
    sent = {"Content-Type": "application/json", **sent}
    async with world.session.request(route.method, PREFIX + path, data=body_of(route), headers=sent) as got:
        return Answer(got.status, got.headers, b"" if got.content_type == STREAM else await got.read())


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("route", ROUTES, ids=name)
async def test_t19_each_route_lets_in_whom_the_contract_names(
    locked: Door, route: Route, caller: str | None
) -> None:
    path = await prepared(locked, route)

    answer = await ask(locked, route, path, headers(caller))

    assert answer.status in expected(route, caller), answer.body
    if answer.status == 401:
        code = "authentication_required" if caller is None else "invalid_api_key"
        assert is_problem(answer, code, 401)
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    if answer.status == 403:
        assert is_problem(answer, "forbidden", 403)


@pytest.mark.parametrize("route", [route for route in ROUTES if names_something(route)], ids=name)
async def test_t19_a_foreign_thing_is_told_of_in_the_words_for_none(locked: Door, route: Route) -> None:
    foreign = await prepared(locked, route)
    none = foreign.replace("videos/a.mp4", "videos/b.mp4")
    if none == foreign:
        job_id = next(part for part in foreign.split("/") if len(part) == ID_CHARACTERS)
        none = foreign.replace(job_id, "0" * 26)

    answers = [await ask(locked, route, path, headers("bob-write")) for path in (foreign, none)]

    told = [
        {**answer.json, "request_id": "", "instance": "", "detail": answer.json["detail"].partition("'")[0]}
        for answer in answers
    ]
    assert told[0] == told[1]
    assert answers[0].status == 404


def test_the_table_says_of_each_route_with_an_id_that_it_is_somebodys() -> None:
    assert [name(route) for route in ROUTES if names_something(route) != route.needs.owned] == []


async def test_lists_show_the_caller_s_own_and_an_admin_everybody_s(locked: Door) -> None:
    alices = [await locked.job_of("alice-write") for _ in range(3)]
    bobs = [await locked.job_of("bob-write")]

    async def listed(who: str) -> list[str]:
        found: list[str] = []
        cursor: str | None = ""
        while cursor is not None:
            page = (await locked.by(who, "GET", f"/download?limit=2{cursor and f'&cursor={cursor}'}")).json
            found += [item["request_id"] for item in page["items"]]
            cursor = page["next"]
        return found

    assert await listed("alice-read") == alices[::-1]
    assert await listed("bob-write") == bobs
    assert await listed("bob-admin") == bobs + alices[::-1]


async def test_the_list_of_batches_shows_the_caller_s_own(locked: Door) -> None:
    alices = [await locked.batch_of("alice-write") for _ in range(3)]
    bobs = [await locked.batch_of("bob-write")]

    async def listed(who: str) -> list[str]:
        first = (await locked.by(who, "GET", "/batch?limit=2")).json
        rest = (await locked.by(who, "GET", f"/batch?cursor={first['next']}")).json if first["next"] else None
        return [item["batch_id"] for item in first["items"] + (rest["items"] if rest else [])]

    assert await listed("alice-read") == alices[::-1]
    assert await listed("bob-write") == bobs
    assert await listed("bob-admin") == bobs + alices[::-1]


async def test_the_downloads_of_a_batch_are_its_owner_s(locked: Door) -> None:
    batch_id = await locked.batch_of("alice-write")
    async with locked.session.get(
        f"{PREFIX}/batch/{batch_id}/events", headers={**headers("alice-read"), "Last-Event-ID": "0"}
    ) as answer:
        received = b""
        while b"event: job.queued" not in received:
            received += await answer.content.readany()
    child = locked.batches.unended(batch_id)[0]

    assert (await locked.by("alice-read", "GET", f"/download/{child}")).json["batch_id"] == batch_id
    assert (await locked.by("bob-write", "GET", f"/download/{child}")).status == 404


async def test_the_stream_of_everything_has_the_batches_of_the_caller_s_own(locked: Door) -> None:
    await locked.batch_of("alice-write")
    mine = await locked.batch_of("bob-write")
    await locked.by("bob-write", "DELETE", f"/batch/{mine}")

    async with locked.session.get(
        f"{PREFIX}/events", headers={**headers("bob-read"), "Last-Event-ID": "0"}
    ) as answer:
        received = b""
        while b"event: batch.cancelled" not in received:
            received += await answer.content.readany()

    events = [msgspec.json.decode(line[6:]) for line in received.split(b"\n") if line.startswith(b"data: ")]
    children = {one.job_id for one in locked.batches.require(mine).batch.items}
    assert {event["batch_id"] for event in events if "request_id" not in event} == {mine}
    assert {event["request_id"] for event in events if "request_id" in event} <= children


async def test_one_idempotency_key_of_two_callers_makes_two_batches(locked: Door) -> None:
    body = {"urls": ["https://example.com/v"]}
    made = [
        (await locked.post(body, "/batch/download", Idempotency_Key="k", **headers(who))).json["batch_id"]
        for who in ("alice-write", "bob-write", "alice-write")
    ]

    assert made[0] == made[2] != made[1]


async def test_the_stream_of_everything_is_that_of_the_caller_s_own(locked: Door) -> None:
    await locked.job_of("alice-write")
    mine = await locked.job_of("bob-write")

    async with locked.session.get(
        f"{PREFIX}/events", headers={**headers("bob-read"), "Last-Event-ID": "0"}
    ) as answer:
        theirs = await locked.job_of("alice-write")
        await locked.start(theirs)
        locked.live.publish(theirs, locked.jobs.require(theirs).job.progress)  # type: ignore[arg-type]  # it runs
        await locked.by("bob-write", "DELETE", f"/download/{mine}")
        received = b""
        while b"job.cancelled" not in received:
            received += await answer.content.readany()

    events = [msgspec.json.decode(line[6:]) for line in received.split(b"\n") if line.startswith(b"data: ")]
    assert {event["request_id"] for event in events} == {mine}


async def test_what_is_swept_is_told_to_an_admin_alone(locked: Door) -> None:
    await locked.dispatcher.execute_storage(RecordSwept((SweptFile("videos/a.mp4", 3),)))
    mine = await locked.job_of("bob-write")

    async def told(who: str) -> list[dict[str, object]]:
        asking = {**headers(who), "Last-Event-ID": "0"}
        async with locked.session.get(f"{PREFIX}/events", headers=asking) as answer:
            received = b""
            while b"job.queued" not in received or not received.endswith(b"\n\n"):
                received += await answer.content.readany()
        return [msgspec.json.decode(line[6:]) for line in received.split(b"\n") if line.startswith(b"data: ")]

    [swept, queued] = await told("alice-admin")
    assert swept["files"] == [{"path": "videos/a.mp4", "size_bytes": 3}]
    assert queued["request_id"] == mine
    assert [event["request_id"] for event in await told("bob-write")] == [mine]
    [_, row] = (await locked.by("alice-admin", "GET", "/log?stream=storage")).json["events"]
    assert row["data"]["reason"] == "orphaned"


async def test_the_snapshot_of_everything_shows_the_caller_s_own(locked: Door) -> None:
    await locked.job_of("alice-write")
    mine = await locked.job_of("bob-write")

    async with locked.session.get(f"{PREFIX}/events", headers=headers("bob-read")) as answer:
        received = b""
        while b"snapshot" not in received:
            received += await answer.content.readany()

    line = next(line for line in received.split(b"\n") if line.startswith(b"data: "))
    assert [item["request_id"] for item in msgspec.json.decode(line[6:])["items"]] == [mine]


async def test_one_idempotency_key_of_two_callers_makes_two_jobs(locked: Door) -> None:
    made = [
        (await locked.post({"url": "https://example.com/v"}, Idempotency_Key="k", **headers(who))).json
        for who in ("alice-write", "bob-write", "alice-write")
    ]

    ids = [each["request_id"] for each in made]
    assert ids[0] == ids[2] != ids[1]


@pytest.mark.parametrize(
    "sent",
    [
        {"Authorization": f"Bearer {key_of('alice', 'read')}"},
        {"Authorization": f"bearer  {key_of('alice', 'read')}"},
        {"X-API-Key": key_of("alice", "read"), "Authorization": "Basic YTpi"},
    ],
)
async def test_a_key_may_come_as_a_bearer_token(locked: Door, sent: dict[str, str]) -> None:
    assert (await locked.ask("GET", "/download", headers=sent)).status == 200


@pytest.mark.parametrize(
    "sent",
    [
        [("Authorization", f"Basic {key_of('alice', 'read')}")],
        [("Authorization", key_of("alice", "read"))],
        [("Authorization", "Bearer ")],
        [("X-API-Key", "")],
        [("X-API-Key", "é")],
        [("X-API-Key", key_of("alice", "read")[:-1])],
        [("X-API-Key", key_of("alice", "read")), ("X-API-Key", key_of("bob", "read"))],
        [("X-API-Key", "wrong"), ("Authorization", f"Bearer {key_of('alice', 'read')}")],
        [("Cookie", f"X-API-Key={key_of('alice', 'read')}")],
    ],
)
async def test_t17_a_key_that_is_not_quite_one_is_none(locked: Door, sent: list[tuple[str, str]]) -> None:
    answer = await locked.ask("GET", "/download", headers=sent)

    assert answer.status == 401


@pytest.mark.parametrize("name_", ["api_key", "key", "X-API-Key", "access_token", "token"])
async def test_t17_a_key_in_the_address_is_none(locked: Door, name_: str) -> None:
    assert (await locked.get(f"/download?{name_}={key_of('alice', 'admin')}")).status == 401


async def test_an_open_service_says_so_and_takes_what_comes(tmp_path: Path) -> None:
    async with door(tmp_path, api_keys="") as world:
        assert (await world.get("/health")).json["open"] is True
        assert (await world.get("/download", X_API_Key="whatever")).status == 200
        assert (await world.get("/log")).status == 200


async def test_an_open_service_with_keys_keeps_theirs_apart(tmp_path: Path) -> None:
    async with door(tmp_path, require_api_key=False) as world:
        assert isinstance(world, Door)
        theirs = await world.job_of("alice-write")
        ours = await world.submit()

        assert [job["request_id"] for job in (await world.get("/download")).json["items"]] == [ours]
        assert (await world.get(f"/download/{theirs}")).status == 404
        assert (await world.get("/log")).status == 403
        assert (await world.get("/download", X_API_Key="wrong")).status == 401


async def test_no_key_gets_into_a_log(locked: Door) -> None:
    with structlog.testing.capture_logs([structlog.contextvars.merge_contextvars]) as lines:
        for who in ("alice-write", "stranger"):
            await locked.post({"url": "https://example.com/v"}, **headers(who))
    rows = (await locked.by("bob-admin", "GET", "/log")).body

    for who in ("alice-write", "stranger"):
        assert headers(who)["X-API-Key"] not in f"{lines}{rows!r}"
    assert [line.get("caller") for line in lines if line["event"] == "http.request"] == ["alice", None]
