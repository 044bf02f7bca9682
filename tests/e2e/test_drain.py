"""What a stop does: no new work, what runs is put by, streams can be resumed, and nobody is left behind."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import aiohttp
import psutil
import pytest

from tests.e2e.service import Event, Service, running
from tests.invariants import check, survivors
from tests.site import Site


@pytest.fixture(autouse=True)
def _invariants_hold(tmp_path: Path) -> Iterator[None]:
    yield
    if (tmp_path / "log").exists():
        check(tmp_path, [], settled=False)


async def followed(service: Service, heard: list[Event]) -> None:
    """Take the stream of everything until the service ends it."""
    async with service.events("events", last=0) as events:
        async for event in events:
            heard.append(event)  # noqa: PERF401  # as they come, for they are looked at meanwhile


async def refused(service: Service, url: str) -> list[tuple[int, str | None, int]]:
    """Submit until nobody listens: each answer's status, its Retry-After, and what readiness says then."""
    answers = []
    try:
        while True:
            async with service.client.post("download", json={"url": url}) as answer:
                status, after = answer.status, answer.headers.get("Retry-After")
            async with service.client.get("health/ready") as answer:
                answers.append((status, after, answer.status))
    except aiohttp.ClientError:
        return answers


@pytest.mark.parametrize("grace", [0, 3, 30])
async def test_a_stop_puts_by_what_runs(tmp_path: Path, site: Site, grace: int) -> None:
    path = f"/media/1mb/drain-{grace}.mp4"
    service = Service(tmp_path, drain_sec=grace)
    await service.start()
    heard: list[Event] = []
    listening = asyncio.create_task(followed(service, heard))
    job_id = await service.submit(site.url(path, rate=400_000), embed_metadata=False)
    await site.wait_bytes(path, 300_000)
    engine = service.processes()
    loop = asyncio.get_running_loop()
    began = loop.time()
    service.signal(signal.SIGTERM)
    await service.logged("app.stopped")
    took = loop.time() - began
    await listening

    assert await service.stop(None) == 0
    assert took < grace + 8
    alive = await asyncio.to_thread(survivors, engine)
    assert alive == []
    async with running(tmp_path) as service:
        job = await service.final(job_id)
        last = max(event.id for event in heard if event.id is not None)
        rest: list[int] = []
        async with service.events("events", last=last) as events:
            async for event in events:
                rest += [event.id] if event.id is not None else []
                if event.type == "job.completed":
                    break
        rows = (await service.call("GET", "log?limit=1000"))["events"]

    assert (job["status"], job["attempt"]) == ("completed", 2)
    assert any(record.range not in (None, "bytes=0-") for record in site.requests_for(path))
    ids = [event.id for event in heard if event.id is not None] + rest
    assert ids == [row["position"] for row in rows if row["kind"] == "event"]


async def test_new_work_is_refused_while_the_service_stops(tmp_path: Path, site: Site) -> None:
    service = Service(tmp_path, drain_sec=3)
    await service.start()
    path = "/media/1mb/refused.mp4"
    await service.submit(site.url(path, rate=100_000), embed_metadata=False)
    await site.wait_bytes(path, 100_000)
    for process in service.processes():
        process.suspend()  # the stop has to wait for them
    service.signal(signal.SIGTERM)
    await service.logged("app.signalled")
    answers = await refused(service, site.url("/media/small/refused.mp4"))

    assert await service.stop(None) == 0
    assert len(answers) > 3
    assert set(answers) == {(503, "5", 503)}


async def test_a_second_signal_ends_the_service_at_once_and_harms_nothing(tmp_path: Path, site: Site) -> None:
    path = "/media/1mb/twice.mp4"
    service = Service(tmp_path)
    await service.start()
    job_id = await service.submit(site.url(path, rate=200_000), embed_metadata=False)
    await site.wait_bytes(path, 200_000)
    engine = service.processes()
    for process in engine:
        process.suspend()  # the stop has to wait for them
    service.signal(signal.SIGTERM)
    await service.logged("app.signalled")
    itself = psutil.Process(service.pid)
    began = asyncio.get_running_loop().time()
    service.signal(signal.SIGTERM)
    assert await asyncio.to_thread(survivors, [itself]) == []
    assert asyncio.get_running_loop().time() - began < 1
    for process in engine:
        with suppress(psutil.NoSuchProcess):
            process.resume()

    assert await service.stop(None) == -signal.SIGTERM
    alive = await asyncio.to_thread(survivors, engine)
    assert alive == [], "processes outlived the service"
    async with running(tmp_path) as service:
        job = await service.final(job_id)
        assert (job["status"], job["attempt"]) == ("completed", 2)


async def test_a_signal_during_the_start_ends_it_and_harms_nothing(tmp_path: Path, site: Site) -> None:
    async with running(tmp_path) as service:
        done = await service.download(site.url("/media/small/before.mp4"))
    codes = []
    for tenth in range(3, 15, 3):
        service = Service(tmp_path)
        await service.launch()
        await asyncio.sleep(tenth / 10)  # the instant is what is tried, not something to wait for
        codes.append(await service.stop(signal.SIGTERM))
        assert not any("Traceback" in line["event"] for line in service.lines), service.lines

    assert set(codes) <= {0, -signal.SIGTERM}, codes
    async with running(tmp_path) as service:
        assert (await service.show(done["request_id"]))["status"] == "completed"
