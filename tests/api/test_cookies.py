import asyncio
import io
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from aiohttp import FormData

from tests.api.world import JAR, URL, World, is_problem
from umd.settings import Settings

PATH = "/auth/cookies"
CRUMBS = "crumbs"


async def test_a_jar_is_stored_shown_and_forgotten_and_never_its_values(world: World) -> None:
    stored = await world.post({"name": "mine", "cookies": JAR}, path=PATH)
    cookie_id = stored.json["cookie_id"]
    shown = await world.get(f"{PATH}/{cookie_id}")
    listed = await world.get(PATH)

    assert stored.status == 201
    assert stored.headers["Location"].endswith(f"/api/v1{PATH}/{cookie_id}")
    assert shown.json == stored.json
    assert listed.json == {"items": [stored.json], "next": None}
    assert stored.json["domains"] == ["example.com"]
    assert (stored.json["name"], stored.json["status"], stored.json["expires_at"]) == ("mine", "active", None)
    assert CRUMBS.encode() not in stored.body + shown.body + listed.body

    gone = await world.ask("DELETE", f"{PATH}/{cookie_id}")
    assert (gone.status, gone.json["id"], gone.json["status"]) == (200, cookie_id, "deleted")
    assert is_problem(await world.get(f"{PATH}/{cookie_id}"), "cookies_not_found", 404)
    assert is_problem(await world.ask("DELETE", f"{PATH}/{cookie_id}"), "cookies_not_found", 404)
    assert list((world.root / "cookies").iterdir()) == []


async def test_a_jar_may_come_as_a_file(world: World) -> None:
    form = FormData({"name": "mine"})
    form.add_field("file", JAR.encode(), filename="cookies.txt", content_type="text/plain")

    answer = await world.ask("POST", PATH, data=form)

    assert (answer.status, answer.json["domains"]) == (201, ["example.com"])


@pytest.mark.parametrize(
    ("fields", "code", "status"),
    [
        ({"name": "mine", "file": "x" * 70_000}, "body_too_large", 413),
        ({"name": "mine", "file": JAR, "more": "1"}, "validation_error", 422),
        ({"file": JAR}, "validation_error", 422),
        ({"name": "mine", "file": JAR, "update": "yes"}, "validation_error", 422),
        ({"name": "mine", "a": "", "b": "", "c": "", "d": "", "e": ""}, "malformed_request", 400),
    ],
)
async def test_a_form_is_taken_strictly(world: World, fields: dict[str, str], code: str, status: int) -> None:
    form = FormData(default_to_multipart=True)
    for name, value in fields.items():
        form.add_field(name, value)

    assert is_problem(await world.ask("POST", PATH, data=form), code, status)


@pytest.mark.parametrize(
    "body",
    [
        {"name": "a b", "cookies": JAR},
        {"name": "a\n", "cookies": JAR},
        {"name": "mine"},
        {"name": "mine", "cookies": JAR, "browser": "firefox"},
        {"name": "mine", "cookies": "no jar"},
        {"name": "mine", "cookies": JAR.replace("\t0\t", "\t1\t")},
        {"name": "mine", "browser": "netscape"},
        {"name": "mine", "browser": "firefox", "profile": "../../root"},
        {"name": "mine", "browser": "firefox", "profile": "work\n"},
    ],
)
async def test_what_is_no_jar_is_refused_and_not_repeated(world: World, body: dict[str, str]) -> None:
    answer = await world.post(body, path=PATH)

    assert is_problem(answer, "validation_error", 422)
    assert CRUMBS.encode() not in answer.body
    assert list((world.root / "cookies").iterdir()) == []


async def test_an_idempotency_key_makes_one_jar(world: World) -> None:
    body = {"name": "mine", "cookies": JAR}
    first = await world.post(body, path=PATH, Idempotency_Key="k")
    again = await world.post(body, path=PATH, Idempotency_Key="k")
    other = await world.post({**body, "name": "other"}, path=PATH, Idempotency_Key="k")

    assert first.json == again.json
    assert is_problem(other, "idempotency_key_reused", 422)
    assert len((await world.get(PATH)).json["items"]) == 1


