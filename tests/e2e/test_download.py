"""Downloads from end to end: real service, real yt-dlp, real ffmpeg, and what a client gets to see."""

import asyncio
import hashlib
import json
from pathlib import Path

import psutil
import pytest

from tests.e2e.service import Service
from tests.site import Site


async def fetched(service: Service, job: dict[str, object]) -> bytes:
    info = job["file_info"]
    assert isinstance(info, dict)
    async with service.client.get(info["file_url"]) as answer:
        assert answer.status == 200
        return await answer.read()


async def test_the_smallest_request_downloads_a_file(service: Service, site: Site) -> None:
    job = await service.download(site.url("/media/1mb/first.mp4"))

    info = job["file_info"]
    body = await fetched(service, job)
    assert job["status"] == "completed", job["error"]
    assert info["file_path"] == "videos/first-first.mp4"
    assert info["size_bytes"] == len(body)
    assert info["sha256"] == hashlib.sha256(body).hexdigest()
    assert (info["kind"], info["mime_type"], info["format"]) == ("media", "video/mp4", "mp4")
    assert job["files"] == [info]
    assert job["progress"]["percent"] == 100.0
    assert job["progress"]["phase"] == "finished"
    assert job["metadata"]["extractor"] == "generic"
    assert job["metadata"]["title"] == "first"
    assert (job["attempt"], job["error"], job["waiting_for"]) == (1, None, None)
    assert job["created_at"] <= job["started_at"] <= job["completed_at"] < job["delete_at"]
    assert job["duration_sec"] >= 0


@pytest.mark.parametrize(
    "path",
    [
        "/hls/master/clip.m3u8",
        "/hls/groups/clip.m3u8",
        "/hls/aes/clip.m3u8",
        "/dash/segments/clip.mpd",
        "/dash/single/clip.mpd",
        "/page/html5/clip.html",
        "/page/jsonld/clip.html",
        "/redirect?to=/media/small/clip.mp4",
        "/site/video/clip",
        "/live/clip.m3u8?until=3",
    ],
)
async def test_every_kind_of_source_ends_as_a_whole_mp4(service: Service, site: Site, path: str) -> None:
    job = await service.download(site.url(path))

    assert job["status"] == "completed", job["error"]
    assert job["file_info"]["format"] == "mp4"
    assert (await fetched(service, job))[4:8] == b"ftyp"


async def test_all_that_the_site_tells_stands_in_the_metadata(service: Service, site: Site) -> None:
    metadata = (await service.download(site.url("/site/video/told")))["metadata"]

    for name in (
        "id",
        "title",
        "description",
        "uploader",
        "channel",
        "upload_date",
        "duration",
        "view_count",
    ):
        assert metadata[name], name
    assert metadata["chapters"]
    assert metadata["tags"]
    assert metadata["thumbnail"]
    assert metadata["extractor"] == "umdsite"


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/status/404/x", "not_found"),
        ("/status/410/x", "not_found"),
        ("/status/403/x", "blocked_by_site"),
        ("/status/429/x", "rate_limited_by_site"),
        ("/status/500/x", "upstream_error"),
        ("/page/empty/x.html", "unsupported_url"),
        ("/text/x.txt", "unsupported_url"),
        ("/feed/x.rss", "unsupported_url"),
        ("/site/private/x", "private"),
        ("/site/login/x", "login_required"),
        ("/site/age/x", "age_restricted"),
        ("/site/geo/x", "geo_blocked"),
        ("/site/drm/x", "drm_protected"),
        ("/site/upcoming/x", "live_not_started"),
        ("/site/botcheck/x", "blocked_by_site"),
        ("/site/segfault", "worker_crashed"),
        ("/site/exit", "worker_crashed"),
    ],
)
async def test_each_failure_has_its_code(service: Service, site: Site, path: str, code: str) -> None:
    job = await service.download(site.url(path), retries=0)

    assert (job["status"], job["error"] and job["error"]["code"]) == ("failed", code), job["error"]
    assert job["error"]["message"]
    assert job["file_info"] is None
    assert job["files"] == []


async def test_a_site_that_is_down_for_a_moment_is_tried_again(service: Service, site: Site) -> None:
    job = await service.download(site.url("/media/small/down.mp4", fail=503, times=1, key="down"), retries=2)

    assert (job["status"], job["error"]) == ("completed", None)
    assert job["attempt"] >= 1


async def test_a_download_that_breaks_off_is_resumed_where_it_broke(service: Service, site: Site) -> None:
    url = site.url("/media/1mb/breaks.mp4", break_after=400_000)
    job = await service.download(url, retries=3, embed_metadata=False)

    assert job["status"] == "completed", job["error"]
    assert any(
        record.range not in (None, "bytes=0-") for record in site.requests_for("/media/1mb/breaks.mp4")
    )
    assert len(await fetched(service, job)) == site.media.size("1mb")


