"""Options to yt-dlp parameters: pure functions that do not import yt-dlp.

`base` is the same for every job, and the warm object of the zygote is built with it. `plan` is what one
job adds; `umd.engine.loader` puts it into the object after the fork. Nothing that a client sends becomes a
parameter by itself: no output template, no argument for another program, no path.
"""

from typing import Any, NamedTuple

from umd.domain.options import MediaOptions, wants_audio
from umd.domain.sections import Sections, parse
from umd.engine.config import EngineConfig

BLOCK_BYTES = 32_768
"""The hook fires once a block: 15 times a second at 500 KB/s, where yt-dlp's own, growing block gives one.
It costs 1.4 s of processor time for a gigabyte, of which 0.7 s are there with any block."""

SOCKET_TIMEOUT_SEC = 20
STEM = "media"
"""Whatever a site calls its item, in the job directory its files begin with this."""

CHAPTER = "chapter-%(section_number)03d"
"""What the name of a chapter's file says besides: nothing of the site's."""

COMMENTS_MAX = 10_000
SPONSORBLOCK_API = "https://sponsor.ajay.app"
NETWORK_PROTOCOLS = "http,https,httpproxy,tcp,tls,crypto,data"
"""What ffmpeg may speak where it downloads. A manifest cannot send it to a file, or over UDP."""

WAIT_STEP_SEC_MAX = 60

AUDIO_FORMAT = "ba/b"
VIDEO_FORMAT = "bv*+ba/b"
"""`/b` takes files whose codecs nobody knows, as plain links to a file are."""

_NEVER_SEC = 10**9
_HEIGHTS = {"4k": 2160, "1080p": 1080, "720p": 720, "480p": 480, "360p": 360}
_CODECS = {
    "mp4": ("vcodec:h264", "acodec:aac"),
    "mov": ("vcodec:h264", "acodec:aac"),
    "flv": ("vcodec:h264", "acodec:aac"),
    "avi": ("vcodec:h264", "acodec:mp3"),
    "webm": ("vcodec:vp9", "acodec:opus"),
    "mkv": (),
}
"""Preferred codecs, so that a container mostly needs no encoding. They rank below the height."""

_SEEKABLE = ("acodec:aac",)
"""Preferred for a section where the container has no preference: in WebM sound is found only at its
clusters, which are up to ten seconds long."""

_MERGED = {"mp4": "mp4", "mkv": "mkv"}
"""These take any codec that sites use. The others are merged by way of mkv where the codecs do not fit."""

_BEST = {"opus": "256", "flac": None, "wav": None}
"""What `best` is for a codec whose encoder has no scale of its own; for the others it is 0 of 10."""


class Step(NamedTuple):
    """A postprocessor: its name among yt-dlp's or `umd.engine.postprocessors`, its arguments, its time."""

    name: str
    arguments: dict[str, Any]
    when: str = "post_process"


class Plan(NamedTuple):
    """What one job adds to `base`."""

    params: dict[str, Any]
    steps: tuple[Step, ...]
    needs_ffmpeg: bool
    """Whether the job cannot succeed without it, however the site delivers."""
    sections: Sections | None = None
    """The parts that are wanted; None is the whole."""
    wait_sec: int = 0
    """How long to wait for something that has yet to begin."""


