"""The OpenAPI document, and that the service does as it says: schemathesis reads it and asks."""

import asyncio
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import jsonschema_rs
import msgspec
import pytest
import schemathesis

from tests.api.door import door, key_of
from tests.api.world import World
from umd import __main__ as command_line
from umd.api import examples
from umd.api.cookies import Browser
from umd.api.examples import EXAMPLES
from umd.api.openapi import document
from umd.api.problems import CODES
from umd.api.routes import ROUTES, STREAM, Route
from umd.domain import webhooks
from umd.domain.events import AnyJobEvent, Event
from umd.domain.faults import KINDS
from umd.domain.options import DownloadRequest, WebhookEvent

CONFIGURATION = """
[checks]
negative_data_rejection.expected-statuses = [400, 401, 403, 404, 405, 406, 409, 413, 414, 415, 422, 429]

# `DELETE` of a download or a batch cancels it: it can still be looked at.
[[operations]]
include-path-regex = "^/api/v1/(download|batch)/"
checks.use_after_free.enabled = false

# What no schema can say: which cursors were given out, which days a month has, which hosts may be asked,
# what goes together, what an `Idempotency-Key` came with before, which paths are streams, what is too late,
# where the log ends.
[[operations]]
include-path-regex = "/(batch|download|info|formats|metadata|preview|cookies|token|deletion)(/.id.)?$"
checks.positive_data_acceptance.enabled = false

# Their options are those of a download, for which each value of each field is tried: here some are drawn.
[[operations]]
include-path-regex = "/(batch|playlist|channel)/download$"
phases.coverage.enabled = false
"""
"""An address that is too long is refused as such, whatever else is wrong with it."""

FUZZ_WAIT_SEC = 240
DOCUMENT = document()


def operation(route: Route) -> Any:  # noqa: ANN401  # a part of a JSON document
    return DOCUMENT["paths"][route.path.replace(":.+", "")][route.method.lower()]


def references(part: object) -> set[str]:
    """Every `$ref` in a part of the document."""
    if isinstance(part, dict):
        own = {str(part["$ref"])} if "$ref" in part else set()
        return own.union(*(references(value) for value in part.values()))
    return set[str]().union(*(references(item) for item in part)) if isinstance(part, list) else set()


def test_the_document_is_openapi() -> None:
    schemathesis.openapi.from_dict(DOCUMENT).validate()


def test_every_reference_leads_somewhere() -> None:
    for reference in references(DOCUMENT):
        part: Any = DOCUMENT
        for name in reference.removeprefix("#/").split("/"):
            part = part[name]


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_every_route_is_described(route: Route) -> None:
    described = operation(route)

    assert described["summary"] == route.summary
    assert {str(route.status), "default"} <= described["responses"].keys()
    assert ("requestBody" in described) == (route.body is not None)
    named = {parameter["name"] for parameter in described["parameters"]}
    assert named >= set(route.query.__struct_fields__ if route.query else ())


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_what_opens_a_route_is_said(route: Route) -> None:
    keys = {"apiKey", "bearer"} if route.needs.scope else set()
    said = {name for alternative in operation(route)["security"] for name in alternative}

    assert said == keys | ({route.needs.instead} - {None})
    assert said <= DOCUMENT["components"]["securitySchemes"].keys()
    assert ("401" in operation(route)["responses"]) == bool(said)


def test_no_two_operations_share_a_name() -> None:
    names = [operation(route)["operationId"] for route in ROUTES]

    assert len(set(names)) == len(names)


def test_all_codes_of_problems_are_described_with_their_status() -> None:
    told = json.dumps(DOCUMENT["components"]["responses"])

    assert DOCUMENT["components"]["schemas"]["Problem"]["properties"]["code"]["enum"] == sorted(
        CODES | KINDS.keys()
    )
    assert [code for code in CODES | KINDS.keys() if f"`{code}`" not in told] == []


