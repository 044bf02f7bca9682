"""What is true after the service was ended, politely or not."""

import asyncio
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.service import FINAL, Service, running
from tests.invariants import check, survivors
from tests.site import Site


@pytest.fixture(autouse=True)
def _invariants_hold(tmp_path: Path) -> Iterator[None]:
    yield
    if (tmp_path / "log").exists():
        check(tmp_path, [], settled=False)


async def jobs_of(service: Service) -> dict[str, str]:
    page = await service.call("GET", "download?limit=200")
    return {job["request_id"]: job["status"] for job in page["items"]}


def without_links(jobs: list[dict[str, Any]]) -> str:
    """The text of the jobs without the signatures of their links, which are made anew each minute."""
    return re.sub(r"\?expires=\d+&key=\w+&signature=\w+", "", str(jobs))


async def test_every_accepted_job_goes_on_after_kill_9(tmp_path: Path, site: Site) -> None:
    service = Service(tmp_path, max_concurrent_downloads=5)
    await service.start()
    urls = [site.url(f"/media/1mb/kill-{number}.mp4", rate=400_000) for number in range(8)]
    accepted = [await service.submit(url, embed_metadata=False) for url in urls]
    for number in range(5):
        await site.wait_bytes(f"/media/1mb/kill-{number}.mp4", 200_000)
    engine = service.processes()
    await service.kill()
    alive = await asyncio.to_thread(survivors, engine)

    assert alive == [], "processes outlived the service"
    async with running(tmp_path, max_concurrent_downloads=5) as service:
        assert set(await jobs_of(service)) == set(accepted)
        done = [await service.final(job_id) for job_id in accepted]

        assert {job["status"] for job in done} == {"completed"}
        assert [job["attempt"] for job in done] == [2] * 5 + [1] * 3
        assert {job["file_info"]["size_bytes"] for job in done} == {site.media.size("1mb")}
        resumed = [
            record
            for record in site.requests_for("/media/1mb/kill-*")
            if record.range not in (None, "bytes=0-")
        ]
        assert len(resumed) >= 5, "partial files are resumed"
        assert list((tmp_path / "temp").glob("job-*")) == []


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(1, 8))])
async def test_kill_9_at_any_instant_loses_nothing_that_was_accepted(
    tmp_path: Path, site: Site, seed: int
) -> None:
    service = Service(tmp_path)
    accepted: list[str] = []
    await service.start()

    async def submit() -> None:
        for number in range(100):
            url = site.url(f"/media/small/any-{seed}-{number}.mp4")
            accepted.append(await service.submit(url, embed_metadata=number % 2 == 0))

    submitting = asyncio.create_task(submit())
    await site.wait_request(f"/media/small/any-{seed}-*", count=1 + seed * 8)
    await service.kill()
    await asyncio.wait([submitting])
    submitting.exception()

    async with running(tmp_path) as service:
        known = await jobs_of(service)
        done = [await service.final(job_id) for job_id in accepted]

        assert set(accepted) <= set(known)
        assert [job["error"] for job in done if job["status"] != "completed"] == []
        for job in done:
            assert (tmp_path / job["file_info"]["file_path"]).stat().st_size == job["file_info"]["size_bytes"]
        for job_id in known:
            await service.final(job_id)
        files = [path for path in (tmp_path / "videos").rglob("*") if path.is_file()]
        assert len(files) == len(known), "no file is left over and none is missing"
        assert list((tmp_path / "temp").glob("job-*")) == []


async def test_a_polite_stop_keeps_what_runs_for_the_next_start(tmp_path: Path, site: Site) -> None:
    path = "/media/1mb/polite.mp4"
    service = Service(tmp_path)
    await service.start()
    job_id = await service.submit(site.url(path, rate=400_000), embed_metadata=False)
    await site.wait_bytes(path, 300_000)
    code = await service.stop(signal.SIGTERM)

    assert code == 0
    async with running(tmp_path) as service:
        job = await service.final(job_id)
        assert (job["status"], job["attempt"]) == ("completed", 2)
        assert any(record.range not in (None, "bytes=0-") for record in site.requests_for(path))


async def test_a_final_answer_reads_the_same_after_a_restart(tmp_path: Path, site: Site) -> None:
    async with running(tmp_path) as service:
        done = [
            await service.download(site.url("/site/video/same")),
            await service.download(site.url("/site/private/same")),
        ]
        queued = await service.submit(site.url("/media/50mb/same.mp4", rate=100_000))
        await service.call("DELETE", f"download/{queued}")
        done.append(await service.show(queued))
        base = f"127.0.0.1:{service.port}"
    async with running(tmp_path) as service:
        again = [await service.show(job["request_id"]) for job in done]
        now = f"127.0.0.1:{service.port}"

    assert [job["status"] for job in done] == list(FINAL)
    assert without_links(again).replace(now, base) == without_links(done)


