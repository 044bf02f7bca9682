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

LanguagePattern = Annotated[str, Meta(min_length=1, max_length=32, pattern=r"^-?[A-Za-z0-9_.*-]+(?!\n)$")]
Section = Annotated[str, Meta(min_length=1, max_length=200)]
Url = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=2048,
        extra_json_schema={"format": "uri", "pattern": "^[Hh][Tt][Tt][Pp][Ss]?://"},
    ),
]
PathTemplate = Annotated[str, Meta(min_length=1, max_length=512)]

RETENTION_SEC_MAX = 31_536_000
DEFAULT_TEMPLATE = "videos/{safe_title}-{id}.{ext}"


class MediaOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
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


PLAYLIST_TEMPLATE = "playlists/{playlist}/{playlist_index}-{safe_title}.{ext}"
CHANNEL_TEMPLATE = "channels/{uploader}/{date}-{safe_title}.{ext}"

BatchKind = Literal["batch", "playlist", "channel"]
SortField = Literal["upload_date", "view_count", "duration", "title"]
SortOrder = Literal["asc", "desc"]
Date = Annotated[str, Meta(max_length=8)]
Count = Annotated[int, Meta(ge=0, le=2**53)]
Position = Annotated[int, Meta(ge=1, le=1_000_000)]


class BatchOptions(MediaOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every kind of batch shares: how many downloads may be under way, and what a failure means."""

    concurrent_limit: Annotated[int, Meta(ge=1, le=10)] = 3
    ignore_errors: bool = True


class BatchDownloadRequest(BatchOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One download for each address."""

    urls: Annotated[tuple[Url, ...], Meta(min_length=1, max_length=100)]
    stop_on_error: bool = False


class PlaylistDownloadRequest(BatchOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One download for each selected item of a playlist. `items` are yt-dlp's ranges, counted from 1."""

    url: Url
    items: Annotated[str, Meta(min_length=1, max_length=1_000)] | None = None
    start: Position | None = None
    end: Position | None = None
    item_ids: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=200)], ...], Meta(max_length=1_000)
    ] = ()
    reverse_playlist: bool = False
    skip_downloaded: bool = True
    path_template: PathTemplate = PLAYLIST_TEMPLATE


class ChannelDownloadRequest(BatchOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One download for each video of a channel that passes the filters; all bounds are included."""

    url: Url
    date_after: Date | None = None
    date_before: Date | None = None
    min_duration: Count | None = None
    max_duration: Count | None = None
    min_views: Count | None = None
    max_views: Count | None = None
    sort_by: SortField = "upload_date"
    sort_order: SortOrder = "desc"
    max_downloads: Annotated[int, Meta(ge=1, le=1_000)] = 1_000
    skip_downloaded: bool = True
    path_template: PathTemplate = CHANNEL_TEMPLATE


AnyBatchRequest = BatchDownloadRequest | PlaylistDownloadRequest | ChannelDownloadRequest


class BatchOrder(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What was asked of a batch: exactly one of the three requests."""

    batch: BatchDownloadRequest | None = None
    playlist: PlaylistDownloadRequest | None = None
    channel: ChannelDownloadRequest | None = None

    @classmethod
    def of(cls, request: AnyBatchRequest) -> "BatchOrder":
        match request:
            case BatchDownloadRequest():
                return cls(batch=request)
            case PlaylistDownloadRequest():
                return cls(playlist=request)
            case ChannelDownloadRequest():
                return cls(channel=request)

    @property
    def request(self) -> AnyBatchRequest:
        """The request itself."""
        found = self.batch or self.playlist or self.channel
        if found is None:
            raise ValueError("An order holds one request.")
        return found

    @property
    def kind(self) -> BatchKind:
        """Which of the three it is."""
        if self.playlist is not None:
            return "playlist"
        return "channel" if self.channel is not None else "batch"


def wants_audio(options: MediaOptions) -> bool:
    """Whether only the sound is wanted."""
    return options.audio_only or options.quality == "audio"
