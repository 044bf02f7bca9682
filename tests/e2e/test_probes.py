"""Sites that are asked through the real service, with real yt-dlp, before anything is downloaded."""

import asyncio
from pathlib import Path

import aiohttp
import psutil
import pytest

from tests.e2e.service import Json, Service, running
from tests.site import Site
from umd.domain.faults import KINDS

REFUSED = {
    "private": "private",
    "login": "login_required",
    "age": "age_restricted",
    "members": "login_required",
    "geo": "geo_blocked",
    "drm": "drm_protected",
    "removed": "not_found",
    "botcheck": "blocked_by_site",
    "notlive": "live_not_started",
    "upcoming": "live_not_started",
    "throttled": "rate_limited_by_site",
    "noformats": "format_unavailable",
    "bug": "internal",
    "notfound": "not_found",
    "gone": "not_found",
    "forbidden": "blocked_by_site",
    "ratelimited": "rate_limited_by_site",
    "legal": "geo_blocked",
}


async def ask(service: Service, path: str, url: str, expect: int = 200, **query: object) -> Json:
    params = {"url": url, **{name: str(value) for name, value in query.items()}}
    return await service.call("GET", path, expect, params=params)


async def test_the_formats_of_an_item(service: Service, site: Site) -> None:
    answer = await ask(service, "formats", site.url("/site/video/shapes"))
    ids = {kind: [one["format_id"] for one in formats] for kind, formats in answer["formats"].items()}
    best = answer["formats"]["video_only"][-1]

    assert sorted(ids["combined"]) == ["18", "22"]
    assert sorted(ids["video_only"]) == ["134", "136", "137", "242"]
    assert sorted(ids["audio_only"]) == ["140", "249"]
    assert (answer["best_video_format"], answer["best_audio_format"]) == ("137", "140")
    assert answer["recommended_format"] == "137+140"
    assert (best["height"], best["width"], best["resolution"], best["fps"]) == (1080, 1920, "1920x1080", 25)
    assert (best["ext"], best["vcodec"], best["acodec"], best["vbr"]) == ("mp4", "avc1.42c01f", "none", 1500)
    assert (best["protocol"], best["filesize"]) == ("http", site.media.size("video-1080p"))
    assert answer["formats"]["audio_only"][-1]["language"] == "en"
    assert answer["subtitles"]["en"] == ["vtt"]
    assert answer["automatic_captions"]["de"] == ["vtt"]
    assert (answer["title"], answer["duration"], answer["extractor"]) == ("Video shapes", 10.0, "umdsite")
    assert answer["thumbnail"] == site.url("/thumb/shapes/large.jpg")


async def test_the_recommended_format_is_what_is_downloaded(service: Service, site: Site) -> None:
    url = site.url("/site/video/agreed")
    wanted = (await ask(service, "formats", url))["recommended_format"]
    job = await service.download(url, custom_format=wanted)
    plain = await service.download(url)

    assert job["status"] == plain["status"] == "completed"
    assert job["metadata"]["height"] == plain["metadata"]["height"] == 1080


async def test_a_plain_file_is_one_combined_format(service: Service, site: Site) -> None:
    answer = await ask(service, "formats", site.url("/media/small/plain.mp4"))

    assert [one["ext"] for one in answer["formats"]["combined"]] == ["mp4"]
    assert answer["recommended_format"] == answer["best_audio_format"] == "mp4"


def folders(service: Service) -> set[str]:
    """The working folders that there are; other tests leave some of paused downloads."""
    return {path.name for path in (service.data_dir / "temp").glob("job-*")}


async def test_the_metadata_of_an_item_and_nothing_downloaded(service: Service, site: Site) -> None:
    before = folders(service)
    answer = await ask(service, "metadata", site.url("/site/video/only-asked"))
    about = answer["metadata"]

    assert (about["id"], about["title"], about["uploader"]) == (
        "only-asked",
        "Video only-asked",
        "Una Uploader",
    )
    assert (about["upload_date"], about["view_count"], about["tags"][2]) == ("20260704", 98_765, "schön")
    assert [chapter["title"] for chapter in about["chapters"]] == ["Opening", "Middle / part", "Close"]
    assert [one["width"] for one in answer["thumbnails"]] == [320, 1280]
    assert (answer["formats_available"], answer["is_playlist"], answer["info"]) == (8, False, None)
    assert "en" in answer["subtitles_available"]["subtitles"]
    assert site.requests_for("/media/*/only-asked.*") == []
    assert folders(service) <= before


