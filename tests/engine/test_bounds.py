"""What the operator and the safety of the server do not let a request or a site do."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.engine.rig import Rig, talking_tools
from tests.site import Site
from umd.engine import ffmpeg
from umd.engine.loader import Loader
from umd.engine.params import NETWORK_PROTOCOLS
from umd.engine.postprocessors import local_only

ODD = ["rtmp", "rtmps", "rtsp", "mms", "tcp", "udp", "rtp", "file", "ftp", "concat"]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def copying(site: Site, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    """An engine that may not encode video."""
    root: Path = tmp_path_factory.mktemp("copying")
    async with Rig(site, root, "fork", allow_reencode=False) as rig:
        yield rig


async def test_without_permission_to_encode_a_video_is_copied_or_refused(copying: Rig) -> None:
    mkv, webm, mp3 = await asyncio.gather(
        copying.download("/site/video/copied?formats=combined", video_format="mkv"),
        copying.download("/site/video/unfit?formats=combined", video_format="webm"),
        copying.download("/site/video/sound?formats=combined", audio_only=True),
    )

    assert copying.codecs(mkv.main) == {"h264", "aac"}
    assert webm.fault.code == "format_unavailable"
    assert "encoding is not permitted" in webm.fault.message
    assert not webm.fault.retryable
    assert copying.codecs(mp3.main) == {"mp3"}, "sound is always encoded where it has to be"


@pytest.mark.parametrize("scheme", ODD)
async def test_a_protocol_that_umd_does_not_speak_is_refused_before_any_connection(
    forking: Rig, scheme: str
) -> None:
    address = f"{scheme}://127.0.0.1:{forking.site.port}/odd/{scheme}"
    seen = len(forking.site.requests)
    run = await forking.download(f"/site/video/odd?formats=odd&odd={address}")

    assert run.fault.code == "unsupported_url"
    assert "protocols" in run.fault.message
    assert [record.path for record in forking.site.requests[seen:]] == ["/site/api/video/odd"]


async def test_of_several_formats_one_that_umd_can_fetch_is_taken(forking: Rig) -> None:
    run = await forking.download("/site/video/mixed?formats=odd%2B18&odd=rtmp://127.0.0.1:9/live")

    assert (run.finished.fault, run.metadata.height) == (None, 360)


async def test_every_input_of_ffmpeg_is_told_what_it_may_open(site: Site, tmp_path: Path) -> None:
    real = ffmpeg.find(tmp_path / "real")
    async with Rig(site, tmp_path / "data", "fork", talking_tools(real, tmp_path / "bin")) as rig:
        run = await rig.download(
            "/site/video/told?formats=split",
            download_sections=("*1-3",),
            video_format="mkv",
            embed_metadata=True,
        )

    calls = [line.split() for line in (run.folder / "argv.txt").read_text().splitlines()]
    inputs = [call[at - 2 : at + 2] for call in calls for at, word in enumerate(call) if word == "-i"]
    network = [one for one in inputs if one[3].startswith("http")]
    local = [one for one in inputs if not one[3].startswith("http")]
    assert [one[:2] for one in network] == [["-protocol_whitelist", NETWORK_PROTOCOLS]] * 2
    assert local
    assert {tuple(one[:2]) for one in local} == {("-protocol_whitelist", "file,pipe")}
    assert not {"file", "udp", "rtp", "concat"} & set(NETWORK_PROTOCOLS.split(","))


async def test_a_downloaded_playlist_does_not_send_ffmpeg_anywhere(forking: Rig) -> None:
    """A site may call a playlist a video: what processes the file must not follow it."""
    run = await forking.download(
        "/site/video/trap?formats=trap&media=/hls/to/trap.m3u8%3Fto%3D/media/small/sprung.mp4",
        audio_only=True,
    )

    assert run.fault.code == "unsupported_url"
    assert forking.site.requests_for("/media/small/sprung.mp4") == []


def test_every_step_that_runs_ffmpeg_is_kept_to_files() -> None:
    kept = local_only()

    for name in ("merger", "container", "audio", "metadata", "embedsubtitle", "splitchapters", "fixupm3u8"):
        assert kept[f"{name}+ffmpeg_i"] == ["-protocol_whitelist", "file,pipe"]


async def test_a_rate_limit_is_kept(forking: Rig) -> None:
    began = asyncio.get_running_loop().time()
    run = await forking.download("/media/1mb/limited.mp4", limit_rate=700_000)

    assert run.finished.fault is None
    assert 1.0 < asyncio.get_running_loop().time() - began < 4


def test_cookies_are_in_no_info_json() -> None:
    info = {
        "id": "x",
        "cookies": "session=s3cret",
        "formats": [{"url": "https://a.test/", "cookies": "s3cret", "http_headers": {"Cookie": "s3cret"}}],
    }

    assert "s3cret" not in str(Loader.sanitize_info(info, remove_private_keys=True))