def base(config: EngineConfig) -> dict[str, Any]:
    """The parameters that all jobs share. Those that yt-dlp reads only when it is built must stand here."""
    return {
        "color": "never",
        "noprogress": True,
        # yt-dlp formats a progress line for its screen at every block, even where it has none.
        "progress_delta": _NEVER_SEC,
        "noplaylist": True,
        "overwrites": True,
        "updatetime": False,
        "cachedir": False,
        "buffersize": BLOCK_BYTES,
        "noresizebuffer": True,
        "socket_timeout": SOCKET_TIMEOUT_SEC,
        # The job itself is retried with a wait that grows, so that here a few quick ones are enough.
        "retries": 2,
        "fragment_retries": 3,
        "extractor_retries": 1,
        "file_access_retries": 1,
        "retry_sleep_functions": {"http": _retry_wait, "fragment": _retry_wait},
        # A hole in a video is no success.
        "skip_unavailable_fragments": False,
        # A forged X-Forwarded-For is not ours to send.
        "geo_bypass": False,
        # No proxy, also where the environment names one.
        "proxy": "",
        "ffmpeg_location": config.tools.directory,
        "js_runtimes": _js_runtimes(config.js_runtime),
        "external_downloader_args": {"ffmpeg_i": ["-protocol_whitelist", NETWORK_PROTOCOLS]},
        "outtmpl": names(STEM),
    }


def names(stem: str) -> dict[str, str]:
    """The output templates. Whatever a site calls its item, it names no file."""
    return {"default": f"{stem}.%(ext)s", "chapter": f"{stem}.{CHAPTER}.%(ext)s"}


def plan(
    options: MediaOptions,
    filesize_max_bytes: int,
    *,
    allow_reencode: bool = True,
    sponsorblock_api: str = SPONSORBLOCK_API,
) -> Plan:
    """What this job adds."""
    params: dict[str, Any] = {
        "format": _format(options),
        "format_sort": _format_sort(options),
        "max_filesize": min(options.max_filesize or filesize_max_bytes, filesize_max_bytes),
        "ratelimit": options.limit_rate,
    }
    if not wants_audio(options):
        params["merge_output_format"] = _MERGED.get(options.video_format, f"{options.video_format}/mkv")
    elif options.download_sections:
        # Sound is cheap to encode, and then the cut is exact. Video is cut at its key frames.
        params["force_keyframes_at_cuts"] = True
    params |= _subtitle_params(options) | _sidecar_params(options) | _live_params(options)
    media_step = (
        _audio_step(options)
        if wants_audio(options)
        else _container_step(options, allow_reencode=allow_reencode)
    )
    return Plan(
        params,
        (*_first_steps(options, sponsorblock_api), media_step, *_last_steps(options)),
        _needs_ffmpeg(options),
        parse(options.download_sections) if options.download_sections else None,
        options.wait_for_video_sec or 0,
    )


def _needs_ffmpeg(options: MediaOptions) -> bool:
    return bool(
        wants_audio(options)
        or options.embed_metadata
        or options.embed_chapters
        or options.embed_subtitles
        or options.embed_thumbnail
        or options.split_chapters
        or options.sponsorblock_remove
        or options.download_sections
    )


def _subtitle_params(options: MediaOptions) -> dict[str, Any]:
    """Where they are only to be embedded, they are the manual ones, and the files do not stay."""
    if not _wants_subtitles(options):
        return {}
    return {
        "writesubtitles": options.download_subtitles or not options.auto_subtitles,
        "writeautomaticsub": options.auto_subtitles,
        "subtitleslangs": list(options.subtitle_languages),
        "subtitlesformat": f"{_subtitle_format(options)}/vtt/srt/ass/ttml/best",
    }


def _sidecar_params(options: MediaOptions) -> dict[str, Any]:
    params: dict[str, Any] = {}
    if options.write_thumbnail or options.embed_thumbnail or options.all_thumbnails:
        params["writethumbnail"] = True
        params["write_all_thumbnails"] = options.all_thumbnails
    if options.write_info_json:
        params |= {"writeinfojson": True, "clean_infojson": True}
    if options.write_description:
        params["writedescription"] = True
    if options.write_comments:
        params["getcomments"] = True
        params["extractor_args"] = {"youtube": {"max_comments": [str(COMMENTS_MAX)]}}
    return params


