"""Batches on the real site with real yt-dlp, through the real service."""

import asyncio
from pathlib import Path

import psutil
import pytest

from tests.e2e.service import WAIT_SEC, Event, Json, Service, running
from tests.site import Site

ENDS = ("batch.completed", "batch.failed", "batch.cancelled")


async def submit(service: Service, what: str, **body: object) -> str:
    answer = await service.call("POST", f"{what}/download", 202, json={"embed_metadata": False, **body})
    return str(answer["batch_id"])


async def followed(service: Service, batch_id: str, *types: str) -> list[Event]:
    """The events of a batch's own stream, from its beginning to the first of these types."""
    found: list[Event] = []
    path = f"batch/{batch_id}/events"
    async with asyncio.timeout(WAIT_SEC), service.events(path, last=0) as events:
        async for event in events:
            found.append(event)
            if event.type in (types or ENDS):
                break
    return found


async def ended(service: Service, batch_id: str) -> Json:
    await followed(service, batch_id)
    return await service.call("GET", f"batch/{batch_id}")


async def test_a_playlist_becomes_files_in_its_folder(service: Service, site: Site) -> None:
    url = site.url("/site/playlist/evening", n=5, formats="bare")
    batch = await ended(service, await submit(service, "playlist", url=url, items="1-2,-1"))
    answer = await service.call("GET", f"download/{batch['jobs'][2]['job_id']}")

    assert (batch["status"], batch["kind"], batch["title"]) == ("completed", "playlist", "All of evening")
    assert (batch["total_jobs"], batch["completed_jobs"], batch["progress_percent"]) == (3, 3, 100.0)
    assert [job["file_info"]["file_path"] for job in batch["jobs"]] == [
        f"playlists/All of evening/{index:03d}-evening_video_{index - 1}.mp4" for index in (1, 2, 5)
    ]
    assert answer["batch_id"] == batch["batch_id"]
    assert (answer["metadata"]["playlist"], answer["metadata"]["playlist_index"]) == ("All of evening", 5)


async def test_what_was_downloaded_is_skipped_whatever_list_it_is_in(service: Service, site: Site) -> None:
    first = site.url("/site/playlist/archive", n=3, formats="bare")
    video = site.url("/site/video/archive-00001", formats="bare")
    single = await service.download(video, embed_metadata=False)
    batch = await ended(service, await submit(service, "playlist", url=first))
    again = await ended(service, await submit(service, "playlist", url=first, reverse_playlist=True))
    other = await ended(service, await submit(service, "playlist", url=first, items="1", audio_only=True))

    assert [job["status"] for job in batch["jobs"]] == ["completed", "skipped", "completed"]
    assert batch["jobs"][1]["job_id"] == single["request_id"]
    assert again["skipped_jobs"] == 3
    assert [job["job_id"] for job in again["jobs"]] == [job["job_id"] for job in batch["jobs"][::-1]]
    assert other["completed_jobs"] == 1


@pytest.mark.parametrize("bare", [False, True])
async def test_a_channel_is_filtered_and_sorted(service: Service, site: Site, bare: bool) -> None:
    name = f"studio-{bare}"
    about = {"bare": 1} if bare else {}
    url = site.url(f"/site/channel/{name}", n=12, formats="bare", **about)
    batch = await ended(
        service,
        await submit(
            service,
            "channel",
            url=url,
            date_after="20261022",
            min_duration=100,
            sort_by="duration",
            sort_order="asc",
            max_downloads=3,
        ),
    )
    wanted = sorted(
        (30 + index * 37 % 600, index) for index in range(12) if index <= 10 and 30 + index * 37 % 600 >= 100
    )[:3]

    assert [job["title"] for job in batch["jobs"]] == [f"{name} video {index}" for _, index in wanted]
    assert batch["completed_jobs"] == 3
    assert batch["jobs"][0]["file_info"]["file_path"].startswith(f"channels/Uploader of {name}/2026")


async def test_a_channels_tabs_are_gone_into(service: Service, site: Site) -> None:
    url = site.url("/site/tabs/roomy", n=2, formats="bare")
    batch = await ended(service, await submit(service, "channel", url=url))

    assert sorted(job["title"] for job in batch["jobs"]) == [
        f"roomy-{tab} video {index}" for tab in ("shorts", "videos") for index in (0, 1)
    ]
    assert batch["completed_jobs"] == 4


async def test_a_feed_without_an_extractor_of_its_own_works_and_is_remembered(
    service: Service, site: Site
) -> None:
    url = site.url("/feed/pod.rss", n=3)
    batch = await ended(service, await submit(service, "playlist", url=url))
    again = await ended(service, await submit(service, "playlist", url=url))

    assert (batch["completed_jobs"], again["skipped_jobs"]) == (3, 3)


async def test_a_hundred_small_files_and_their_stream(service: Service, site: Site) -> None:
    urls = [site.url(f"/media/small/hundred-{number}.mp4") for number in range(100)]
    batch_id = await submit(service, "batch", urls=urls, concurrent_limit=10)
    events = await followed(service, batch_id)
    ids = [event.id for event in events if event.id is not None]

    batch = await service.call("GET", f"batch/{batch_id}")
    assert (batch["status"], batch["completed_jobs"]) == ("completed", 100)
    assert ids == sorted(set(ids))
    assert sum(event.type == "job.completed" for event in events) == 100
    assert len({job["file_info"]["file_path"] for job in batch["jobs"]}) == 100
    async with service.client.get(
        f"batch/{batch_id}/events", headers={"Last-Event-ID": str(ids[-1])}
    ) as answer:
        assert answer.status == 204


