"""Options to yt-dlp parameters: pure functions that do not import yt-dlp.

`base` is the same for every job, and the warm object of the zygote is built with it. `plan` is what one
job adds; `umd.engine.loader` puts it into the object after the fork. Nothing that a client sends becomes a
parameter by itself: no output template, no argument for another program, no path.
"""

from typing import Any, NamedTuple

from umd.domain.options import MediaOptions
from umd.engine.config import EngineConfig

BLOCK_BYTES = 32_768
"""The hook fires once a block: 15 times a second at 500 KB/s, where yt-dlp's own, growing block gives one.
It costs 1.4 s of processor time for a gigabyte, of which 0.7 s are there with any block."""

SOCKET_TIMEOUT_SEC = 20
STEM = "media"
"""Whatever a site calls its item, in the job directory its files begin with this."""

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

_MERGED = {"mp4": "mp4", "mkv": "mkv"}
"""These take any codec that sites use. The others are merged by way of mkv where the codecs do not fit."""

_BEST = {"opus": "256", "flac": None, "wav": None}
"""What `best` is for a codec whose encoder has no scale of its own; for the others it is 0 of 10."""


class Step(NamedTuple):
    """A postprocessor: its name among yt-dlp's or `umd.engine.postprocessors`, and its arguments."""

    name: str
    arguments: dict[str, Any]


class Plan(NamedTuple):
    """What one job adds to `base`."""

    params: dict[str, Any]
    steps: tuple[Step, ...]
    needs_ffmpeg: bool
    """Whether the job cannot succeed without it, however the site delivers."""


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
        "outtmpl": {"default": f"{STEM}.%(ext)s"},
    }


def plan(options: MediaOptions, filesize_max_bytes: int) -> Plan:
    """What this job adds."""
    params: dict[str, Any] = {
        "format": _format(options),
        "format_sort": _format_sort(options),
        "max_filesize": min(options.max_filesize or filesize_max_bytes, filesize_max_bytes),
        "ratelimit": options.limit_rate,
    }
    if not wants_audio(options):
        params["merge_output_format"] = _MERGED.get(options.video_format, f"{options.video_format}/mkv")
    return Plan(params, _steps(options), wants_audio(options) or options.embed_metadata)


def wants_audio(options: MediaOptions) -> bool:
    """Whether only the sound is wanted."""
    return options.audio_only or options.quality == "audio"


def _format(options: MediaOptions) -> str:
    if options.custom_format is not None:
        return options.custom_format
    return AUDIO_FORMAT if wants_audio(options) else VIDEO_FORMAT


def _format_sort(options: MediaOptions) -> list[str]:
    """Sorting takes the best below a height; a filter would find nothing where there is only higher."""
    if wants_audio(options):
        return []
    height = _HEIGHTS.get(options.quality)
    codecs = _CODECS[options.video_format]
    return ["lang", f"res:{height}" if height else "res", *(["fps", *codecs] if codecs else [])]


def _steps(options: MediaOptions) -> tuple[Step, ...]:
    """The postprocessors in the order in which they work together."""
    container = Step("Container", {"preferedformat": options.video_format})
    steps = [_audio_step(options) if wants_audio(options) else container]
    if options.embed_metadata:
        steps.append(
            Step("FFmpegMetadata", {"add_metadata": True, "add_chapters": True, "add_infojson": False})
        )
    return tuple(steps)


def _audio_step(options: MediaOptions) -> Step:
    codec = options.audio_format
    lossless = _BEST.get(codec, "0") is None
    quality = _BEST.get(codec, "0") if lossless or options.audio_quality == "best" else options.audio_quality
    name = "AacAudio" if codec == "aac" else "FFmpegExtractAudio"
    return Step(name, {"preferredcodec": codec, "preferredquality": quality})


def _js_runtimes(setting: str) -> dict[str, dict[str, str]]:
    if setting == "auto":
        return {"deno": {}}
    return {"deno": {"path": setting}} if setting else {}


def _retry_wait(n: int) -> float:
    """Seconds to wait before retry number `n`, counted from 0."""
    return float(min(0.25 * 2**n, 2.0))
