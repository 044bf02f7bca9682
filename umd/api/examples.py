"""What requests and answers look like, for the OpenAPI document: checked against their types by a test."""

from collections.abc import Mapping
from typing import Any

import msgspec

from umd import __version__
from umd.api import batch_views, cookies, deliveries, health, log, probe_views, stats, token, views
from umd.api.context import Check
from umd.api.download import DeletionRequest
from umd.api.problems import MEANINGS, Problem
from umd.clock import SECOND, Micros, rfc3339
from umd.domain import webhooks
from umd.domain.batch import Batch, BatchState
from umd.domain.deliveries import Delivery, DeliveryState
from umd.domain.events import File, JobStarted, Limits, Metadata, Progress, Tally
from umd.domain.job import Job, State
from umd.domain.options import (
    BatchDownloadRequest,
    BatchOrder,
    ChannelDownloadRequest,
    DownloadRequest,
    PlaylistDownloadRequest,
)
from umd.engine.protocol import Format
from umd.log.show import LogRow

AT: Micros = 1_790_000_000 * SECOND
BASE = "https://umd.example"
JOB_ID = "01kbs0c4xkq3v8j7m2n5p6r9ta"
URL = "https://example.com/video.mp4"
COOKIES = "# Netscape HTTP Cookie File\n.example.com\tTRUE\t/\tTRUE\t0\tsession\t1\n"
SIGNED = "u2Y0oDq9c1R7mJ5tKx8vLw3sNzBhEaGfTiPpXyQrZk4"


def problem(code: str) -> dict[str, Any]:
    """A problem of this code."""
    status, title, retry_after = MEANINGS[code]
    body = Problem(
        f"urn:umd:problem:{code}",
        title,
        status,
        f"{title}.",
        code,
        JOB_ID,
        "/api/v1/download",
        None,
        retry_after,
    )
    return _plain(body)


def _plain(value: msgspec.Struct) -> dict[str, Any]:
    """A value as its JSON has it."""
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(value))
    return plain


def _job() -> Job:
    """A job that was completed."""
    return Job(
        job_id=JOB_ID,
        state=State.COMPLETED,
        request=DownloadRequest(url=URL),
        limits=Limits(1_800, 3, 5, 3_600),
        owner="anonymous",
        created_at=AT,
        attempt=1,
        started_at=AT + SECOND // 5,
        ended_at=AT + 4 * SECOND,
        progress=Progress("finished", 100.0, 1_048_576, 1_048_576),
        metadata=Metadata("video", "A video", "generic", URL, duration=12.5),
        files=(File("videos/A video-video.mp4", 1_048_576, "9f" * 32, "video/mp4", "mp4", "media"),),
        delete_at=AT + 3_604 * SECOND,
    )


def _file_url(path: str) -> str:
    return f"{BASE}/api/v1/files/{path}?expires=1790003604&key=5d41402a&signature={SIGNED}"


_job_shown = views.response_of(_job(), _job().progress, None, AT + 5 * SECOND, BASE, _file_url)
_started = msgspec.json.encode(JobStarted(1, "2026.10.26"))
_NOW = rfc3339(AT + 5 * SECOND)
_jar = cookies.CookieResponse(
    JOB_ID, "a-site", ("example.com",), None, "active", _NOW, None, update=False, updated_at=None
)
_delivery = deliveries.DeliveryResponse(
    f"msg_{JOB_ID}_2", "download.completed", DeliveryState.DELIVERED, 1, _NOW, None, _NOW, 204, None
)
_batch_delivery = msgspec.structs.replace(
    _delivery, delivery_id=f"msg_batch_{JOB_ID}_1", event="batch.completed"
)
_told = Delivery(
    number=2,
    event="download.completed",
    at=AT + 4 * SECOND,
    status="completed",
    attempt=1,
    files=_job().files,
    due_at=AT + 4 * SECOND,
)
_whole = Batch(
    batch_id=JOB_ID,
    state=BatchState.COMPLETED,
    order=BatchOrder(playlist=PlaylistDownloadRequest(url="https://example.com/playlist")),
    limits=_job().limits,
    owner="anonymous",
    created_at=AT,
    title="A playlist",
)
_batch_told = Delivery(
    number=1,
    event="batch.completed",
    at=AT + 4 * SECOND,
    status="completed",
    tally=Tally(completed=1),
    due_at=AT + 4 * SECOND,
)
_batch = batch_views.BatchSummary(
    batch_id=JOB_ID,
    kind="playlist",
    title="A playlist",
    status="completed",
    total_jobs=1,
    completed_jobs=1,
    failed_jobs=0,
    running_jobs=0,
    queued_jobs=0,
    cancelled_jobs=0,
    skipped_jobs=0,
    progress_percent=100.0,
    created_at=_job_shown.created_at,
    started_at=_job_shown.started_at,
    completed_at=_job_shown.completed_at,
    duration_sec=3.8,
    error=None,
)
_batch_job = batch_views.BatchJob(
    JOB_ID,
    URL,
    "completed",
    "A video",
    _job_shown.progress,
    _job_shown.file_info,
    None,
    _job_shown.created_at,
    _job_shown.completed_at,
)