@pytest.mark.parametrize(
    "route", [route for route in ROUTES if route.answer == STREAM], ids=lambda route: route.path
)
def test_every_event_of_a_stream_is_described(route: Route) -> None:
    kinds = get_args(AnyJobEvent if "/download/" in route.path else Event)
    tags = {member.__struct_config__.tag for member in kinds}
    described = operation(route)

    assert described["x-events"].keys() == {*tags, "job.progress"}
    assert all(f"`{tag}`" in described["responses"]["200"]["description"] for tag in tags)


def test_every_webhook_is_described() -> None:
    assert DOCUMENT["webhooks"].keys() == set(get_args(WebhookEvent))


async def test_a_webhook_that_is_sent_is_what_the_document_says(world: World) -> None:
    """The body that the notifier makes, read by the schema of its type."""
    job_id = await world.submit(webhook_url="https://hooks.example/in")
    await world.complete(job_id, {"videos/a.mp4": b"1"})
    job = world.jobs.require(job_id).job

    for told in job.deliveries:
        content = DOCUMENT["webhooks"][told.event]["post"]["requestBody"]["content"]
        schema = {**content["application/json"]["schema"], "components": DOCUMENT["components"]}
        validator = jsonschema_rs.Draft202012Validator(schema)
        body = json.loads(webhooks.body(job, told, "https://umd.example"))
        validator.validate(body)
        assert not validator.is_valid({**body, "type": "download.other"})
    assert [told.event for told in job.deliveries] == ["download.started", "download.completed"]


@pytest.mark.parametrize("kind", EXAMPLES, ids=lambda kind: kind.__name__)
def test_an_example_is_of_its_type(kind: type[msgspec.Struct]) -> None:
    value = msgspec.json.decode(msgspec.json.encode(EXAMPLES[kind]), type=kind)
    shown = msgspec.json.decode(msgspec.json.encode(value))

    assert shown | EXAMPLES[kind] == shown


def test_what_is_asked_and_answered_has_an_example() -> None:
    kinds = {kind for route in ROUTES for kind in (route.answer, route.body) if isinstance(kind, type)}

    assert DownloadRequest in kinds
    assert {kind.__name__ for kind in kinds - EXAMPLES.keys()} == set()


async def test_the_command_line_writes_what_is_served(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    code = command_line.main(["openapi"])
    written = json.loads(capsys.readouterr().out)
    async with world.session.get("/api/openapi.json") as answer:
        served = await answer.json()

    assert code == 0
    assert written == served == json.loads(json.dumps(DOCUMENT))


async def test_the_service_does_as_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Left out are streams, which do not end, and what `CONFIGURATION` says."""

    async def jar(*_where: str) -> str:
        return examples.COOKIES

    monkeypatch.setattr(World, "browser", jar)
    profiles = ",".join(f"{name}={tmp_path}" for name in get_args(Browser))
    async with door(tmp_path, browser_profiles=profiles) as world:
        (tmp_path / "schemathesis.toml").write_text(CONFIGURATION)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "schemathesis.cli",
            "run",
            f"http://127.0.0.1:{world.port}/api/openapi.json",
            "--header",
            f"X-API-Key: {key_of('alice', 'admin')}",
            "--exclude-path-regex=/events$",
            "--max-examples=5",
            "--seed=1",
            "--no-color",
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(FUZZ_WAIT_SEC):
                said, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.communicate()

    assert process.returncode == 0, said.decode()
    [generated] = re.findall(r"(\d+) generated, \1 passed", said.decode())
    assert int(generated) > 500


def test_every_choice_says_of_which_type_it_is() -> None:
    def choices(part: object) -> Iterator[dict[str, object]]:
        if isinstance(part, dict):
            if isinstance(part.get("enum"), list):
                yield part
            part = list(part.values())
        if isinstance(part, list):
            for one in part:
                yield from choices(one)

    found = list(choices(DOCUMENT))

    assert len(found) > 20
    assert [one for one in found if "type" not in one] == []
