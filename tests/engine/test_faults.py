"""yt-dlp's own errors, chained as it chains them, and the codes that they become."""

import errno
import http.client
import io
from urllib.error import URLError

import pytest
from yt_dlp.networking.common import Response
from yt_dlp.networking.exceptions import (
    CertificateVerifyError,
    HTTPError,
    IncompleteRead,
    NoSupportingHandlers,
    ProxyError,
    SSLError,
    TransportError,
)
from yt_dlp.postprocessor.ffmpeg import FFmpegPostProcessorError
from yt_dlp.utils import (
    DownloadError,
    ExtractorError,
    GeoRestrictedError,
    PostProcessingError,
    UnavailableVideoError,
    UnsupportedError,
    UserNotLive,
)

from umd.domain.faults import RETRYABLE
from umd.engine import faults


def http_error(status: int) -> HTTPError:
    reason = http.client.responses.get(status, "")
    return HTTPError(Response(io.BytesIO(), "http://site.test/x", {}, status, reason))


def reported(error: BaseException, prefix: str = "") -> DownloadError:
    """As `YoutubeDL.report_error` makes it while it handles another."""
    made = DownloadError(f"ERROR: {prefix}{error}", (type(error), error, None))
    made.__context__ = error
    return made


def extracted(message: str, cause: Exception | None = None, *, expected: bool = True) -> DownloadError:
    error = ExtractorError(message, expected=expected, cause=cause, video_id="premium-login", ie="site")
    return reported(error)


CASES: dict[str, list[BaseException]] = {
    "storage_full": [
        OSError(errno.ENOSPC, "No space left on device"),
        reported(OSError(errno.EDQUOT, "Disk quota exceeded"), "unable to write data: "),
        UnavailableVideoError(OSError(errno.ENOSPC, "No space left on device")),
        reported(FFmpegPostProcessorError("av_interleaved_write_frame(): No space left on device")),
    ],
    "too_large": [
        reported(OSError(errno.EFBIG, "File too large"), "unable to write data: "),
        DownloadError("ERROR: ffmpeg exited with code -25"),
    ],
    "ffmpeg_missing": [
        DownloadError("ERROR: You have requested merging of formats but ffmpeg is not installed. Aborting"),
        reported(PostProcessingError("ffprobe and ffmpeg not found. Please install")),
        DownloadError("ERROR: m3u8 download detected but ffmpeg could not be found. Please install"),
    ],
    "drm_protected": [extracted("This video is DRM protected")],
    "geo_blocked": [
        reported(GeoRestrictedError("This video is not available", countries=["DE"])),
        extracted("Unable to download webpage", http_error(451)),
        extracted("The uploader has not made this video available in your country"),
    ],
    "live_not_started": [
        reported(UserNotLive()),
        extracted("Premieres in 30 minutes"),
        extracted("This live event will begin in 2 hours."),
    ],
    "private": [extracted("Private video. Sign in if you've been granted access to this video")],
    "blocked_by_site": [
        extracted("Sign in to confirm you’re not a bot. Use --cookies"),
        extracted("Unable to download webpage", http_error(403)),
        extracted("Got HTTP Error 403 caused by Cloudflare anti-bot challenge"),
    ],
    "age_restricted": [extracted("Sign in to confirm your age. This may be inappropriate for some users.")],
    "rate_limited_by_site": [
        extracted("Unable to download JSON", http_error(429)),
        extracted("Video unavailable. The session has been rate-limited by the site"),
    ],
    "login_required": [
        extracted("This video is only available for registered users"),
        extracted("Join this channel to get access to members-only content"),
        extracted("Unable to download webpage", http_error(401)),
    ],
    "not_found": [
        extracted("Unable to download webpage", http_error(404)),
        extracted("Video unavailable. This video has been removed by the uploader"),
        reported(http_error(410), "unable to download video data: "),
    ],
    "format_unavailable": [
        extracted("Requested format is not available. Use --list-formats for a list"),
        SyntaxError("Invalid format specification: (("),
        RecursionError("maximum recursion depth exceeded"),
    ],
    "unsupported_url": [
        reported(UnsupportedError("https://site.test/sign-in/premium/private-video")),
        NoSupportingHandlers([], []),
        DownloadError("ERROR: The extracted extension ('exe') is unusual and will be skipped for safety"),
    ],
    "upstream_error": [
        extracted("Unable to download webpage", http_error(503)),
        extracted("Unable to download webpage", http_error(418)),
        DownloadError("ERROR: The downloaded file is empty"),
        extracted("The uploader did not like this"),
    ],
    "network": [
        reported(TransportError("[Errno 111] Connection refused")),
        reported(IncompleteRead(10, 90)),
        DownloadError("ERROR: \r[download] Got error: 10 bytes read, 90 more expected"),
        reported(CertificateVerifyError("self-signed certificate")),
        reported(SSLError("EOF occurred")),
        reported(ProxyError("Tunnel connection failed")),
        extracted("Unable to download webpage", TransportError(cause=URLError("timed out"))),
        TimeoutError("timed out"),
    ],
    "postprocessing_failed": [
        reported(PostProcessingError("audio conversion failed: Conversion failed!")),
        DownloadError("ERROR: ffmpeg exited with code 1"),
    ],
    "worker_crashed": [MemoryError()],
    "internal": [
        extracted("An extractor error has occurred.", KeyError("x"), expected=False),
        KeyError("a key that the site no longer sends"),
        AssertionError(),
    ],
}


