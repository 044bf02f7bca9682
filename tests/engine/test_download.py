import asyncio
from urllib.parse import urlencode

import pytest

from tests.engine.rig import Rig, Run
from tests.site.api import SESSION_COOKIE
from umd.domain.events import Chapter
from umd.engine.protocol import Extracted, Said, Tick


async def test_a_direct_file_arrives_whole(rig: Rig) -> None:
    run = await rig.download("/media/1mb/direct.mp4")

    original = rig.site.media.of_kind("1mb")
    assert original is not None
    assert run.main.read_bytes() == original.read_bytes()
    assert (run.main.name, run.files) == ("media.mp4", {"media.mp4"})
    assert (await run.attempt.wait()).status == 0
    assert ((await run.attempt.wait()).cpu_sec or 0) > 0


async def test_the_reports_tell_the_phases_and_the_metadata(rig: Rig) -> None:
    run = await rig.download("/site/video/told?formats=split", embed_metadata=True)

    assert run.phases == [
        ("extracting", None),
        ("downloading", None),
        ("processing", "Merger"),
        ("processing", "Metadata"),
        ("finished", None),
    ]
    assert len(run.of(Extracted)) == 1
    assert (run.metadata.id, run.metadata.title, run.metadata.extractor) == ("told", "Video told", "umdsite")
    assert run.metadata.uploader == "Una Uploader"
    assert run.metadata.tags == ("test", "pattern", "schön")
    assert run.metadata.chapters[0] == Chapter("Opening", 0.0, 3.0)
    assert (run.metadata.width, run.metadata.height, run.metadata.vcodec) == (1280, 720, "avc1.42c01f")
    assert "[download] Destination: media.f136.mp4" in run.lines


async def test_streams_are_merged_and_the_progress_is_one(rig: Rig) -> None:
    run = await rig.download("/site/video/merged?formats=split&rate=2000000")

    assert rig.codecs(run.main) == {"h264", "aac"}
    total = rig.site.media.size("video-720p") + rig.site.media.size("audio")
    percents = [one.percent for one in run.progress if one.percent is not None]
    assert percents == sorted(percents)
    assert len(percents) > 2
    assert {one.total_bytes for one in run.progress if one.phase == "downloading"} == {total}
    assert (run.progress[-1].percent, run.progress[-1].downloaded_bytes) == (100.0, total)


async def test_hls_and_dash_become_one_playable_file(forking: Rig) -> None:
    paths = ("/hls/groups/one.m3u8", "/hls/aes/one.m3u8", "/dash/segments/one.mpd")
    runs = await asyncio.gather(*map(forking.download, paths))

    for run in runs:
        assert forking.codecs(run.main) == {"h264", "aac"}
        assert run.files == {"media.mp4"}


async def test_metadata_and_chapters_are_embedded(forking: Rig) -> None:
    run = await forking.download("/site/video/tagged?formats=combined", embed_metadata=True)

    probed = forking.probe(run.main)
    assert probed["format"]["tags"]["title"] == "Video tagged"
    assert probed["format"]["tags"]["artist"] == "Una Uploader"
    assert [chapter["tags"]["title"] for chapter in probed["chapters"]] == [
        "Opening",
        "Middle / part",
        "Close",
    ]


AUDIO = {
    "mp3": (".mp3", "mp3", "mp3"),
    "m4a": (".m4a", "aac", "mov,mp4,m4a,3gp,3g2,mj2"),
    "flac": (".flac", "flac", "flac"),
    "wav": (".wav", "pcm_s16le", "wav"),
    "opus": (".opus", "opus", "ogg"),
    "aac": (".aac", "aac", "aac"),
    "vorbis": (".ogg", "vorbis", "ogg"),
}


@pytest.mark.parametrize("source", ["split", "combined"])
async def test_each_audio_format_has_its_codec_container_and_name(forking: Rig, source: str) -> None:
    async def extract(codec: str) -> Run:
        path = f"/site/video/{codec}?formats={source}"
        return await forking.download(path, audio_only=True, audio_format=codec, embed_metadata=True)

    for codec, run in zip(AUDIO, await asyncio.gather(*map(extract, AUDIO)), strict=True):
        probed = forking.probe(run.main)
        streams = {stream["codec_name"] for stream in probed["streams"] if stream["codec_type"] != "data"}
        assert (run.main.suffix, *streams, probed["format"]["format_name"]) == AUDIO[codec]
        assert run.files == {f"media{AUDIO[codec][0]}"}


async def test_an_audio_bitrate_is_obeyed(forking: Rig) -> None:
    low, high = await asyncio.gather(
        forking.download("/site/video/low", audio_only=True, audio_quality="96"),
        forking.download("/site/video/high", quality="audio", audio_quality="320"),
    )

    assert forking.probe(low.main)["streams"][0]["bit_rate"] == "96000"
    assert forking.probe(high.main)["streams"][0]["bit_rate"] == "320000"


CONTAINERS = {
    "mp4": "mov,mp4,m4a,3gp,3g2,mj2",
    "mov": "mov,mp4,m4a,3gp,3g2,mj2",
    "mkv": "matroska,webm",
    "webm": "matroska,webm",
    "avi": "avi",
    "flv": "flv",
}


@pytest.mark.parametrize("path", ["/media/n/0/c.mp4", "/media/vp9/c.webm"])
async def test_each_video_format_is_reached(forking: Rig, path: str) -> None:
    """By copying the streams, or where the container does not take them, by encoding."""

    async def convert(container: str) -> Run:
        return await forking.download(path, video_format=container)

    for container, run in zip(CONTAINERS, await asyncio.gather(*map(convert, CONTAINERS)), strict=True):
        assert run.main.name == f"media.{container}"
        probed = forking.probe(run.main)
        assert probed["format"]["format_name"] == CONTAINERS[container]
        assert "video" in {stream["codec_type"] for stream in probed["streams"]}
        assert run.files == {run.main.name}


