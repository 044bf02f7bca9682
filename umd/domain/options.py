"""What a client may ask of a download: the request types, with their bounds.

The types are the wire types: the API decodes them, the event log keeps them, the engine reads them.
`msgspec` holds each field to its type and bounds; what types cannot say stands in `umd.domain.validation`.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Quality = Literal["best", "4k", "1080p", "720p", "480p", "360p", "audio"]
VideoFormat = Literal["mp4", "mkv", "webm", "mov", "avi", "flv"]
AudioFormat = Literal["mp3", "m4a", "flac", "wav", "opus", "aac", "vorbis"]
AudioQuality = Literal["96", "128", "192", "256", "320", "best"]
SubtitleFormat = Literal["srt", "vtt", "ass", "lrc"]
ThumbnailFormat = Literal["jpg", "png", "webp"]
SponsorBlockCategory = Literal[
    "sponsor", "intro", "outro", "selfpromo", "preview", "filler", "interaction", "music_offtopic", "hook"
]
WebhookEvent = Literal[
    "download.started",
    "download.completed",
    "download.failed",
    "download.cancelled",
    "download.files_deleted",
    "batch.completed",
]

LanguagePattern = Annotated[str, Meta(min_length=1, max_length=32, pattern=r"^-?[A-Za-z0-9_.*-]+$")]
Section = Annotated[str, Meta(min_length=1, max_length=200)]
Url = Annotated[str, Meta(min_length=1, max_length=2048)]
PathTemplate = Annotated[str, Meta(min_length=1, max_length=512)]

RETENTION_SEC_MAX = 31_536_000
DEFAULT_TEMPLATE = "videos/{safe_title}-{id}.{ext}"


class MediaOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The options that every kind of download shares. Sizes are bytes, durations are seconds."""

    quality: Quality = "best"
    custom_format: Annotated[str, Meta(min_length=1, max_length=512)] | None = None
    video_format: VideoFormat = "mp4"
    audio_only: bool = False
    audio_format: AudioFormat = "mp3"
    audio_quality: AudioQuality = "192"
    download_subtitles: bool = False
    auto_subtitles: bool = False
    embed_subtitles: bool = False
    subtitle_languages: Annotated[tuple[LanguagePattern, ...], Meta(min_length=1, max_length=50)] = ("en",)
    subtitle_format: SubtitleFormat = "srt"
    write_thumbnail: bool = False
    all_thumbnails: bool = False
    embed_thumbnail: bool = False
    thumbnail_format: ThumbnailFormat | None = None
    embed_metadata: bool = True
    embed_chapters: bool = False
    split_chapters: bool = False
    sponsorblock_remove: Annotated[tuple[SponsorBlockCategory, ...], Meta(max_length=9)] = ()
    write_info_json: bool = False
    write_description: bool = False
    write_comments: bool = False
    download_sections: Annotated[tuple[Section, ...], Meta(max_length=20)] = ()
    live_from_start: bool = False
    wait_for_video_sec: Annotated[int, Meta(ge=1, le=86_400)] | None = None
    path_template: PathTemplate = DEFAULT_TEMPLATE
    max_filesize: Annotated[int, Meta(ge=1, le=2**50)] | None = None
    limit_rate: Annotated[int, Meta(ge=1_024, le=2**40)] | None = None
    cookies_id: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    proxy: Annotated[str, Meta(min_length=1, max_length=2048)] | None = None
    retries: Annotated[int, Meta(ge=0, le=20)] | None = None
    priority: Annotated[int, Meta(ge=-10, le=10)] = 0
    timeout_sec: Annotated[int, Meta(ge=60, le=7_200)] | None = None
    retention_sec: Annotated[int, Meta(ge=0, le=RETENTION_SEC_MAX)] | msgspec.UnsetType | None = msgspec.UNSET
    webhook_url: Url | None = None
    webhook_secret: Annotated[str, Meta(min_length=1, max_length=512)] | None = None
    webhook_events: Annotated[tuple[WebhookEvent, ...], Meta(max_length=6)] | None = None


class DownloadRequest(MediaOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One download: the options and the address of one item."""

    url: Url


def wants_audio(options: MediaOptions) -> bool:
    """Whether only the sound is wanted."""
    return options.audio_only or options.quality == "audio"