def _live_params(options: MediaOptions) -> dict[str, Any]:
    params: dict[str, Any] = {}
    if options.live_from_start:
        params["live_from_start"] = True
    if options.wait_for_video_sec:
        # Extractors return an item without formats only where this is set. The waiting is the loader's.
        params["wait_for_video"] = (1, WAIT_STEP_SEC_MAX)
    return params


def _wants_subtitles(options: MediaOptions) -> bool:
    return options.download_subtitles or options.auto_subtitles or options.embed_subtitles


def _subtitle_format(options: MediaOptions) -> str:
    kept = options.download_subtitles or options.auto_subtitles
    return options.subtitle_format if kept or options.video_format != "webm" else "vtt"


def _format(options: MediaOptions) -> str:
    if options.custom_format is not None:
        return options.custom_format
    return AUDIO_FORMAT if wants_audio(options) else VIDEO_FORMAT


def _format_sort(options: MediaOptions) -> list[str]:
    """Sorting takes the best below a height; a filter would find nothing where there is only higher."""
    if wants_audio(options):
        return []
    height = _HEIGHTS.get(options.quality)
    codecs = _CODECS[options.video_format] or (_SEEKABLE if options.download_sections else ())
    return ["lang", f"res:{height}" if height else "res", *(["fps", *codecs] if codecs else [])]


def _first_steps(options: MediaOptions, sponsorblock_api: str) -> tuple[Step, ...]:
    """What is done before the media are downloaded."""
    steps = []
    if options.sponsorblock_remove:
        asked = {"categories": list(options.sponsorblock_remove), "api": sponsorblock_api}
        steps.append(Step("SponsorBlock", asked, "after_filter"))
    if _wants_subtitles(options):
        steps.append(Step("FFmpegSubtitlesConvertor", {"format": _subtitle_format(options)}, "before_dl"))
    if options.thumbnail_format is not None:
        steps.append(Step("FFmpegThumbnailsConvertor", {"format": options.thumbnail_format}, "before_dl"))
    if options.write_comments:
        steps.append(Step("Comments", {}, "before_dl"))
    return tuple(steps)


def _last_steps(options: MediaOptions) -> tuple[Step, ...]:
    """What is done with the finished file, in the order in which the steps work together."""
    steps = []
    if options.sponsorblock_remove:
        steps.append(Step("ModifyChapters", {"remove_sponsor_segments": list(options.sponsorblock_remove)}))
    if options.embed_metadata or options.embed_chapters:
        kinds = {"add_metadata": options.embed_metadata, "add_chapters": True, "add_infojson": False}
        steps.append(Step("FFmpegMetadata", kinds))
    if options.embed_subtitles:
        kept = options.download_subtitles or options.auto_subtitles
        steps.append(Step("FFmpegEmbedSubtitle", {"already_have_subtitle": kept}))
    if options.embed_thumbnail:
        kept = options.write_thumbnail or options.all_thumbnails
        steps.append(Step("EmbedThumbnail", {"already_have_thumbnail": kept}))
    if options.split_chapters:
        steps.append(Step("FFmpegSplitChapters", {}))
    return tuple(steps)


def _container_step(options: MediaOptions, *, allow_reencode: bool) -> Step:
    return Step("Container", {"preferedformat": options.video_format, "reencode": allow_reencode})


def _audio_step(options: MediaOptions) -> Step:
    codec = options.audio_format
    lossless = _BEST.get(codec, "0") is None
    quality = _BEST.get(codec, "0") if lossless or options.audio_quality == "best" else options.audio_quality
    name = "AacAudio" if codec == "aac" else "Audio"
    return Step(name, {"preferredcodec": codec, "preferredquality": quality})


def _js_runtimes(setting: str) -> dict[str, dict[str, str]]:
    if setting == "auto":
        return {"deno": {}}
    return {"deno": {"path": setting}} if setting else {}


def _retry_wait(n: int) -> float:
    """Seconds to wait before retry number `n`, counted from 0."""
    return float(min(0.25 * 2**n, 2.0))
