import asyncio
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from tests.site import PLUGINS, Media, Site
from tests.site.api import SESSION_COOKIE
from tests.site.tools import Tools, find_tools

ROOT = Path(__file__).parents[2]
TOOLS = find_tools()


@pytest_asyncio.fixture
async def site() -> AsyncIterator[Site]:
    async with Site() as running:
        yield running


@pytest_asyncio.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


class YtDlp:
    """Real yt-dlp in a child process that knows the plugin, with the site's ffmpeg on its PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        tools = TOOLS.link_into(folder / "bin")
        self._environment = {
            "PATH": f"{tools}{os.pathsep}{os.defpath}",
            "PYTHONPATH": f"{ROOT}{os.pathsep}{PLUGINS}",
            "HOME": str(folder),
        }

    async def start(
        self, urls: list[str], download: bool, params: dict[str, Any]
    ) -> asyncio.subprocess.Process:
        into = self.folder / "out"
        into.mkdir(exist_ok=True)
        words = [sys.executable, "-m", "tests.site.child", str(self.folder / "results")]
        child = await asyncio.create_subprocess_exec(
            *words, stdin=-1, stdout=-3, stderr=-3, cwd=into, env=self._environment
        )
        assert child.stdin is not None
        child.stdin.write(json.dumps({"urls": urls, "download": download, "params": params}).encode())
        child.stdin.close()
        return child

    async def run(self, *urls: str, download: bool = False, **params: Any) -> list[dict[str, Any]]:  # noqa: ANN401
        """One answer for each URL: `{"info": ...}`, or `{"error": text, "chain": classes}`."""
        child = await self.start(list(urls), download, params)
        await asyncio.wait_for(child.wait(), 60)
        return [json.loads(line) for line in (self.folder / "results").read_text().splitlines()]

    def files(self) -> dict[str, tuple[list[str], float]]:
        """What lies in the folder: each file's codecs and its length in seconds."""
        return {path.name: _probe(path) for path in sorted((self.folder / "out").iterdir())}


def _probe(path: Path) -> tuple[list[str], float]:
    words = [str(TOOLS.ffprobe), "-v", "error", "-show_streams", "-show_format", "-of", "json", str(path)]
    found = json.loads(subprocess.run(words, capture_output=True, check=False).stdout or "{}")
    codecs = [stream["codec_name"] for stream in found.get("streams", [])]
    return codecs, float(found.get("format", {}).get("duration", 0))


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
    await site.wait_closed(record, timeout_sec=1)

    assert record.aborted
    assert site.active == 0


async def test_a_gate_holds_a_download_until_it_is_opened(site: Site, client: aiohttp.ClientSession) -> None:
    url = site.url("/media/small/a.mp4", stall_after=100_000, gate="half")
    answer = await client.get(url)
    record = await site.wait_bytes("/media/small/a.mp4", 100_000)
    assert (record.bytes_sent, record.is_open) == (100_000, True)

    site.open_gate("half")

    assert len(await answer.read()) == site.media.size("small")
    assert not (await site.wait_closed(record)).aborted


async def test_skip_and_times_choose_the_requests_that_fail(
    site: Site, client: aiohttp.ClientSession
) -> None:
    url = site.url("/media/small/a.mp4?fail=503&retry_after=7&skip=1&times=2")

    answers = [await client.head(url) for _ in range(4)]

    assert [answer.status for answer in answers] == [200, 503, 503, 200]
    assert answers[1].headers["Retry-After"] == "7"


async def test_ranges_are_honoured_to_the_byte(site: Site, client: aiohttp.ClientSession) -> None:
    async def get(wanted: str) -> tuple[int, bytes]:
        answer = await client.get(site.url("/media/small/a.mp4"), headers={"Range": wanted})
        return answer.status, await answer.read()

    whole = (site.media.root / "240p.mp4").read_bytes()

    assert await get("bytes=1000-1999") == (206, whole[1000:2000])
    assert await get("bytes=400000-") == (206, whole[400_000:])
    assert await get("bytes=-10") == (206, whole[-10:])
    assert (await get(f"bytes={len(whole)}-"))[0] == 416


async def test_rate_is_kept(site: Site, client: aiohttp.ClientSession) -> None:
    size = site.media.size("audio")

    await (await client.get(site.url("/media/audio/a.m4a", rate=size * 2))).read()

    record = await site.wait_closed("/media/audio/a.m4a")
    assert record.closed_at is not None
    assert 0.45 < record.closed_at - record.opened_at < 1.5


async def test_a_misspelt_knob_is_refused(site: Site, client: aiohttp.ClientSession) -> None:
    assert (await client.get(site.url("/media/small/a.mp4?stal_after=1"))).status == 400
    assert (await client.get(site.url("/media/small/a.mp4?rate=fast"))).status == 400


async def test_peak_counts_what_was_open_together(site: Site, client: aiohttp.ClientSession) -> None:
    urls = [site.url(f"/media/small/{number}.mp4?hold=all") for number in range(5)]
    tasks = [asyncio.create_task(client.get(url)) for url in urls]
    await site.wait_active(5)

    site.open_gate("all")
    for answer in await asyncio.gather(*tasks):
        await answer.read()

    await site.wait_active(0)
    assert site.peak("/media/small/*") == site.max_active == 5


async def test_stop_ends_what_still_hangs_and_may_be_called_twice(client: aiohttp.ClientSession) -> None:
    site = Site()
    await site.start()
    stalled = await client.get(site.url("/media/50mb/a.mp4?stall_after=1000"))
    hanging = asyncio.create_task(client.get(site.url("/site/api/hang/a"), raise_for_status=True))
    await site.wait_request("/site/api/hang/a")

    async with asyncio.timeout(3):
        await site.stop()
        await site.stop()

    with pytest.raises(aiohttp.ClientError):
        await stalled.read()
    with pytest.raises(aiohttp.ClientError):
        await hanging
    assert [record.is_open for record in site.requests] == [False, False]


async def test_a_wait_that_fails_says_what_was_seen(site: Site, client: aiohttp.ClientSession) -> None:
    await client.get(site.url("/text/a.txt"))

    with pytest.raises(TimeoutError, match=r"request 1 for /media/\*.*GET /text/a.txt 200"):
        await site.wait_request("/media/*", 0.01)


async def test_another_process_can_read_the_journal_and_open_gates(
    site: Site, client: aiohttp.ClientSession
) -> None:
    held = asyncio.create_task(client.get(site.url("/text/a.txt?page_hold=door")))
    await site.wait_request("/text/a.txt")

    await client.put(site.url("/_site/gates/door"))
    await held

    journal = await (await client.get(site.url("/_site/requests?path=/text/*"))).json()
    assert [record["path"] for record in journal["requests"]] == ["/text/a.txt"]


def test_the_forty_are_distinct_and_of_the_sizes_that_were_asked_for() -> None:
    media = Media.ensure()
    files = [path.read_bytes() for path in map(media.numbered, range(40)) if path]

    assert len({hashlib.sha256(data).digest() for data in files}) == 40
    assert all(260_000 < len(data) < 2_100_000 for data in files)
    assert 45_000_000 < media.size("50mb") < 60_000_000


def test_media_that_failed_to_be_made_are_not_there(tmp_path: Path) -> None:
    useless = Path(sys.executable)  # Ends with an error at the first option.

    with pytest.raises(RuntimeError, match="ffmpeg ended with"):
        Media.ensure(tmp_path, Tools(useless, useless))

    assert [path for path in tmp_path.iterdir() if path.is_dir() and path.suffix != ".tmp"] == []