async def test_a_download_that_stalls_is_ended_and_tried_again(service: Service, site: Site) -> None:
    url = site.url("/media/1mb/stalls.mp4", stall_after=200_000, times=1, skip=1, key="stalls")
    job = await service.download(url, retries=2)

    assert (job["status"], job["attempt"]) == ("completed", 2), job["error"]


async def test_progress_is_seen_at_least_three_times_a_second(service: Service, site: Site) -> None:
    job_id = await service.submit(site.url("/media/1mb/paced.mp4", rate=300_000))
    values, types = [], []

    async with service.events(f"download/{job_id}/events") as events:
        async for event in events:
            types.append(event.type)
            if event.type == "job.progress" and event.data["downloaded_bytes"]:
                assert event.id is None
                values.append((event.data["downloaded_bytes"], event.data["percent"]))

    seconds = (await service.show(job_id))["duration_sec"]
    assert types[0] == "snapshot"
    assert types[-1] == "job.completed"
    assert values == sorted(values)
    assert len({downloaded for downloaded, _ in values}) >= 3 * (seconds - 1)


async def test_a_stream_from_the_beginning_tells_the_whole_life_and_then_says_that_it_is_over(
    service: Service, site: Site
) -> None:
    job = await service.download(site.url("/media/small/life.mp4"))
    path = f"download/{job['request_id']}/events"

    async with service.events(path, last=0) as events:
        seen = [event async for event in events]
    async with service.client.get(path, headers={"Last-Event-ID": str(seen[-1].id)}) as answer:
        again = answer.status

    durable = [event for event in seen if event.id is not None]
    milestones = [event.type for event in durable if event.type not in ("job.log", "job.phase")]
    assert milestones == ["job.queued", "job.started", "job.metadata", "job.file", "job.completed"]
    assert [event.id for event in durable] == sorted({event.id or 0 for event in durable})
    assert all(event.data["request_id"] == job["request_id"] for event in durable)
    assert again == 204


async def test_cancel_ends_the_connection_the_process_and_the_files(service: Service, site: Site) -> None:
    job_id = await service.submit(site.url("/media/50mb/cancelled.mp4", rate=500_000))
    record = await site.wait_bytes("/media/50mb/cancelled.mp4", 200_000)
    answer = await service.call("DELETE", f"download/{job_id}")
    await site.wait_closed(record)

    assert answer["status"] == "cancelled"
    assert (await service.show(job_id))["status"] == "cancelled"
    assert not list((service.data_dir / "temp").glob(f"job-{job_id}*"))
    assert not [child for child in service.processes() if child.cwd().endswith(job_id)]
    assert (await service.call("DELETE", f"download/{job_id}"))["status"] == "cancelled"


async def test_cancel_ends_ffmpeg_too(service: Service, site: Site) -> None:
    job_id = await service.submit(site.url("/live/endless.m3u8"))
    await service.until(job_id, "job.phase")
    await site.wait_request("/live/endless.m3u8", count=3)
    await service.call("DELETE", f"download/{job_id}")

    assert not [child for child in service.processes() if "ffmpeg" in child.name()]


async def test_a_paused_download_goes_on_where_it_was(service: Service, site: Site) -> None:
    path = "/media/1mb/paused.mp4"
    job_id = await service.submit(site.url(path, rate=400_000))
    await site.wait_bytes(path, 300_000)
    paused = await service.call("POST", f"download/{job_id}/pause")
    await service.until(job_id, "job.paused")
    await service.call("POST", f"download/{job_id}/resume")
    job = await service.final(job_id)

    assert paused["status"] in ("running", "paused")
    assert job["status"] == "completed", job["error"]
    assert any(record.range not in (None, "bytes=0-") for record in site.requests_for(path))


async def test_a_worker_that_crashes_touches_no_other(service: Service, site: Site) -> None:
    other = await service.submit(site.url("/media/1mb/other.mp4", rate=500_000))
    await site.wait_bytes("/media/1mb/other.mp4", 100_000)
    crashed = await service.download(site.url("/site/segfault"), retries=0)
    job = await service.final(other)

    assert "SIGSEGV" in crashed["error"]["message"]
    assert (job["status"], job["attempt"]) == ("completed", 1)


async def test_a_dead_zygote_is_replaced_while_its_children_go_on(service: Service, site: Site) -> None:
    running = await service.submit(site.url("/media/1mb/orphan.mp4", rate=500_000))
    await site.wait_bytes("/media/1mb/orphan.mp4", 100_000)
    (zygote,) = [
        one for one in psutil.Process(service.pid).children() if "umd.engine.zygote" in one.cmdline()
    ]
    zygote.kill()
    after = await service.download(site.url("/media/small/after.mp4"))
    job = await service.final(running)

    assert (job["status"], job["attempt"]) == ("completed", 1), job["error"]
    assert after["status"] == "completed"


