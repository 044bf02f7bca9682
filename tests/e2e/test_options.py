"""Options as a client of the whole service gets to see them: what lies where, and what is said of it."""

import asyncio
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.e2e.service import Service, running
from tests.site import Site
from umd.domain.faults import KINDS


async def test_everything_beside_the_media_is_listed_and_can_be_fetched(service: Service, site: Site) -> None:
    job = await service.download(
        site.url("/site/video/everything?formats=combined"),
        download_subtitles=True,
        subtitle_languages=["all"],
        all_thumbnails=True,
        split_chapters=True,
        embed_thumbnail=True,
        embed_subtitles=True,
        write_info_json=True,
        write_description=True,
        write_comments=True,
        path_template="all/{id}.{ext}",
    )

    assert job["status"] == "completed", job["error"]
    described = {file["file_path"]: (file["kind"], file["mime_type"]) for file in job["files"]}
    assert described == {
        "all/everything.mp4": ("media", "video/mp4"),
        "all/everything.00-small.jpg": ("thumbnail", "image/jpeg"),
        "all/everything.01-large.jpg": ("thumbnail", "image/jpeg"),
        "all/everything.chapter-001.mp4": ("chapter", "video/mp4"),
        "all/everything.chapter-002.mp4": ("chapter", "video/mp4"),
        "all/everything.chapter-003.mp4": ("chapter", "video/mp4"),
        "all/everything.comments.json": ("comments", "application/json"),
        "all/everything.de.srt": ("subtitle", "application/x-subrip"),
        "all/everything.description": ("description", "text/plain"),
        "all/everything.en.srt": ("subtitle", "application/x-subrip"),
        "all/everything.info.json": ("info_json", "application/json"),
    }
    assert job["file_info"] == job["files"][0]
    for file in job["files"]:
        async with service.client.get(file["file_url"]) as answer:
            assert (answer.status, len(await answer.read())) == (200, file["size_bytes"])


async def test_every_variable_of_a_template_is_filled_in(service: Service, site: Site) -> None:
    template = (
        "{extractor}-{batch_id}/{playlist}/{playlist_index}/{channel}/{uploader}-{date}"
        "/{resolution}-{duration}/{id} {title} {safe_title} {random}.{ext}"
    )
    query = f"n=1&formats=combined&title={quote('A list / with: odd words')}"
    job = await service.download(site.url(f"/site/playlist/named?{query}"), path_template=template)

    assert job["status"] == "completed", job["error"]
    *folders, name = job["file_info"]["file_path"].split("/")
    assert folders == [
        "umdsite-NA",
        "A list _ with_ odd words",
        "001",
        "Channel named",
        "Uploader of named-20261101",
        "1280x720-30",
    ]
    assert name == f"named-00000 named video 0 named_video_0 {job['request_id'][-8:]}.mp4"


async def test_a_pause_of_a_live_recording_keeps_it(service: Service, site: Site) -> None:
    job_id = await service.submit(site.url("/site/live/paused?pace_ms=300"), embed_metadata=True)
    await site.wait_request("/hls/files/live/seg4.ts")

    paused = await service.call("POST", f"download/{job_id}/pause")

    assert paused["status"] == "completed", paused["error"]
    async with service.client.get(paused["file_info"]["file_url"]) as answer:
        assert (await answer.read())[4:8] == b"ftyp"
    assert paused["metadata"]["is_live"]
    await service.call("POST", f"download/{job_id}/resume", 409)


async def test_a_cancelled_live_recording_leaves_nothing(service: Service, site: Site) -> None:
    job_id = await service.submit(site.url("/site/live/dropped?pace_ms=300"))
    await site.wait_request("/hls/files/live/seg4.ts")

    await service.call("DELETE", f"download/{job_id}")

    assert (await service.show(job_id))["files"] == []
    assert not (service.data_dir / "temp" / f"job-{job_id}").exists()


@pytest.mark.soak
async def test_t14_what_never_ends_is_ended_when_its_time_is_over(tmp_path: Path, site: Site) -> None:
    """A minute is the shortest time that there is; tests/actors/test_job.py has the same in no time."""
    endless = (
        site.url("/site/live/endless?pace_ms=2000"),
        site.url("/live/endless.m3u8?pace_ms=2000"),
        site.url("/media/50mb/drip.mp4", rate=1_000),
        site.url("/media/50mb/drip.mp4", chunked=1, rate=20_000),
        site.url("/hls/aes/drip.m3u8", rate=1_000),
    )
    loop = asyncio.get_running_loop()
    async with running(tmp_path) as service:
        began = loop.time()
        jobs = await asyncio.gather(*(service.download(url, timeout_sec=60, retries=3) for url in endless))
        took = loop.time() - began

    assert [job["error"]["code"] for job in jobs] == ["timeout"] * len(endless)
    assert [(job["attempt"], job["files"]) for job in jobs] == [(1, [])] * len(endless)
    assert 60 <= took < 65
    assert list((tmp_path / "temp").glob("job-*")) == []


async def test_a_fault_says_what_to_do(service: Service, site: Site) -> None:
    job = await service.download(site.url("/site/private/hinted"))

    error = job["error"]
    assert (error["code"], error["retryable"]) == ("private", False)
    assert error["hint"] == KINDS["private"].hint


async def test_a_site_that_names_a_time_is_not_asked_before(service: Service, site: Site) -> None:
    url = site.url("/status/429/asked?retry_after=120")
    job_id = await service.submit(url, retries=3)
    job = await service.until(job_id, "job.retrying")
    await service.call("DELETE", f"download/{job_id}")

    assert (job["status"], job["waiting_for"]) == ("queued", "retry")
    assert (job["error"]["code"], job["error"]["retry_after_sec"]) == ("rate_limited_by_site", 120)
    assert job["retry_at"] > job["started_at"]


async def test_two_equal_requests_share_no_file(service: Service, site: Site) -> None:
    options = {"download_subtitles": True, "write_thumbnail": True, "path_template": "twice/{id}.{ext}"}
    url = site.url("/site/video/twice?formats=combined")
    jobs = await asyncio.gather(*(service.download(url, **options) for _ in range(2)))

    paths = [file["file_path"] for job in jobs for file in job["files"]]
    assert len(paths) == len(set(paths)) == 6
    assert {path.partition(".")[0] for path in paths} == {"twice/twice", "twice/twice (2)"}