async def test_a_failed_item_is_told_and_tried_again_on_request(service: Service, site: Site) -> None:
    url = site.url("/site/playlist/mixed", n=3, fault="2:private", formats="bare")
    batch_id = await submit(service, "playlist", url=url, ignore_errors=False)
    batch = await ended(service, batch_id)
    again = await service.call("POST", f"batch/{batch_id}/retry", 202)

    assert (batch["status"], batch["failed_jobs"], batch["error"]["code"]) == ("failed", 1, "private")
    assert [job["status"] for job in batch["jobs"]] == ["completed", "failed", "completed"]
    assert again["status"] == "running"
    async with asyncio.timeout(WAIT_SEC), service.events(f"batch/{batch_id}/events", last=0) as events:
        seen = [event.type async for event in events]
    assert seen.index("batch.failed") < seen.index("batch.retrying") < len(seen) - 1
    assert seen[-1] == "batch.failed"
    retried = await service.call("GET", f"download/{batch['jobs'][1]['job_id']}")
    assert retried["attempt"] == 2


async def test_a_list_that_the_site_refuses_fails_with_its_code(service: Service, site: Site) -> None:
    batch = await ended(service, await submit(service, "playlist", url=site.url("/status/404/list")))

    assert (batch["status"], batch["error"]["code"]) == ("failed", "not_found")
    assert batch["jobs"] == []


async def test_cancel_answers_when_all_processes_are_gone(service: Service, site: Site) -> None:
    urls = [site.url(f"/media/50mb/stop-{number}.mp4", rate=100_000) for number in range(6)]
    batch_id = await submit(service, "batch", urls=urls, concurrent_limit=3)
    for number in range(3):
        await site.wait_bytes(f"/media/50mb/stop-{number}.mp4", 10_000)
    before = asyncio.get_running_loop().time()
    answer = await service.call("DELETE", f"batch/{batch_id}")

    assert asyncio.get_running_loop().time() - before < 5
    assert (answer["status"], answer["cancelled_jobs"]) == ("cancelled", 6)
    assert [one for one in service.processes() if one.status() != psutil.STATUS_ZOMBIE][1:] == []
    batch = await service.call("GET", f"batch/{batch_id}")
    assert {job["status"] for job in batch["jobs"]} == {"cancelled"}


@pytest.mark.parametrize("after", ["expanding", "running"])
async def test_kill_9_in_a_batch_doubles_nothing_and_loses_nothing(
    tmp_path: Path, site: Site, after: str
) -> None:
    name = f"killed-{after}"
    url = site.url(f"/site/playlist/{name}", n=130, formats="bare")
    service = Service(tmp_path, max_concurrent_downloads=5)
    await service.start()
    batch_id = await submit(service, "playlist", url=url, items="1-30,101-110", concurrent_limit=5)
    if after == "expanding":
        await followed(service, batch_id, "batch.listed")
    else:
        await site.wait_request(f"/media/small/{name}-*", count=12)
    await service.kill()

    async with running(tmp_path, max_concurrent_downloads=5) as service:
        batch = await ended(service, batch_id)
        jobs = await service.call("GET", "download?limit=200")

        assert (batch["status"], batch["total_jobs"], batch["completed_jobs"]) == ("completed", 40, 40)
        assert len({job["job_id"] for job in batch["jobs"]}) == 40
        assert {job["request_id"] for job in jobs["items"]} == {job["job_id"] for job in batch["jobs"]}
        files = [path for path in (tmp_path / "playlists").rglob("*") if path.is_file()]
        assert len(files) == 40
        assert list((tmp_path / "temp").glob("job-*")) == []
        again = await ended(service, await submit(service, "playlist", url=url, items="1-30"))
        assert again["skipped_jobs"] == 30


async def test_the_same_key_makes_one_batch(service: Service, site: Site) -> None:
    body = {"url": site.url("/site/playlist/keyed", n=2, formats="bare")}
    headers = {"Idempotency-Key": "one-batch"}
    answers = await asyncio.gather(
        *(service.call("POST", "playlist/download", 202, json=body, headers=headers) for _ in range(20))
    )
    await ended(service, answers[0]["batch_id"])
    late = await service.call("POST", "playlist/download", 202, json=body, headers=headers)
    other = await service.call("POST", "channel/download", 422, json=body, headers=headers)

    assert all(answer == late for answer in answers)
    assert other["code"] == "idempotency_key_reused"


async def test_batches_are_listed_with_cursors(service: Service, site: Site) -> None:
    urls = [site.url(f"/media/small/listed-{number}.mp4") for number in range(3)]
    ids = [await submit(service, "batch", urls=[url]) for url in urls]
    for batch_id in ids:
        await ended(service, batch_id)
    first = await service.call("GET", "batch?limit=2&status=completed")
    second = await service.call("GET", f"batch?limit=2&status=completed&cursor={first['next']}")

    assert [batch["batch_id"] for batch in first["items"]] == ids[:0:-1]
    assert second["items"][0]["batch_id"] == ids[0]