async def test_raw_is_what_yt_dlp_knows_without_secrets(service: Service, site: Site) -> None:
    info = (await ask(service, "metadata", site.url("/site/video/raw"), raw="true"))["info"]

    assert (info["id"], info["extractor_key"], info["_type"]) == ("raw", "UmdSite", "video")
    assert len(info["formats"]) == 9
    text = str(info)
    assert not any(word in text for word in ("http_headers", "cookies", "3128", "__post_extractor"))


async def test_raw_without_room_says_what_is_left_out(service: Service, site: Site) -> None:
    answer = await ask(service, "metadata", site.url("/site/video/huge", pad=5_000_000), raw="true")

    assert answer["info_left_out"] == ["description"]
    assert answer["info"]["title"] == "Video huge"


async def test_a_list_has_metadata_and_no_formats(service: Service, site: Site) -> None:
    url = site.url("/site/playlist/both", n=7)
    answer = await ask(service, "metadata", url)
    refused = await ask(service, "formats", url, 422)

    assert (answer["is_playlist"], answer["playlist_count"]) == (True, 7)
    assert answer["metadata"]["title"] == "All of both"
    assert (refused["code"], refused["retryable"]) == ("unsupported_url", False)
    assert "/playlist/preview" in refused["detail"]


async def test_a_page_of_a_playlist(service: Service, site: Site) -> None:
    answer = await ask(service, "playlist/preview", site.url("/site/playlist/seen", n=45), page=2)
    first = answer["items"][0]

    assert (answer["playlist_id"], answer["title"]) == ("seen", "All of seen")
    assert (answer["uploader"], answer["uploader_id"]) == ("Uploader of seen", "@seen")
    assert (answer["total_items"], answer["total_pages"], answer["page_size"]) == (45, 3, 20)
    assert (answer["has_previous"], answer["has_next"], len(answer["items"])) == (True, True, 20)
    assert first == {
        "id": "seen-00020",
        "title": "seen video 20",
        "url": site.url("/site/video/seen-00020"),
        "duration": 170.0,
        "view_count": 158_380,
        "uploader": "Uploader of seen",
        "upload_date": "20261012",
        "thumbnail": site.url("/thumb/seen-00020/small.jpg"),
        "playlist_index": 21,
    }


async def test_ten_thousand_entries_are_read_once(service: Service, site: Site) -> None:
    url = site.url("/site/channel/vast", n=10_000)
    process = psutil.Process(service.pid)
    before = process.memory_info().rss
    found = [
        item["id"]
        for page in range(1, 101)
        for item in (await ask(service, "playlist/preview", url, page=page, page_size=100))["items"]
    ]
    beyond = await ask(service, "playlist/preview", url, page=101, page_size=100)
    longest = await ask(service, "channel/info", url, sort_by="duration", page=5_000, page_size=2)

    assert found == [f"vast-{index:05d}" for index in range(10_000)]
    assert (beyond["items"], beyond["has_next"], beyond["total_items"]) == ([], False, 10_000)
    assert longest["has_next"] is False
    pages = [record.query.get("page", "0") for record in site.requests_for("/site/api/channel/vast")]
    assert sorted(map(int, pages)) == [*range(101)]  # the last one is empty
    assert process.memory_info().rss - before < 40 * 2**20


async def test_a_channel_is_filtered_and_sorted(service: Service, site: Site) -> None:
    url = site.url("/site/channel/picked", n=150)
    answer = await ask(
        service,
        "channel/info",
        url,
        date_after="20261001",
        min_duration=100,
        max_views=200_000,
        sort_by="view_count",
        sort_order="asc",
        page_size=5,
    )
    wanted = sorted(
        (index * 7919 % 1_000_003, index)
        for index in range(32)
        if 30 + index * 37 % 600 >= 100 and index * 7919 % 1_000_003 <= 200_000
    )

    assert [one["id"] for one in answer["videos"]] == [f"picked-{index:05d}" for _, index in wanted[:5]]
    assert (answer["video_count"], answer["filtered_video_count"]) == (150, len(wanted))
    assert (answer["channel_id"], answer["channel_name"]) == ("UC-picked", "Channel picked")
    assert (answer["subscriber_count"], answer["unknown_video_count"]) == (12_345, 0)
    assert answer["filters_applied"] == {
        "date_after": "20261001",
        "min_duration": 100,
        "max_views": 200_000,
        "sort_by": "view_count",
        "sort_order": "asc",
    }