@pytest.mark.parametrize(
    ("formats", "container", "codecs"),
    [
        ("242+249", "webm", {"vp9", "opus"}),
        ("242+249", "mp4", {"vp9", "opus"}),
        ("134+249", "mkv", {"h264", "opus"}),
        ("134+140", "flv", {"h264", "aac"}),
    ],
)
async def test_two_streams_come_into_each_kind_of_container(
    forking: Rig, formats: str, container: str, codecs: set[str]
) -> None:
    run = await forking.download("/site/video/pair", custom_format=formats, video_format=container)

    assert (run.main.name, forking.codecs(run.main)) == (f"media.{container}", codecs)


@pytest.mark.parametrize(
    ("quality", "height"),
    [("best", 2160), ("4k", 2160), ("1080p", 1080), ("720p", 720), ("480p", 480), ("360p", 360)],
)
async def test_a_quality_is_the_best_up_to_its_height(forking: Rig, quality: str, height: int) -> None:
    run = await forking.download("/site/video/ladder?formats=ladder", quality=quality)

    assert run.metadata.height == height


async def test_where_there_is_only_higher_the_lowest_is_taken(forking: Rig) -> None:
    run = await forking.download("/site/video/only-high?formats=high", quality="360p")

    assert run.metadata.height == 720


async def test_a_custom_format_wins_and_may_select_two_files(forking: Rig) -> None:
    run = await forking.download("/site/video/custom?formats=all", quality="1080p", custom_format="18,22")

    assert (run.files, run.main.name) == ({"media.mp4", "media-2.mp4"}, "media.mp4")
    assert run.metadata.height == 360


async def test_a_list_of_one_is_that_one_and_a_longer_list_is_refused(rig: Rig) -> None:
    one, many, none = await asyncio.gather(
        rig.download("/site/playlist/single?n=1&formats=bare"),
        rig.download(f"/site/channel/many-{rig.mode}?n=250"),
        rig.download("/feed/none.rss?n=0"),
    )

    assert (one.main.name, one.metadata.playlist_index) == ("media.mp4", 1)
    assert one.metadata.playlist == "All of single"
    assert (many.fault.code, none.fault.code) == ("unsupported_url", "unsupported_url")
    assert "/playlist/download" in many.fault.message
    fetched = rig.site.requests_for(f"/site/api/channel/many-{rig.mode}")
    assert len(fetched) == 1, "250 entries are not fetched to be refused"


async def test_what_a_site_calls_its_item_never_meets_the_file_system(forking: Rig) -> None:
    evil = {"title": "../../../../etc/cron.d/x\0\\..\\$(id)`id`;%n", "id": "../../x"}
    run = await forking.download(f"/site/video/evil?{urlencode({'formats': 'bare', **evil})}")

    assert run.files == {"media.mp4"}
    assert "\0" not in run.metadata.title
    assert run.metadata.id == "../../x", "whoever names a file by it makes it harmless"


async def test_a_talkative_plugin_does_not_disturb_the_reports(rig: Rig) -> None:
    run = await rig.download("/site/noisy/print?formats=bare&warn=Careful%20now")

    assert run.finished.fault is None
    assert any("Careful now" in one.message for one in run.of(Said) if one.level == "warning")
    assert not any("a plugin talks" in line for line in run.lines)


async def test_500_kb_a_second_shows_as_three_values_a_second_or_four(forking: Rig) -> None:
    run = await forking.begin("/media/50mb/paced.mp4?rate=500000")
    third = await run.told(lambda one: isinstance(one, Tick) and one.progress.downloaded_bytes > 700_000)
    await run.attempt.stop()

    ticks = [(at, one) for at, one in zip(run.at, run.reports, strict=True) if isinstance(one, Tick)]
    ticks = ticks[: ticks.index(next(pair for pair in ticks if pair[1] is third)) + 1]
    seconds = ticks[-1][0] - ticks[0][0]
    values = {one.progress.downloaded_bytes for _, one in ticks}
    assert 3 <= (len(values) - 1) / seconds <= 4.2
    assert 300_000 < (ticks[-1][1].progress.speed or 0) < 700_000


async def test_a_live_stream_is_recorded_with_signs_of_life(forking: Rig) -> None:
    """ffmpeg records it and yt-dlp is silent meanwhile. The clip is so small that it comes at the end."""
    run = await forking.download("/site/live/now?until=5&pace=0.3")

    assert run.metadata.is_live is True
    assert forking.codecs(run.main) == {"h264", "aac"}
    assert len([one for one in run.of(Tick) if one.progress.phase == "downloading"]) >= 2
    assert run.progress[-1].downloaded_bytes > 0


async def test_a_jar_opens_what_is_gated_and_leaves_no_trace(rig: Rig) -> None:
    jar = "\t".join(("127.0.0.1", "FALSE", "/", "FALSE", "0", *SESSION_COOKIE))

    without = await rig.download("/site/cookie/a")
    run = await rig.download("/site/cookie/a", cookies=f"# Netscape HTTP Cookie File\n{jar}\n")
    after = await rig.download("/site/cookie/a")

    assert without.fault.code == after.fault.code == "login_required"
    assert run.metadata.title == "Video a"
    assert run.files == {"media.mp4"}
    assert SESSION_COOKIE[1] not in " ".join(run.lines)
