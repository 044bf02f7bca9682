import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.site import Site
from tests.site.api import SESSION_COOKIE
from tests.site.ytdlp import YtDlp


@pytest_asyncio.fixture
async def site() -> AsyncIterator[Site]:
    async with Site() as running:
        yield running


@pytest.fixture
def ytdlp(tmp_path: Path) -> YtDlp:
    return YtDlp(tmp_path)


PAGES: dict[str, dict[str, Any]] = {
    "/media/small/one.mp4": {"id": "one", "title": "one", "ext": "mp4", "upload_date": "20260102"},
    "/media/n/39/two.mp4?rate=500000": {"id": "two", "ext": "mp4"},
    "/media/audio/three.m4a": {"id": "three", "ext": "m4a", "vcodec": "none"},
    "/hls/master/a.m3u8": {
        "id": "a",
        "formats": ["300", "520", "1000"],
        "duration": 10,
        "subtitles": ["de", "en"],
    },
    "/hls/groups/b.m3u8": {"format_id": "1000+sound-English", "height": 720},
    "/hls/aes/c.m3u8": {"formats": ["0"], "protocol": "m3u8_native"},
    "/live/d.m3u8": {"live_status": "is_live"},
    "/dash/segments/e.mpd": {"formats": ["2", "0", "1"], "format_id": "1+2", "ext": "mp4"},
    "/dash/single/f.mpd": {"format_id": "video-720p+audio"},
    "/feed/g.rss?n=3": {
        "_type": "playlist",
        "title": "Feed g",
        "entries": ["Episode 1", "Episode 2", "Episode 3"],
    },
    "/page/html5/h.html": {
        "extractor": "html5",
        "subtitles": ["de", "en"],
        "description": "What the page says",
    },
    "/page/jsonld/i.html?title=../..%2Fetc%00": {"title": "../../etc\0", "duration": 10, "view_count": 4321},
    "/text/j.txt": {"direct": True, "ext": "unknown_video"},
    "/redirect?to=/media/small/k.mp4&hops=2": {"id": "k"},
    "/site/video/l": {"extractor": "umdsite", "format_id": "137+249", "height": 1080, "chapters": 3},
    "/site/live/m": {"live_status": "is_live", "formats": ["live"]},
    "/site/tabs/n": {"_type": "playlist", "entries": [None, None]},
}


def _summary(info: dict[str, Any], keys: set[str]) -> dict[str, Any]:
    short = {key: info.get(key) for key in keys}
    if "formats" in short:
        short["formats"] = [one["format_id"] for one in info["formats"]]
    if "subtitles" in short:
        short["subtitles"] = sorted(info["subtitles"])
    if "entries" in short:
        short["entries"] = [one.get("title") for one in info["entries"]]
    if "chapters" in short:
        short["chapters"] = len(info["chapters"])
    return short


async def test_yt_dlp_understands_every_page(site: Site, ytdlp: YtDlp) -> None:
    answers = await ytdlp.run(*map(site.url, PAGES), extract_flat="in_playlist")

    for (path, expected), answer in zip(PAGES.items(), answers, strict=True):
        assert "info" in answer, (path, answer)
        assert _summary(answer["info"], set(expected)) == expected, path


