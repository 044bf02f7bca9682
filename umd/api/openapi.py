"""The OpenAPI 3.1 document, made of the route table and the very types that decode and answer."""

import re
from collections.abc import Iterable, Iterator
from http import HTTPStatus

import msgspec

from umd import __version__
from umd.api import examples, openapi_events, problems
from umd.api.openapi_events import REF, Json
from umd.api.probes import ProbeQuery
from umd.api.problems import MEANINGS, Problem
from umd.api.routes import ROUTES, STREAM, Route
from umd.domain.faults import KINDS, RETRYABLE

PREFIX = "/api/v1/"
RESOURCES = {
    "/api/v1/download": ("request_id", "/api/v1/download/{id}"),
    "/api/v1/auth/cookies": ("cookie_id", "/api/v1/auth/cookies/{id}"),
    "/api/v1/batch/download": ("batch_id", "/api/v1/batch/{id}"),
    "/api/v1/playlist/download": ("batch_id", "/api/v1/batch/{id}"),
    "/api/v1/channel/download": ("batch_id", "/api/v1/batch/{id}"),
}
"""For what a POST makes: the member of its answer that is its id, and where it can be found by that."""

BODILESS = (204, 304)

DESCRIPTION = """\
A media download service around yt-dlp. A job that was accepted is never lost: what is answered is the fold of
an event log.

Times are RFC 3339 UTC, sizes bytes, durations seconds, speeds bytes a second. A field or a parameter that
does not exist is refused. Every error is `application/problem+json` (RFC 9457) with a stable `code`. What
answers GET answers HEAD, too, unless it is a stream. `Idempotency-Key` makes a POST safe to repeat.

An API key comes as `X-API-Key` or as a bearer token and has a scope: `read`, `write` (which reads, too) or
`admin`. What belongs to another key is not found, unless the key is an admin's. A service that has no keys
asks for none.
"""

SECURITY: Json = {
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "bearer": {"type": "http", "scheme": "bearer", "description": "The API key, once more."},
    "token": {
        "type": "apiKey",
        "in": "query",
        "name": "token",
        "description": "From `POST /api/v1/auth/token`: opens one stream, once.",
    },
    "link": {
        "type": "apiKey",
        "in": "query",
        "name": "signature",
        "description": "With `expires` and `key`, from the `url` of a file: opens that file for a time.",
    },
}
"""What a caller may come with; the last two by the names that `Needs.instead` has for them."""

_PARAMETER = re.compile(r"\{(\w+)(?::[^}]*)?\}")
_PATH_SCHEMAS: Json = {
    "id": {"type": "string", "pattern": "^[0-9a-z]{26}$"},
    "delivery_id": {"type": "string", "minLength": 1},
    "path": {"type": "string", "minLength": 1},
}


def document(server_url: str = "", routes: Iterable[Route] = ROUTES) -> Json:
    """The whole description; `server_url` is where the service is reached, empty for where it was read."""
    routes = tuple(routes)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "umd",
            "summary": "Ultimate Media Downloader",
            "version": __version__,
            "description": DESCRIPTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": server_url or "/"}],
        "tags": [{"name": name} for name in [*dict.fromkeys(_tag(route) for route in routes), "webhooks"]],
        "paths": _paths(routes),
        "webhooks": openapi_events.webhooks(),
        "components": {
            "schemas": _schemas(routes),
            "securitySchemes": SECURITY,
            "responses": {f"Problem{status}": _problem(status) for status in _statuses()},
            "headers": {
                "X-Request-ID": {
                    "description": "The request's name, taken over from the client's header of this name.",
                    "schema": {"type": "string"},
                }
            },
        },
    }


def _paths(routes: Iterable[Route]) -> Json:
    paths: Json = {}
    for route in routes:
        paths.setdefault(_PARAMETER.sub(r"{\1}", route.path), {})[route.method.lower()] = _operation(route)
    for made, (member, resource) in RESOURCES.items():
        accepted = paths[made]["post"]["responses"]
        accepted[min(accepted)]["links"] = {
            _operation_id(route): {
                "operationId": _operation_id(route),
                "parameters": {"id": f"$response.body#/{member}"},
            }
            for route in routes
            if _PARAMETER.sub(r"{\1}", route.path).startswith(resource) and route.answer != STREAM
            if _PARAMETER.findall(route.path) == ["id"]
        }
    return paths


def _operation_id(route: Route) -> str:
    return f"{route.handler.__module__.rpartition('.')[2]}_{route.handler.__name__}"


def _operation(route: Route) -> Json:
    operation: Json = {
        "operationId": _operation_id(route),
        "summary": route.summary,
        "description": (route.handler.__doc__ or route.summary).strip(),
        "tags": [_tag(route)],
        "parameters": list(_parameters(route)),
        "responses": _responses(route),
        "security": _security(route),
    }
    if route.body is not None:
        operation["requestBody"] = {"required": True, "content": _content(route.body)}
    if route.answer == STREAM:
        operation["x-events"] = openapi_events.of_stream(route.path)
    return operation


def _security(route: Route) -> list[Json]:
    """What opens a route: any of these, and for a public one nothing is needed."""
    needs = route.needs
    if needs.scope is None:
        return []
    scheme = [needs.instead] if needs.instead else []
    return [{name: []} for name in ("apiKey", "bearer", *scheme)]


