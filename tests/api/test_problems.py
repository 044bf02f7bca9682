"""Every error has one shape, and its status is decided in one place."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import structlog
from aiohttp import web

from tests.api.world import URL, Answer, World, is_problem
from umd import errors
from umd.api import problems
from umd.errors import FieldError

CONFLICT = errors.Conflict("The stream has moved on.")


@pytest.fixture
async def failing(tmp_path: Path) -> AsyncIterator[Callable[[Exception], asyncio.Future[Answer]]]:
    """Ask for the list of downloads while it raises an error."""
    async with World(tmp_path).running() as world:

        def ask(error: Exception) -> asyncio.Future[Answer]:
            def page(**_options: object) -> None:
                raise error

            world.jobs.page = page  # type: ignore[assignment,method-assign]
            return asyncio.ensure_future(world.get("/download"))

        yield ask


@pytest.mark.parametrize(
    ("error", "code", "status"),
    [
        (errors.InvalidInput(FieldError("/url", "No.")), "validation_error", 422),
        (errors.NotFound("job", "x"), "job_not_found", 404),
        (errors.NotFound("file", "x"), "file_not_found", 404),
        (errors.Gone("Gone."), "file_expired", 410),
        (errors.InvalidState("No."), "invalid_state", 409),
        (errors.StaleAttempt("No."), "invalid_state", 409),
        (errors.IdempotencyKeyReused("No."), "idempotency_key_reused", 422),
        (errors.QueueFull("No."), "queue_full", 503),
        (errors.Overloaded("No."), "queue_full", 503),
        (errors.ShuttingDown("No."), "shutting_down", 503),
        (errors.StorageFull("No."), "storage_full", 507),
        (errors.LogFailed("Nobody knows."), "shutting_down", 503),
        (CONFLICT, "invalid_state", 409),
        (errors.LogCorrupt("Row 7.", 7), "internal", 500),
        (errors.LogError("No."), "internal", 500),
        (errors.EngineError("No."), "internal", 500),
        (ZeroDivisionError("secret"), "internal", 500),
        (TimeoutError("secret"), "internal", 500),
        (RecursionError("secret"), "internal", 500),
        (web.HTTPBadGateway(text="secret"), "internal", 500),
        (web.HTTPRequestEntityTooLarge(1), "body_too_large", 413),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
async def test_each_error_has_its_status(
    failing: Callable[[Exception], asyncio.Future[Answer]], error: Exception, code: str, status: int
) -> None:
    answer = await failing(error)

    assert is_problem(answer, code, status)
    assert "secret" not in answer.body.decode()


async def test_what_passes_by_itself_says_when_to_come_again(
    failing: Callable[[Exception], asyncio.Future[Answer]],
) -> None:
    answer = await failing(errors.QueueFull("10 jobs are waiting already."))

    assert answer.headers["Retry-After"] == str(answer.json["retry_after"])
    assert answer.json["detail"] == "10 jobs are waiting already."


async def test_a_bug_is_logged_with_its_traceback_and_the_requests_name(
    failing: Callable[[Exception], asyncio.Future[Answer]],
) -> None:
    bug = ZeroDivisionError("secret")

    with structlog.testing.capture_logs([structlog.contextvars.merge_contextvars]) as lines:
        answer = await failing(bug)

    logged = next(line for line in lines if line["event"] == "http.bug")
    assert logged["exc_info"] is bug
    assert logged["request_id"] == answer.json["request_id"]


@pytest.mark.parametrize(
    ("method", "path", "code", "status"),
    [
        ("GET", "/nothing", "not_found", 404),
        ("GET", "/download/", "not_found", 404),
        ("GET", "/../../etc/passwd", "not_found", 404),
        ("GET", "/download/nothing", "job_not_found", 404),
        ("GET", "/download/%FF%00", "job_not_found", 404),
        ("GET", "/download/" + "0" * 26, "job_not_found", 404),
        ("GET", "/download/" + "0" * 26 + "/logs", "job_not_found", 404),
        ("DELETE", "/download/" + "0" * 26, "job_not_found", 404),
        ("POST", "/download/" + "0" * 26 + "/retry", "job_not_found", 404),
        ("GET", "/files/nothing", "file_not_found", 404),
        ("PUT", "/download", "method_not_allowed", 405),
        ("OPTIONS", "/download", "method_not_allowed", 405),
        ("POST", "/health", "method_not_allowed", 405),
        ("GET", "/download?nope=1", "invalid_query", 400),
    ],
)
async def test_what_the_router_refuses_is_a_problem_too(
    world: World, method: str, path: str, code: str, status: int
) -> None:
    answer = await world.ask(method, path)

    assert is_problem(answer, code, status)
    assert answer.json["instance"].startswith("/")


async def test_a_405_names_the_methods_that_there_are(world: World) -> None:
    answer = await world.ask("PUT", "/download")

    assert set(answer.headers["Allow"].split(",")) == {"GET", "HEAD", "POST"}


async def test_head_has_the_headers_of_get_and_no_body(world: World) -> None:
    got = await world.get("/download")
    head = await world.ask("HEAD", "/download")

    assert head.status == 200
    assert head.body == b""
    assert head.headers["Content-Length"] == got.headers["Content-Length"]


@pytest.mark.parametrize("name", ["abc", "A-b_9", "x" * 64])
async def test_a_sane_request_id_is_kept(world: World, name: str) -> None:
    answer = await world.get("/nothing", X_Request_ID=name)

    assert answer.headers["X-Request-ID"] == answer.json["request_id"] == name


@pytest.mark.parametrize("name", ["", "x" * 65, "a b", "a\tb", "é", '"', "a;b"])
async def test_any_other_request_id_is_replaced(world: World, name: str) -> None:
    answer = await world.get("/nothing", X_Request_ID=name)

    assert answer.headers["X-Request-ID"] == answer.json["request_id"]
    assert answer.json["request_id"] != name


async def test_the_requests_name_goes_into_the_log_as_its_correlation(world: World) -> None:
    await world.post({"url": URL}, X_Request_ID="my-request")

    assert {record.correlation for record in world.log.records} == {"my-request"}


async def test_one_line_is_logged_for_a_request_and_never_its_query(world: World) -> None:
    with structlog.testing.capture_logs([structlog.contextvars.merge_contextvars]) as lines:
        answer = await world.get("/download/nothing?token=secret")

    [line] = lines
    assert line["event"] == "http.request"
    assert line["route"] == "/api/v1/download/{id}"
    assert (line["method"], line["status"]) == ("GET", answer.status)
    assert line["request_id"] == answer.headers["X-Request-ID"]
    assert line["bytes"] == len(answer.body)
    assert line["duration_ms"] >= 0
    assert "secret" not in str(lines)


async def test_answers_do_not_say_what_made_them(world: World) -> None:
    for answer in (await world.get("/health"), await world.get("/nothing"), await world.raw(b"no\r\n\r\n")):
        assert answer.headers["Server"] == "umd"


def test_every_code_has_one_meaning() -> None:
    assert frozenset(problems.MEANINGS) == problems.CODES
    assert all(400 <= meaning.status < 600 for meaning in problems.MEANINGS.values())