async def test_ten_downloads_really_run_at_once(service: Service, site: Site) -> None:
    jobs = [
        await service.submit(site.url(f"/media/small/ten-{number}.mp4", hold="ten")) for number in range(12)
    ]
    await site.wait_request("/media/small/ten-*", count=10)
    waiting = [(await service.show(job_id))["waiting_for"] for job_id in jobs]
    site.open_gate("ten")
    done = [await service.final(job_id) for job_id in jobs]

    assert waiting.count("site") + waiting.count("slot") == 2
    assert {job["status"] for job in done} == {"completed"}
    assert site.peak("/media/small/ten-*") == 10


async def test_two_jobs_for_one_url_never_share_a_file(service: Service, site: Site) -> None:
    url = site.url("/media/small/twice.mp4")
    first, second = await asyncio.gather(service.download(url), service.download(url))

    paths = {first["file_info"]["file_path"], second["file_info"]["file_path"]}
    assert len(paths) == 2
    assert await fetched(service, first) == await fetched(service, second)


@pytest.mark.parametrize(
    "title", ["../../etc/passwd", "x" * 1_500, "evil\u202egpj.exe", ".bashrc", "CON", "a/b\\c:d"]
)
async def test_hostile_metadata_ends_as_one_safe_file(service: Service, site: Site, title: str) -> None:
    job = await service.download(
        site.url("/page/jsonld/hostile.html", title=title), path_template="{title}/{title}.{ext}"
    )

    path = job["file_info"]["file_path"]
    assert job["status"] == "completed", job["error"]
    assert (service.data_dir / path).resolve().is_relative_to(service.data_dir.resolve())
    assert all(0 < len(part.encode()) <= 255 and not part.startswith(".") for part in path.split("/"))
    assert path.isprintable()
    assert await fetched(service, job)


async def test_the_log_lines_tell_what_yt_dlp_did(service: Service, site: Site) -> None:
    job = await service.download(site.url("/media/small/logged.mp4", secret="hunter2"))
    logs = await service.call("GET", f"download/{job['request_id']}/logs")

    assert logs["total_lines"] == len(logs["logs"]) > 0
    assert "hunter2" not in json.dumps(logs)
    assert "hunter2" not in json.dumps(service.lines)


async def test_every_fact_of_a_download_stands_in_the_log(service: Service, site: Site) -> None:
    job = await service.download(site.url("/media/small/facts.mp4"))
    rows = (await service.call("GET", f"log?stream=job-{job['request_id']}&limit=100"))["events"]

    assert [row["version"] for row in rows] == list(range(1, len(rows) + 1))
    assert [row["type"] for row in rows if row["kind"] == "command"][:2] == ["SubmitDownload", "StartAttempt"]
    assert rows[-1]["type"] == "job.completed"
    assert len({row["correlation"] for row in rows}) == 1


@pytest.mark.parametrize(
    ("audio_format", "extension", "codec"),
    [
        ("mp3", "mp3", "mp3"),
        ("m4a", "m4a", "aac"),
        ("flac", "flac", "flac"),
        ("wav", "wav", "pcm_s16le"),
        ("opus", "opus", "opus"),
        ("aac", "aac", "aac"),
        ("vorbis", "ogg", "vorbis"),
    ],
)
async def test_audio_comes_in_the_format_that_was_asked_for(
    service: Service, site: Site, audio_format: str, extension: str, codec: str
) -> None:
    job = await service.download(
        site.url(f"/media/small/sound-{audio_format}.mp4"), audio_only=True, audio_format=audio_format
    )

    assert job["status"] == "completed", job["error"]
    assert job["file_info"]["format"] == extension
    assert await probed(service.data_dir / job["file_info"]["file_path"]) == {"audio": codec}


@pytest.mark.parametrize(("quality", "height"), [("best", 720), ("480p", 360), ("360p", 360), ("4k", 720)])
async def test_a_preset_takes_the_best_up_to_its_height(
    service: Service, site: Site, quality: str, height: int
) -> None:
    job = await service.download(site.url("/hls/master/preset.m3u8"), quality=quality)

    assert job["status"] == "completed", job["error"]
    assert job["metadata"]["height"] == height


async def test_a_format_that_is_none_is_refused_by_the_worker(service: Service, site: Site) -> None:
    for selector in ("no-such-format", "best[height"):
        job = await service.download(site.url("/hls/master/x.m3u8"), custom_format=selector)
        assert (job["status"], job["error"]["code"]) == ("failed", "format_unavailable")


async def probed(path: Path) -> dict[str, str]:
    """The codec of each kind of stream in a file, as ffprobe sees it."""
    from umd.engine import ffmpeg  # noqa: PLC0415

    tools = ffmpeg.find(path.parent / ".tools")
    assert tools.ffprobe
    process = await asyncio.create_subprocess_exec(
        tools.ffprobe,
        *("-v", "error", "-show_entries", "stream=codec_type,codec_name", "-of", "json", str(path)),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    return {stream["codec_type"]: stream["codec_name"] for stream in json.loads(output)["streams"]}