async def test_a_stream_is_resumed_across_a_restart_without_gap_or_repeat(tmp_path: Path, site: Site) -> None:
    ids: list[int] = []
    service = Service(tmp_path)
    await service.start()
    for number in range(3):
        await service.download(site.url(f"/media/small/stream-{number}.mp4"))
    async with service.events("events", last=0) as events:
        async for event in events:
            ids += [event.id] if event.id is not None else []
            if len(ids) == 10:
                break
    await service.kill()
    async with running(tmp_path) as service:
        await service.download(site.url("/media/small/stream-3.mp4"))
        rows = (await service.call("GET", "log?limit=1000"))["events"]
        expected = [row["position"] for row in rows if row["kind"] == "event"]
        async with service.events("events", last=ids[-1]) as events:
            async for event in events:
                ids += [event.id] if event.id is not None else []
                if len(ids) >= len(expected):
                    break

    assert ids == expected


async def test_the_same_idempotency_key_makes_one_job_also_after_a_restart(
    tmp_path: Path, site: Site
) -> None:
    body = {"url": site.url("/media/small/key.mp4")}
    headers = {"Idempotency-Key": "once"}
    async with running(tmp_path) as service:
        answers = await asyncio.gather(
            *(service.call("POST", "download", 202, json=body, headers=headers) for _ in range(50))
        )
        await service.final(answers[0]["request_id"])
    async with running(tmp_path) as service:
        again = await service.call("POST", "download", 202, json=body, headers=headers)
        other = {"url": site.url("/media/small/other-key.mp4")}
        refused = await service.call("POST", "download", 422, json=other, headers=headers)
        jobs = await jobs_of(service)

    assert {answer["request_id"] for answer in [*answers, again]} == set(jobs)
    assert len(jobs) == 1
    assert refused["code"] == "idempotency_key_reused"


async def test_a_second_server_on_the_same_data_refuses_and_harms_nothing(tmp_path: Path, site: Site) -> None:
    async with running(tmp_path) as service:
        job_id = await service.submit(site.url("/media/1mb/second.mp4", rate=500_000))
        await site.wait_bytes("/media/1mb/second.mp4", 100_000)
        second = Service(tmp_path)
        with pytest.raises(AssertionError, match="the service ended"):
            await second.start()
        job = await service.final(job_id)

        assert await second.stop() == 75
        assert (job["status"], job["attempt"]) == ("completed", 1)


async def test_a_port_that_is_taken_is_said_in_one_line(tmp_path: Path, site: Site) -> None:
    service = Service(tmp_path, port=site.port)
    with pytest.raises(AssertionError, match="cannot_run"):
        await service.start()

    assert await service.stop() == 70
    assert not any("Traceback" in line["event"] for line in service.lines)


async def test_files_go_when_their_retention_ends_also_after_a_restart(tmp_path: Path, site: Site) -> None:
    async with running(tmp_path) as service:
        soon = await service.download(site.url("/media/small/soon.mp4"), retention_sec=1)
        kept = await service.download(site.url("/media/small/kept.mp4"), retention_sec=None)
        late = await service.download(site.url("/media/small/late.mp4"), retention_sec=3600)
    async with running(tmp_path) as service:
        async with service.events("events?types=job.files_deleted", last=0) as events:
            deleted = await anext(events)
        gone = await service.show(soon["request_id"])
        async with service.client.get(soon["file_info"]["file_url"].partition("/api/v1/")[2]) as answer:
            status = answer.status

    assert deleted.data["request_id"] == soon["request_id"]
    assert gone["status"] == "completed"
    assert gone["files_deleted_at"] is not None
    assert status == 410
    assert (kept["delete_at"], late["delete_at"] is not None) == (None, True)
    assert (tmp_path / kept["file_info"]["file_path"]).is_file()


async def test_a_mistake_in_the_settings_is_said_before_anything_starts(tmp_path: Path) -> None:
    service = Service(tmp_path / "data", prot=80)
    with pytest.raises(AssertionError, match="UMD_PROT is not a setting"):
        await service.start()

    assert await service.stop() == 2
    assert not (tmp_path / "data").exists()
