"""Each way in which a site says no, as the code that a client gets."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.engine.rig import Rig, Run
from tests.site import Site
from umd.engine.ffmpeg import Tools

REFUSALS = {
    "/site/private/x": "private",
    "/site/login/x": "login_required",
    "/site/members/x": "login_required",
    "/site/cookie/x": "login_required",
    "/site/age/x": "age_restricted",
    "/site/geo/x": "geo_blocked",
    "/site/legal/x": "geo_blocked",
    "/site/drm/x": "drm_protected",
    "/site/removed/x": "not_found",
    "/site/notfound/x": "not_found",
    "/site/gone/x": "not_found",
    "/site/botcheck/x": "blocked_by_site",
    "/site/forbidden/x": "blocked_by_site",
    "/site/throttled/x": "rate_limited_by_site",
    "/site/ratelimited/x": "rate_limited_by_site",
    "/site/notlive/x": "live_not_started",
    "/site/upcoming/x": "live_not_started",
    "/site/noformats/x": "format_unavailable",
    "/site/broken/x": "upstream_error",
    "/site/down/x": "upstream_error",
    "/site/bug/x": "internal",
    "/status/404/x": "not_found",
    "/status/403/x": "blocked_by_site",
    "/status/503/x": "upstream_error",
    "/status/401/x": "login_required",
    "/media/small/forbidden.mp4?fail=403&skip=1": "blocked_by_site",
    "/media/small/failing.mp4?fail=500&skip=1": "upstream_error",
    "/media/small/cut.mp4?break_after=50000&ranges=0": "network",
    "/media/small/reset.mp4?break_after=50000&reset=1&ranges=0": "network",
    "/media/small/short.mp4?length_off=1000&ranges=0": "network",
    "/hls/to/hole.m3u8?to=/media/nothing": "not_found",
    "/redirect?to=loop": "upstream_error",
    "http://127.0.0.1:9/nobody.mp4": "network",
    "http://nowhere.invalid/x.mp4": "network",
    "/text/words.txt": "unsupported_url",
    "/json/data.json": "unsupported_url",
    "/thumb/large.jpg": "unsupported_url",
    "/page/empty/x.html": "unsupported_url",
    "/site/playlist/x": "unsupported_url",
    "/site/video/x?formats=unmergeable": "postprocessing_failed",
}


async def test_every_refusal_has_its_code(forking: Rig) -> None:
    gate = asyncio.Semaphore(8)

    async def refused(path: str) -> Run:
        async with gate:
            return await forking.download(path)

    runs = await asyncio.gather(*map(refused, REFUSALS))

    assert [run.lines for run in runs if run.finished.fault is None] == []
    codes = {path: (run.fault.code, run.fault.message) for path, run in zip(REFUSALS, runs, strict=True)}
    assert {path: code for path, (code, _) in codes.items()} == REFUSALS, codes
    for _, message in codes.values():
        assert message[0].isupper()
        assert not any(
            word in message for word in ("ERROR:", "--", "github.com", "Traceback", str(forking.root))
        )


@pytest.mark.parametrize(
    ("path", "options", "code"),
    [
        ("/site/video/f?formats=combined", {"custom_format": "137"}, "format_unavailable"),
        ("/site/video/f?formats=combined", {"custom_format": "best[height<"}, "format_unavailable"),
        ("/site/video/f?formats=combined", {"custom_format": "(" * 500}, "format_unavailable"),
        ("/media/small/big.mp4", {"max_filesize": 100_000}, "too_large"),
        ("/media/small/unknown.mp4?chunked=1", {"max_filesize": 100_000}, "too_large"),
        ("/hls/master/big.m3u8", {"max_filesize": 150_000}, "too_large"),
        ("/hls/master/big.m3u8", {"max_filesize": 400_000}, "too_large"),
        ("/site/video/f?formats=split", {"max_filesize": 1_000_000}, "too_large"),
        ("/site/video/x?formats=unconvertible", {"audio_only": True}, "postprocessing_failed"),
    ],
)
async def test_what_a_client_asks_for_can_be_refused(
    forking: Rig, path: str, options: dict[str, Any], code: str
) -> None:
    run = await forking.download(path, **options)

    assert run.fault.code == code, run.fault
    assert (await run.attempt.wait()).status == 1


async def test_an_answer_without_a_byte_is_no_result(forking: Rig) -> None:
    run = await forking.download("/media/small/nothing.mp4?break_after=0&chunked=1&skip=1")

    assert run.fault.code in ("upstream_error", "network"), run.fault


async def test_secrets_of_a_url_are_in_no_line_and_no_message(forking: Rig) -> None:
    run = await forking.download("/site/private/hush?token=s3cret&auth=hunter2#frag=s3cret")
    text = "\n".join([*run.lines, run.fault.message])

    assert "/site/private/hush" in text
    assert "s3cret" not in text
    assert "hunter2" not in text


async def test_without_ffmpeg_a_job_that_needs_it_says_so_before_it_downloads(
    site: Site, tmp_path: Path
) -> None:
    async with Rig(site, tmp_path, "fork", Tools(str(tmp_path / "nothing"))) as bare:
        plain = await bare.download("/media/small/plain.mp4")
        audio = await bare.download("/media/small/wants-audio.mp4", audio_only=True)
        merge = await bare.download("/site/video/wants-merge?formats=split")

    assert plain.finished.fault is None
    assert (audio.fault.code, merge.fault.code) == ("ffmpeg_missing", "ffmpeg_missing")
    assert bare.site.requests_for("/media/small/wants-audio.mp4") == []
    assert bare.site.requests_for("/media/*/wants-merge.*") == []


async def test_a_full_disk_is_told_as_such(forking: Rig) -> None:
    """`/dev/full` in the place of the partial file: every write to it fails with ENOSPC."""
    folder = forking.folder()
    (folder / "media.mp4.part").symlink_to("/dev/full")

    run = await forking.download("/media/small/full.mp4", folder=folder)

    assert run.fault.code == "storage_full", run.fault