def _parameters(route: Route) -> Iterator[Json]:
    for name in _PARAMETER.findall(route.path):
        yield {"name": name, "in": "path", "required": True, "schema": _PATH_SCHEMAS[name]}
    if route.query is not None:
        schema = _components([route.query])[route.query.__name__]
        for name, kind in schema["properties"].items():
            yield {
                "name": name,
                "in": "query",
                "required": name in schema["required"],
                "schema": _given(kind),
            }
    if _accepts(route):
        yield _header("Idempotency-Key", "Makes a repeat safe.", r"^[\x21-\x7e]{1,255}$")
    if route.answer == STREAM:
        yield _header("Last-Event-ID", "The position to resume behind.", "^[0-9]{1,18}$")


def _accepts(route: Route) -> bool:
    """Whether the route makes a resource that is there for longer than the answer."""
    return route.method == "POST" and route.body is not None and route.needs.scope == "write"


def _given(schema: Json) -> Json:
    """A parameter's schema: null is said by leaving the parameter out."""
    if "anyOf" not in schema:
        return schema
    [given] = [kind for kind in schema["anyOf"] if kind != {"type": "null"}]
    return dict(given)


def _header(name: str, description: str, pattern: str) -> Json:
    return {
        "name": name,
        "in": "header",
        "required": False,
        "description": description,
        "schema": {"type": "string", "pattern": pattern},
    }


def _responses(route: Route) -> Json:
    said = {route.status: HTTPStatus(route.status).phrase, **route.others}
    answers: Json = {str(status): _answer(route, status, text) for status, text in sorted(said.items())}
    for status in _expected_problems(route):
        answers.setdefault(str(status), {"$ref": f"#/components/responses/Problem{status}"})
    answers["default"] = {"description": "Any other problem.", "content": _content(Problem)}
    return answers


def _answer(route: Route, status: int, description: str) -> Json:
    answer: Json = {
        "description": description,
        "headers": {"X-Request-ID": {"$ref": "#/components/headers/X-Request-ID"}},
    }
    if status == route.status and _accepts(route):
        answer["headers"]["Location"] = {"schema": {"type": "string", "format": "uri"}}
    if status in BODILESS:
        return answer
    if route.answer == STREAM:
        types = ", ".join(f"`{name}`" for name in openapi_events.of_stream(route.path))
        answer["description"] = f"{openapi_events.STREAM_DESCRIPTION}{types}."
    answer["content"] = _content(route.answer)
    return answer


def _content(kind: type[msgspec.Struct] | str) -> Json:
    if kind == "application/octet-stream":
        return {"*/*": {"schema": {}}}
    if isinstance(kind, str):
        return {kind: {"schema": {"type": "string"}}}
    body: Json = {"schema": {"$ref": REF.format(name=kind.__name__)}}
    if kind in examples.EXAMPLES:
        body["example"] = examples.EXAMPLES[kind]
    return {problems.CONTENT_TYPE if kind is Problem else "application/json": body}


def _expected_problems(route: Route) -> Iterator[int]:
    if route.needs.scope is not None:
        yield from (401, 403)
    if route.needs.counted:
        yield 429
    if route.query is not None:
        yield 400
    if "{" in route.path:
        yield 404
        if route.method != "GET":
            yield 409
    if route.body is not None:
        yield from (413, 415, 422)
    if route.method != "GET":
        yield from (503, 507)
    if route.query is not None and issubclass(route.query, ProbeQuery):
        yield from (404, 422, 502, 503, 504, 507)


def _statuses() -> list[int]:
    return sorted({meaning.status for meaning in MEANINGS.values()})


def _problem(status: int) -> Json:
    told = [f"- `{code}`: {meaning.title}" for code, meaning in MEANINGS.items() if meaning.status == status]
    told += [f"- `{code}`: {kind.hint}" for code, kind in KINDS.items() if _is_of_site(code, status)]
    content = _content(Problem)
    code = next(code for code, meaning in MEANINGS.items() if meaning.status == status)
    content[problems.CONTENT_TYPE]["example"] = examples.problem(code)
    return {"description": "\n".join([HTTPStatus(status).phrase, "", *told]), "content": content}


def _is_of_site(code: str, status: int) -> bool:
    meaning = problems.meaning_of_site(code)
    return meaning.status == status and meaning is not MEANINGS.get(code)


def _schemas(routes: Iterable[Route]) -> Json:
    kinds = [kind for route in routes for kind in (route.body, route.answer) if isinstance(kind, type)]
    schemas = _components([*dict.fromkeys(kinds), Problem, *openapi_events.SPOKEN])
    schemas["Problem"]["properties"]["code"]["enum"] = sorted(MEANINGS | KINDS)
    schemas["Fault"]["properties"]["code"]["description"] = _fault_codes()
    return schemas


def _components(kinds: Iterable[type]) -> Json:
    _, schemas = msgspec.json.schema_components(kinds, ref_template=REF)
    _name_types(schemas)
    return schemas


def _name_types(part: object) -> None:
    """Say of which type a choice is: msgspec leaves that to the values, and pages then show `any`."""
    if isinstance(part, dict):
        if "enum" in part and all(isinstance(value, str) for value in part["enum"]):
            part["type"] = "string"
        part = list(part.values())
    if isinstance(part, list):
        for one in part:
            _name_types(one)


def _fault_codes() -> str:
    retried = ", ".join(f"`{code}`" for code, retryable in RETRYABLE.items() if retryable)
    final = ", ".join(f"`{code}`" for code, retryable in RETRYABLE.items() if not retryable)
    return f"Retried by itself: {retried}. Final: {final}."


def _tag(route: Route) -> str:
    return route.path.removeprefix(PREFIX).partition("/")[0]