_format = Format(
    format_id="22",
    ext="mp4",
    container=None,
    resolution="1280x720",
    width=1280,
    height=720,
    fps=25.0,
    vcodec="avc1.42c01f",
    acodec="mp4a.40.2",
    filesize=1_048_576,
    filesize_approx=None,
    tbr=948.0,
    vbr=None,
    abr=None,
    asr=44_100,
    format_note="720p",
    quality=None,
    protocol="https",
    language=None,
    dynamic_range="SDR",
)
_formats = probe_views.FormatsResponse(
    url=URL,
    title="A video",
    duration=12.5,
    thumbnail=None,
    formats=probe_views.Formats([_format], [], []),
    best_video_format=None,
    best_audio_format=None,
    recommended_format="22",
    subtitles={"en": ("vtt",)},
    automatic_captions={},
    extractor="generic",
)
_metadata = probe_views.MetadataResponse(
    url=URL,
    metadata=Metadata("video", "A video", "generic", URL, duration=12.5),
    thumbnails=(),
    formats_available=1,
    is_playlist=False,
    playlist_count=None,
    subtitles_available=probe_views.Available(["en"], []),
    extractor="generic",
    extracted_at=_NOW,
    info=None,
    info_left_out=(),
)
_item = probe_views.PreviewItem("video", "A video", URL, 12.5, 98_765, "Ada", "20260921", None, 1)
_preview = probe_views.PlaylistPreviewResponse(
    url="https://example.com/playlist",
    playlist_id="playlist",
    title="A playlist",
    uploader="Ada",
    uploader_id="@ada",
    description=None,
    total_items=1,
    items=[_item],
    page=1,
    page_size=20,
    total_pages=1,
    has_next=False,
    has_previous=False,
    extractor="generic",
)
_channel = probe_views.ChannelInfoResponse(
    url="https://example.com/channel",
    channel_id="channel",
    channel_name="A channel",
    title="A channel",
    uploader="Ada",
    uploader_id="@ada",
    description=None,
    subscriber_count=12_345,
    video_count=1,
    filtered_video_count=1,
    unknown_video_count=0,
    videos=[_item],
    filters_applied={"min_duration": 10},
    page=1,
    page_size=20,
    total_pages=1,
    has_next=False,
    has_previous=False,
    extractor="generic",
)

EXAMPLES: Mapping[type[msgspec.Struct], dict[str, Any]] = {
    DownloadRequest: {"url": URL, "quality": "1080p", "priority": 5},
    BatchDownloadRequest: {"urls": [URL, f"{BASE}/other.mp4"], "concurrent_limit": 2},
    PlaylistDownloadRequest: {"url": "https://example.com/playlist", "items": "1-10,15"},
    ChannelDownloadRequest: {"url": "https://example.com/channel", "max_downloads": 20},
    DeletionRequest: {"delete_at": "2026-09-22T14:13:20Z"},
    token.TokenRequest: {"path": f"/api/v1/download/{JOB_ID}/events"},
    cookies.CookiesUploadRequest: {"name": "a-site", "cookies": COOKIES},
    Problem: problem("job_not_found"),
    webhooks.DownloadWebhook: msgspec.json.decode(webhooks.body(_job(), _told, BASE)),
    webhooks.BatchWebhook: msgspec.json.decode(webhooks.batch_body(_whole, _batch_told, BASE)),
    **{
        type(value): _plain(value)
        for value in (
            _job_shown,
            views.DownloadList([_job_shown], None),
            _batch,
            _formats,
            _metadata,
            _preview,
            _channel,
            batch_views.BatchDownloadResponse(**msgspec.structs.asdict(_batch), jobs=[_batch_job]),
            batch_views.BatchList([_batch], None),
            views.LogsResponse(
                JOB_ID, [views.LogEntry(_NOW, "info", "[generic] video: Reading", 4)], 1, False
            ),
            views.CancelResponse(JOB_ID, "cancelled", 1, "The job is cancelled.", _NOW),
            log.LogPage(
                [
                    LogRow(
                        4,
                        f"job-{JOB_ID}",
                        4,
                        "event",
                        "job.started",
                        1,
                        _NOW,
                        "",
                        3,
                        msgspec.Raw(_started),
                    )
                ],
                None,
                0,
            ),
            token.TokenResponse(SIGNED, f"/api/v1/download/{JOB_ID}/events", rfc3339(AT + 65 * SECOND)),
            _jar,
            cookies.CookieList([_jar], None),
            cookies.DeleteResponse(JOB_ID, "cookies", "deleted", "The jar is gone.", _NOW),
            _delivery,
            deliveries.DeliveriesResponse(JOB_ID, [_delivery]),
            deliveries.BatchDeliveriesResponse(JOB_ID, [_batch_delivery]),
            health.HealthResponse(
                "healthy",
                __version__,
                False,
                5.2,
                {"storage": Check("healthy", "There is space.", {"free_bytes": 10**11})},
                _NOW,
            ),
            health.ProbeResponse("ready", _NOW),
            stats.StatsResponse(
                jobs={
                    "queued": 0,
                    "running": 1,
                    "paused": 0,
                    "completed": 57,
                    "failed": 3,
                    "cancelled": 0,
                },
                success_rate=0.95,
                average_download_time=6.5,
                p95_queue_latency=0.02,
                queue_depth=0,
                active_downloads=1,
                total_bytes_downloaded=6_912_345_678,
                storage_used_bytes=1_234_567_890,
                storage_available_bytes=98_765_432_100,
                storage_quota_bytes=0,
                events_total=812,
                last_position=1_215,
                errors_by_code={"geo_blocked": 1, "private": 2},
                requests_per_minute=42,
                uptime_seconds=86_400.0,
                ytdlp_version="2026.10.26",
                python_version="3.11.7",
                timestamp=_NOW,
            ),
        )
    },
}
