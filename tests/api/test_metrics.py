"""What an operator sees of the service: `/metrics` and `/stats`."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.api.door import door, headers
from tests.api.world import World
from umd.domain import commands as c
from umd.domain.events import Fault
from umd.domain.job import State
from umd.log.memory import MemoryLog
from umd.telemetry.metrics import FAMILIES

MISSION = {
    "jobs_total": "counter",
    "jobs_duration_seconds": "histogram",
    "bytes_uploaded_total": "counter",
    "jobs_in_flight": "gauge",
    "storage_bytes_used": "gauge",
}


async def scraped(world: World) -> Mapping[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every sample by its name and labels."""
    answer = await world.get("/metrics")
    assert answer.status == 200
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.body.decode())
        for sample in family.samples
    }


def key(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset(labels.items())


async def busy(world: World) -> None:
    """One job of each outcome, one that runs, one that waits."""
    await world.completed({"videos/a.mp4": b"0123456789", "videos/a.srt": b"01234"})
    failed = await world.submit()
    await world.start(failed)
    await world.execute(c.FailAttempt(failed, 1, Fault("private", "Private.", False)))
    await world.ask("DELETE", f"/download/{await world.submit()}")
    await world.start(await world.submit())
    await world.submit()


def test_the_names_that_are_promised_are_all_there() -> None:
    assert {name: FAMILIES[name].kind for name in MISSION} == MISSION
    assert all(name.startswith("umd_") for name in FAMILIES if name not in MISSION)


async def test_the_numbers_are_those_of_the_jobs(world: World) -> None:
    await busy(world)

    samples = await scraped(world)

    assert samples[key("jobs_total", status="completed")] == 1
    assert samples[key("jobs_total", status="failed")] == 1
    assert samples[key("jobs_total", status="cancelled")] == 1
    assert samples[key("jobs_in_flight")] == 1
    assert samples[key("bytes_uploaded_total")] == samples[key("storage_bytes_used")] == 15
    assert samples[key("jobs_duration_seconds_count")] == 1
    assert samples[key("umd_queue_depth")] == 1
    assert samples[key("umd_job_errors_total", code="private")] == 1
    assert samples[key("umd_event_log_position")] == world.log.head
    assert samples[key("umd_event_log_events_total", type="job.queued")] == 5
    assert samples[key("umd_storage_bytes_free")] > 0
    levels = [samples[key("umd_sandbox_level", level=level)] for level in ("netns", "landlock", "proxy")]
    assert levels == [1, 0, 0]
    assert samples[key("process_open_fds")] > 0


async def test_requests_are_told_by_template_and_problems_by_code(world: World) -> None:
    for number in range(3):
        await world.get(f"/download/{number:026}")
    await world.get("/nowhere")
    await world.raw(b"nonsense\r\n\r\n")

    samples = await scraped(world)

    name = "umd_http_request_duration_seconds_count"
    template = "/api/v1/download/{id}"
    assert samples[key(name, method="GET", route=template, status="4xx")] == 3
    assert samples[key(name, method="GET", route="unmatched", status="4xx")] == 1
    assert samples[key("umd_http_problems_total", code="job_not_found")] == 3
    assert samples[key("umd_http_problems_total", code="malformed_request")] == 1


@pytest.mark.parametrize("many", [600, pytest.param(5_000, marks=pytest.mark.soak)])
async def test_t30_whatever_is_asked_for_the_series_are_few(world: World, many: int) -> None:
    """Paths, methods, ids, hosts and names of parameters are the client's to choose, and no labels."""
    methods = ("GET", "POST", "DELETE", "PROPFIND", "X-1", "HEAD")

    async def ask(kind: str, number: int) -> None:
        method = f"{kind}{number}" if kind == "odd" else methods[number % len(methods)]
        for path in (
            f"/{kind}/{number}",
            f"/download/{number:026}",
            f"/files/{number}/a.mp4?{kind}={number}",
        ):
            await world.ask(method, path)

    async def all_of(kind: str, count: int) -> int:
        for number in range(count):
            await ask(kind, number)
        return len(await scraped(world))

    await all_of("odd", 1)
    few = await all_of("warm", len(methods))
    assert await all_of("more", many // 3) - few < 5
    assert await all_of("odd", 100) - few < 5


async def test_every_metric_of_the_table_is_shown(world: World) -> None:
    shown = (await world.get("/metrics")).body.decode()
    again = (await world.get("/metrics")).body.decode()

    types = {line.split()[2] for line in shown.splitlines() if line.startswith("# TYPE ")}
    assert types >= set(FAMILIES)
    assert all(name.startswith("process_") for name in types - set(FAMILIES))
    assert "umd_http_request_duration_seconds_bucket" in again


@pytest.mark.parametrize(
    ("accept", "content_type", "end"),
    [("*/*", "text/plain", ""), ("application/openmetrics-text", "application/openmetrics-text", "# EOF\n")],
)
async def test_the_form_is_negotiated(world: World, accept: str, content_type: str, end: str) -> None:
    answer = await world.get("/metrics", Accept=accept)

    assert answer.headers["Content-Type"].startswith(content_type)
    assert answer.body.decode().endswith(end)
    assert answer.headers["Cache-Control"] == "no-store"


async def test_the_statistics_are_those_of_the_jobs(world: World) -> None:
    await busy(world)

    stats = (await world.get("/stats")).json

    assert stats["jobs"] == {
        "queued": 1, "running": 1, "paused": 0, "completed": 1, "failed": 1, "cancelled": 1,
    }  # fmt: skip
    assert stats["success_rate"] == 0.5
    assert stats["average_download_time"] == 0.0
    assert stats["p95_queue_latency"] == 0.0
    assert (stats["queue_depth"], stats["active_downloads"]) == (1, 1)
    assert stats["total_bytes_downloaded"] == stats["storage_used_bytes"] == 15
    assert stats["errors_by_code"] == {"private": 1}
    assert stats["last_position"] == world.log.head
    assert stats["requests_per_minute"] == 6


async def test_the_statistics_are_the_same_after_a_restart(world: World, tmp_path: Path) -> None:
    await busy(world)
    lasting = {"requests_per_minute", "uptime_seconds", "storage_available_bytes", "queue_depth"}
    before = (await world.get("/stats")).json

    async with World(tmp_path / "again", log=MemoryLog(world.log.records)).running() as again:
        again.clock.at = world.clock.at
        after = (await again.get("/stats")).json

    assert {name: value for name, value in after.items() if name not in lasting} == {
        name: value for name, value in before.items() if name not in lasting
    }
    assert again.jobs.count(*State) == 5


async def test_an_empty_service_has_nothing_to_judge_by(world: World) -> None:
    stats = (await world.get("/stats")).json

    assert (stats["success_rate"], stats["average_download_time"], stats["p95_queue_latency"]) == (None,) * 3


@pytest.mark.parametrize(
    ("required", "caller", "status"),
    [(False, None, 200), (True, None, 401), (True, "stranger", 401), (True, "bob-read", 200)],
)
async def test_metrics_need_a_key_where_the_operator_says_so(
    tmp_path: Path, *, required: bool, caller: str | None, status: int
) -> None:
    async with door(tmp_path, metrics_require_key=required) as world:
        answer = await world.ask("GET", "/metrics", headers=headers(caller))
        async with world.session.get("/api/openapi.json") as got:
            said = (await got.json())["paths"]["/api/v1/metrics"]["get"]["security"]

    assert answer.status == status
    assert bool(said) == required


async def test_totals_are_of_all_callers_and_name_none(tmp_path: Path) -> None:
    async with door(tmp_path) as world:
        await world.post({"url": "https://secret.example/v"}, **headers("alice-write"))
        answer = await world.ask("GET", "/stats", headers=headers("bob-read"))

    assert answer.json["jobs"]["queued"] == 1
    assert b"alice" not in answer.body
    assert b"secret.example" not in answer.body