REFUSALS = {
    "/page/empty/a.html": ("UnsupportedError", "Unsupported URL"),
    "/status/404/a": ("HTTPError", "404"),
    "/status/410/a": ("HTTPError", "410"),
    "/status/429/a": ("HTTPError", "429"),
    "/status/500/a": ("HTTPError", "500"),
    "/media/small/a.mp4?fail=503": ("HTTPError", "503"),
    "/redirect?to=loop": ("HTTPError", "redirect loop"),
    "/headers/big/a": ("TransportError", "header line"),
    "/site/private/a": ("ExtractorError", "Private video"),
    "/site/login/a": ("ExtractorError", "registered users"),
    "/site/age/a": ("ExtractorError", "confirm your age"),
    "/site/members/a": ("ExtractorError", "members-only"),
    "/site/cookie/a": ("ExtractorError", "right cookie"),
    "/site/geo/a": ("GeoRestrictedError", "Germany"),
    "/site/drm/a": ("ExtractorError", "DRM protected"),
    "/site/removed/a": ("ExtractorError", "removed"),
    "/site/botcheck/a": ("ExtractorError", "not a bot"),
    "/site/throttled/a": ("ExtractorError", "rate-limited"),
    "/site/notlive/a": ("UserNotLive", "not currently live"),
    "/site/upcoming/a": ("ExtractorError", "Premieres in 30 minutes"),
    "/site/noformats/a": ("ExtractorError", "No video formats"),
    "/site/bug/a": ("KeyError", "please report this issue"),
    "/site/notfound/a": ("HTTPError", "404"),
    "/site/gone/a": ("HTTPError", "410"),
    "/site/forbidden/a": ("HTTPError", "403"),
    "/site/ratelimited/a": ("HTTPError", "429"),
    "/site/legal/a": ("HTTPError", "451"),
    "/site/broken/a": ("HTTPError", "500"),
    "/site/video/a?ext=py": ("_UnsafeExtensionError", "unusual"),
}


async def test_every_refusal_reaches_yt_dlp_as_what_it_is(site: Site, ytdlp: YtDlp) -> None:
    answers = await ytdlp.run(*map(site.url, REFUSALS), download=True)

    for (path, (kind, words)), answer in zip(REFUSALS.items(), answers, strict=True):
        assert "error" in answer, (path, answer)
        assert kind in answer["chain"], (path, answer)
        assert words in answer["error"], (path, answer)


async def test_the_session_cookie_opens_what_is_gated(site: Site, ytdlp: YtDlp, tmp_path: Path) -> None:
    jar = tmp_path / "cookies.txt"
    jar.write_text(
        "# Netscape HTTP Cookie File\n127.0.0.1\tFALSE\t/\tFALSE\t0\t" + "\t".join(SESSION_COOKIE) + "\n"
    )

    answers = await ytdlp.run(
        *(site.url(f"/site/{kind}/a") for kind in ("cookie", "private", "age")), cookiefile=str(jar)
    )

    assert [answer["info"]["title"] for answer in answers] == ["Video a"] * 3


async def test_a_long_channel_is_fetched_page_by_page_and_agrees_with_its_videos(
    site: Site, ytdlp: YtDlp
) -> None:
    first = await ytdlp.run(site.url("/site/channel/big?n=10000"), playlist_items="1,9000", extract_flat=True)
    entry = first[0]["info"]["entries"][1]
    page = (await ytdlp.run(entry["url"]))[0]["info"]

    assert [request.query.get("page") for request in site.requests_for("/site/api/channel/big")] == [
        None,
        "89",
    ]
    assert entry["title"] == "big video 8999"
    for key in ("id", "title", "duration", "view_count", "upload_date", "channel", "uploader"):
        assert page[key] == entry[key], key


async def test_faults_among_the_entries_spoil_only_those(site: Site, ytdlp: YtDlp) -> None:
    url = site.url("/site/playlist/mix", n=4, fault="2:private,3:notfound", formats="bare")

    answer = (await ytdlp.run(url, download=True, ignoreerrors=True))[0]

    assert [bool(one) for one in answer["info"]["entries"]] == [True, False, False, True]
    assert len(ytdlp.files()) == 2


DOWNLOADS = {
    "/media/1mb/direct.mp4": ["h264", "aac"],
    "/hls/groups/groups.m3u8": ["h264", "aac"],
    "/hls/aes/aes.m3u8": ["h264", "aac"],
    "/dash/segments/segments.mpd": ["h264", "aac"],
    "/dash/single/single.mpd": ["h264", "aac"],
    "/live/live.m3u8?until=8&pace_ms=50": ["h264", "aac"],
    "/site/video/whole": ["h264", "opus"],
    "/site/video/adaptive?formats=hls": ["h264", "aac"],
    "/media/small/broken.mp4?break_after=150000": ["h264", "aac"],
    "/media/small/reset.mp4?break_every=150000&reset=1": ["h264", "aac"],
    "/media/small/unsized.mp4?chunked=1": ["h264", "aac"],
}