async def test_what_a_list_does_not_tell_is_looked_up_once_for_a_filter(service: Service, site: Site) -> None:
    url = site.url("/site/channel/terse", n=4, bare=1, fault="2:private")
    pages = [await ask(service, "channel/info", url, min_views=0, page_size=2, page=page) for page in (1, 2)]
    none = await ask(service, "channel/info", url, min_views=23_758)
    plain = await ask(service, "channel/info", url)

    assert [one["id"][-1] for page in pages for one in page["videos"]] == ["0", "2", "3"]
    assert [one["view_count"] for page in pages for one in page["videos"]] == [0, 15_838, 23_757]
    for page in pages:
        assert (page["video_count"], page["filtered_video_count"], page["unknown_video_count"]) == (4, 3, 1)
    assert (none["videos"], none["unknown_video_count"]) == ([], 1)
    assert plain["filtered_video_count"] == 4
    assert len(site.requests_for("/site/api/*/terse-0*")) == 4


async def test_a_hundred_equal_requests_make_one_extraction(service: Service, site: Site) -> None:
    url = site.url("/site/hang/crowd", gate="crowd")
    asking = [asyncio.create_task(ask(service, "metadata", url)) for _ in range(100)]
    await site.wait_request("/site/api/hang/crowd")
    site.open_gate("crowd")
    answers = await asyncio.gather(*asking)

    assert len(site.requests_for("/site/api/hang/crowd")) == 1
    assert {answer["metadata"]["id"] for answer in answers} == {"crowd"}
    async with service.client.get("metadata", params={"url": url}) as again:
        assert int(again.headers["Age"]) >= 0
    assert len(site.requests_for("/site/api/hang/crowd")) == 1


async def test_a_client_that_goes_away_ends_its_question(service: Service, site: Site) -> None:
    url = site.url("/site/hang/left", gate="left")
    async with aiohttp.ClientSession() as alone:
        asking = asyncio.create_task(alone.get(f"{service.client._base_url}metadata", params={"url": url}))
        record = await site.wait_request("/site/api/hang/left")
        asking.cancel()
        await asyncio.wait({asking})
    await site.wait_closed(record)

    assert record.aborted


async def test_a_site_that_does_not_answer_is_504_and_leaves_no_process(tmp_path: Path, site: Site) -> None:
    async with running(tmp_path, probe_timeout_sec=1, probes_max=1) as service:
        answer = await ask(service, "metadata", site.url("/site/hang/slow", gate="never"), 504)
        listed = await ask(
            service, "playlist/preview", site.url("/site/playlist/slow", page_hold="never"), 504
        )

        assert (answer["code"], listed["code"]) == ("upstream_timeout", "upstream_timeout")
        alive = [one for one in service.processes() if one.status() != psutil.STATUS_ZOMBIE]
        assert len(alive) == 1
        assert list((tmp_path / "temp").glob("job-*")) == []


@pytest.mark.parametrize("kind", REFUSED)
async def test_a_refusal_is_422_with_its_code(service: Service, site: Site, kind: str) -> None:
    answer = await ask(service, "metadata", site.url(f"/site/{kind}/no"), 422)

    assert answer["code"] == REFUSED[kind]
    assert (answer["retryable"], answer["hint"]) == KINDS[REFUSED[kind]][:2]
    assert answer.get("retry_after") == (7 if kind == "ratelimited" else None)


@pytest.mark.parametrize(
    ("path", "code", "status"),
    [
        ("/site/broken/x", "upstream_error", 502),
        ("/site/down/x", "upstream_error", 502),
        ("/site/segfault/x", "worker_crashed", 422),
    ],
)
async def test_a_site_that_fails_is_told_from_one_that_refuses(
    service: Service, site: Site, path: str, code: str, status: int
) -> None:
    for probe in ("metadata", "formats"):
        assert (await ask(service, probe, site.url(path), status))["code"] == code


@pytest.mark.parametrize("probe", ["formats", "metadata", "playlist/preview", "channel/info"])
async def test_an_inner_answer_is_not_echoed(tmp_path: Path, probe: str) -> None:
    """One address of loopback may be asked, and the redirect leads to another one."""
    async with (
        Site() as site,
        Site(host="127.0.0.2") as inner,
        running(tmp_path, allow_addresses="127.0.0.1/32") as strict,
    ):
        secret = inner.url("/site/video/secret")
        by_redirect = await ask(strict, probe, site.url("/redirect", to=secret), 403)
        directly = await ask(strict, probe, secret, 403)

        assert by_redirect["code"] == directly["code"] == "address_not_allowed"
        assert "secret" not in str(by_redirect)
        assert inner.requests == []