async def test_of_requests_at_once_with_one_idempotency_key_one_makes_a_jar(world: World) -> None:
    bodies = [{"name": f"n{number}", "cookies": JAR} for number in range(5)]

    answers = await asyncio.gather(*(world.post(body, path=PATH, Idempotency_Key="k") for body in bodies))

    [made] = [answer for answer in answers if answer.status == 201]
    assert all(is_problem(each, "idempotency_key_reused", 422) for each in answers if each is not made)
    assert (await world.get(PATH)).json["items"] == [made.json]


@pytest.mark.parametrize("place", ["before", "within", "behind"])
async def test_a_form_has_no_room_for_more_than_a_jar(world: World, place: str) -> None:
    junk = b"x" * 1_000 + b"\r\n"
    junk *= 2_000_000 // len(junk)
    parts = {"before": b"", "within": b"", "behind": b""} | {place: junk}
    body = (
        parts["before"]
        + b'--b\r\nContent-Disposition: form-data; name="name"\r\n\r\nmine\r\n--b\r\n'
        + b'Content-Disposition: form-data; name="file"\r\n\r\n'
        + (parts["within"] + JAR.encode())
        + b"\r\n--b--\r\n"
        + parts["behind"]
    )
    sent = {"Content-Type": "multipart/form-data; boundary=b"}

    async def chunked() -> AsyncIterator[bytes]:
        yield body

    for data in (io.BytesIO(body), chunked()):
        answer = await world.ask("POST", PATH, data=data, headers=sent)
        assert is_problem(answer, "body_too_large", 413)
    assert list((world.root / "cookies").iterdir()) == []


async def test_without_a_key_nothing_is_stored(tmp_path: Path) -> None:
    async with World(tmp_path, Settings(port=0)).running() as world:
        answer = await world.post({"name": "mine", "cookies": JAR}, path=PATH)

        assert is_problem(answer, "secrets_unavailable", 503)


async def test_a_browser_that_the_operator_has_not_named_is_501(world: World) -> None:
    answer = await world.post({"name": "mine", "browser": "firefox"}, path=PATH)

    assert is_problem(answer, "browser_unavailable", 501)


async def test_a_profile_that_the_operator_has_named_is_read(world: World, tmp_path: Path) -> None:
    profiles = tmp_path / "profiles"
    (profiles / "work").mkdir(parents=True)
    (profiles / "work" / "firefox.txt").write_text(JAR)
    settings = msgspec.structs.replace(world.settings, browser_profiles=f"firefox={profiles}")
    async with World(tmp_path / "data", settings).running() as other:
        answer = await other.post({"name": "mine", "browser": "firefox", "profile": "work"}, path=PATH)

    assert (answer.status, answer.json["browser"]) == (201, "firefox")


async def test_a_download_names_a_jar_that_there_is(world: World) -> None:
    stored = await world.post({"name": "mine", "cookies": JAR}, path=PATH)

    good = await world.post({"url": URL, "cookies_id": stored.json["cookie_id"]})
    bad = await world.post({"url": URL, "cookies_id": "nope"})

    assert good.status == 202
    assert is_problem(bad, "validation_error", 422)
    assert bad.json["errors"][0]["pointer"] == "/cookies_id"


async def test_a_repeat_meets_its_job_also_when_the_jar_is_gone(world: World) -> None:
    stored = await world.post({"name": "mine", "cookies": JAR}, path=PATH)
    body = {"url": URL, "cookies_id": stored.json["cookie_id"]}
    first = await world.post(body, Idempotency_Key="k")
    await world.ask("DELETE", f"{PATH}/{stored.json['cookie_id']}")

    again = await world.post(body, Idempotency_Key="k")

    assert (again.status, again.json) == (202, first.json)