async def test_every_kind_of_media_downloads_into_a_playable_file(site: Site, ytdlp: YtDlp) -> None:
    answers = await ytdlp.run(*map(site.url, DOWNLOADS), download=True, outtmpl="%(id)s.%(ext)s")

    assert [answer.get("error") for answer in answers] == [None] * len(DOWNLOADS)
    files = {Path(name).stem: found for name, found in ytdlp.files().items()}
    for path, codecs in DOWNLOADS.items():
        name = path.partition("?")[0].rpartition("/")[2].partition(".")[0]
        assert files[name][0] == codecs, path
        assert files[name][1] > 1, path


async def test_a_break_is_resumed_with_a_range(site: Site, ytdlp: YtDlp) -> None:
    await ytdlp.run(site.url("/site/video/part?formats=bare&break_after=150000"), download=True)

    cut, rest = site.requests_for("/media/small/part.mp4")
    assert (cut.status, cut.bytes_sent, cut.cut, cut.aborted) == (200, 150_000, True, False)
    assert rest.range is not None
    assert (rest.status, rest.cut, rest.aborted) == (206, False, False)


async def test_a_length_that_lies_fails_the_download(site: Site, ytdlp: YtDlp) -> None:
    answer = (await ytdlp.run(site.url("/media/small/a.mp4?length_off=5000"), download=True))[0]

    assert "5000 more expected" in answer["error"]


async def test_garbage_fails_in_the_postprocessor(site: Site, ytdlp: YtDlp) -> None:
    extract = [{"key": "FFmpegExtractAudio", "preferredcodec": "mp3"}]
    urls = [site.url("/site/video/a?formats=unmergeable"), site.url("/site/video/b?formats=unconvertible")]

    answers = await ytdlp.run(*urls, download=True, postprocessors=extract)

    assert [answer["chain"][-1] for answer in answers] == ["FFmpegPostProcessorError", "PostProcessingError"]


async def test_sidecars_and_comments(site: Site, ytdlp: YtDlp) -> None:
    wanted = {
        "writesubtitles": True,
        "subtitleslangs": ["en", "de"],
        "writethumbnail": True,
        "write_all_thumbnails": True,
    }

    url = site.url("/site/video/a?formats=bare&comments=4")
    answer = (await ytdlp.run(url, download=True, getcomments=True, outtmpl="%(id)s.%(ext)s", **wanted))[0]

    assert set(ytdlp.files()) == {"a.mp4", "a.en.vtt", "a.de.vtt", "a.small.jpg", "a.large.jpg"}
    assert [one["parent"] for one in answer["info"]["comments"]] == ["root", "root", "c2", "root"]


async def test_a_premiere_can_be_waited_for(site: Site, ytdlp: YtDlp) -> None:
    answer = (await ytdlp.run(site.url("/site/upcoming/a?opens_in=1"), wait_for_video=[1, 2]))[0]

    assert answer["info"]["title"] == "Video a"


async def test_a_live_stream_can_be_had_from_its_start(site: Site, ytdlp: YtDlp) -> None:
    url = site.url("/site/live/a", pace_ms=10, until=30)

    await ytdlp.run(url, download=True, live_from_start=True)

    assert site.requests_for("/hls/files/live/seg0.ts")
    assert len(site.requests_for("/hls/files/live/*")) == 30


@pytest.mark.parametrize(("kind", "code"), [("segfault", -11), ("exit", 3)])
async def test_a_crash_is_a_real_one(site: Site, ytdlp: YtDlp, kind: str, code: int) -> None:
    child = await ytdlp.start([site.url(f"/site/{kind}/a")], download=False, params={})

    assert await asyncio.wait_for(child.wait(), 30) == code


async def test_a_killed_client_is_noticed_at_once(site: Site, ytdlp: YtDlp) -> None:
    urls = [site.url("/site/video/a?formats=bare&stall_after=100000")]
    child = await ytdlp.start(urls, download=True, params={})
    record = await site.wait_bytes("/media/small/a.mp4", 100_000)
    assert record.is_open
    assert site.active == 1

    child.kill()
    await child.wait()
    await site.wait_closed(record)

    assert record.aborted
    assert site.active == 0
