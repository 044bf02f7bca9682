"""The one table of the routes, and that the handlers keep to it."""

from urllib.parse import quote

import msgspec
import pytest

from tests.api.world import JAR, PREFIX, URL, World, is_problem
from umd.api import probes
from umd.api.cookies import CookiesUploadRequest
from umd.api.download import DeletionRequest
from umd.api.routes import ROUTES, Route
from umd.domain.options import (
    BatchDownloadRequest,
    ChannelDownloadRequest,
    DownloadRequest,
    PlaylistDownloadRequest,
)

_ONE_URL = b'{"url": "' + URL.encode() + b'"}'

BODIES = {
    DownloadRequest: _ONE_URL,
    PlaylistDownloadRequest: _ONE_URL,
    ChannelDownloadRequest: _ONE_URL,
    BatchDownloadRequest: b'{"urls": ["' + URL.encode() + b'"]}',
    CookiesUploadRequest: msgspec.json.encode({"name": "mine", "cookies": JAR}),
    DeletionRequest: b'{"delete_at": "2023-11-15T00:00:00Z"}',
}
"""A good body of each type that has a field which must be there."""


def name(route: Route) -> str:
    return f"{route.method} {route.path}"


def path_of(route: Route, job_id: str = "0" * 26) -> str:
    subject = f"batch_{job_id}" if "/batch/" in route.path else job_id
    path = (
        route.path.removeprefix(PREFIX)
        .replace("{id}", job_id)
        .replace("{delivery_id}", f"msg_{subject}_1")
        .replace("{path:.+}", "videos/a.mp4")
    )
    asks_a_site = route.handler.__module__ == probes.__name__
    return f"{path}?url={quote(URL, safe='')}" if asks_a_site else path


def body_of(route: Route) -> bytes | None:
    """A body that the route takes."""
    return BODIES.get(route.body, b"{}") if route.body else None


def test_every_route_lies_below_the_prefix_and_is_there_once() -> None:
    assert all(route.path.startswith(f"{PREFIX}/") for route in ROUTES)
    assert len({name(route) for route in ROUTES}) == len(ROUTES)


@pytest.mark.parametrize("route", ROUTES, ids=name)
async def test_a_route_answers_as_the_table_says(world: World, route: Route) -> None:
    job_id = await world.submit(webhook_url="https://hooks.test/in")
    if route.path.endswith("/redeliver"):
        await world.complete(job_id)
    if route.path.endswith(("/files/{path:.+}", "/deletion")):
        await world.complete(job_id, {"videos/a.mp4": b"1"})
    if "/batch/{id}" in route.path:
        job_id = await world.submit_batch(webhook_url="https://hooks.test/in")
        if route.path.endswith("/redeliver"):
            await world.ask("DELETE", f"/batch/{job_id}")
    if route.path.endswith("/retry"):
        await world.ask("DELETE", path_of(route, job_id).removesuffix("/retry"))
    if route.path.endswith("/resume"):
        await world.post(path=f"/download/{job_id}/pause")
    if route.path.endswith("/cookies/{id}"):
        job_id = (await world.post({"name": "mine", "cookies": JAR}, path="/auth/cookies")).json["cookie_id"]
    data = body_of(route)
    headers = {"Content-Type": "application/json"}

    async with world.session.request(
        route.method, PREFIX + path_of(route, job_id), data=data, headers=headers
    ) as answer:
        assert answer.status == route.status
        if isinstance(route.answer, str):
            assert answer.content_type in (route.answer, "video/mp4")
        else:
            body = msgspec.json.decode(await answer.read(), type=dict[str, object])
            assert body.keys() == set(route.answer.__struct_fields__)


@pytest.mark.parametrize("route", [route for route in ROUTES if route.query], ids=name)
async def test_a_parameter_that_is_not_in_the_table_is_refused(world: World, route: Route) -> None:
    data = body_of(route)

    answer = await world.ask(
        route.method,
        f"{path_of(route)}{'&' if '?' in path_of(route) else '?'}nope=1",
        data=data,
        headers={"Content-Type": "application/json"},
    )

    assert is_problem(answer, "invalid_query", 400)


@pytest.mark.parametrize("route", [route for route in ROUTES if route.body], ids=name)
async def test_a_field_that_is_not_in_the_table_is_refused(world: World, route: Route) -> None:
    headers = {"Content-Type": "application/json"}
    answer = await world.ask(route.method, path_of(route), data=b'{"nope": 1}', headers=headers)

    assert "/nope" in [error["pointer"] for error in answer.json["errors"]]