@pytest.mark.parametrize("code", CASES)
def test_every_error_has_its_code(code: str) -> None:
    found = [faults.explain(error) for error in CASES[code]]

    assert [fault.code for fault in found] == [code] * len(found), found
    assert {fault.retryable for fault in found} == {RETRYABLE[code]}
    assert all(fault.message[0].isupper() for fault in found)


def test_every_code_of_an_attempt_is_made_here_or_by_those_who_watch_it() -> None:
    by_others = {"timeout", "address_not_allowed", "domain_not_allowed", "cookies_not_found"}
    assert RETRYABLE.keys() - CASES.keys() == by_others
    assert {row.code for row in faults.TABLE} <= RETRYABLE.keys()


@pytest.mark.parametrize(
    ("heard", "code"),
    [
        (["[https @ 0x1] HTTP error 403 Forbidden", "Error opening input"], "blocked_by_site"),
        (["Error opening input: Server returned 5XX Server Error reply"], "upstream_error"),
        (["av_interleaved_write_frame(): No space left on device"], "storage_full"),
        (["http://site.test/live.m3u8: Input/output error"], "network"),
        (["Stream #0:0: Video: h264"], "postprocessing_failed"),
    ],
)
def test_where_ffmpeg_downloads_its_last_words_decide(heard: list[str], code: str) -> None:
    assert faults.explain(DownloadError("ERROR: ffmpeg exited with code 1"), heard).code == code


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            extracted("Private video. Sign in if you may. Use --cookies-from-browser or --cookies for it"),
            "The item is private. (Private video. Sign in if you may)",
        ),
        (
            extracted(
                "Unable to download webpage: HTTP Error 404: Not Found (caused by <X>)", http_error(404)
            ),
            "The site has no such item. (Unable to download webpage: HTTP Error 404: Not Found)",
        ),
        (
            extracted("Broken; please report this issue on  https://github.com/yt-dlp", expected=False),
            "This item made yt-dlp fail; another release of it may do better. (Broken)",
        ),
        (
            extracted("The film at https://u:p@site.test/x?token=s3cret\x1b[31m\x07 is gone"),
            "The site refused. (The film at https://site.test/x?… is gone)",
        ),
    ],
    ids=["advice", "cause", "boilerplate", "secrets"],
)
def test_messages_are_for_people_and_hold_no_secrets(error: DownloadError, message: str) -> None:
    assert faults.explain(error).message == message
