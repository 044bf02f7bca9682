"""The rules for a request that its types cannot say."""

from collections.abc import Iterator
from datetime import datetime

import msgspec

from umd.clock import SECOND, Micros, micros
from umd.domain import naming, sections, selectors, urls, webhooks
from umd.domain.options import RETENTION_SEC_MAX, DownloadRequest, MediaOptions, wants_audio
from umd.errors import FieldError, InvalidInput

SUBTITLE_CONTAINERS = frozenset({"mp4", "mkv", "webm"})
THUMBNAIL_CONTAINERS = frozenset({"mp4", "mkv"})
"""Into mov it can be written, but ffmpeg and QuickTime do not find it there."""

THUMBNAIL_AUDIO = frozenset({"mp3", "m4a", "flac", "opus", "vorbis"})
ERRORS_MAX = 20

_NEED_FFMPEG = (
    "audio_only",
    "embed_subtitles",
    "embed_thumbnail",
    "embed_chapters",
    "split_chapters",
    "sponsorblock_remove",
    "download_sections",
)


class Permits(msgspec.Struct, frozen=True, kw_only=True):
    """What the operator and the machine allow; the defaults are those of the settings."""

    ffmpeg: bool = True
    """Whether ffmpeg and ffprobe are both there."""
    request_proxy: bool = False
    endless_retention: bool = True


def check(request: DownloadRequest, permits: Permits) -> None:
    """Hold a decoded request to the rules. Raises `InvalidInput` with one entry for each field at fault."""
    problem = urls.problem(request.url)
    hold(*([FieldError("/url", problem)] if problem else []), *option_errors(request, permits))


def check_deletion(delete_at: datetime, now: Micros) -> None:
    """Hold the time of a deletion to the bounds of a retention. One that is past means at once."""
    if micros(delete_at) > now + RETENTION_SEC_MAX * SECOND:
        raise InvalidInput(FieldError("/delete_at", "Files are kept for a year at most."))


def hold(*errors: FieldError) -> None:
    """Raise `InvalidInput` if there are any, for some of them."""
    if errors:
        raise InvalidInput(*errors[:ERRORS_MAX])


def option_errors(options: MediaOptions, permits: Permits) -> Iterator[FieldError]:
    """What is at fault with the options that every kind of download shares."""
    for pointer, problem in (*_of_values(options), *_of_pairs(options), *_of_permits(options, permits)):
        if problem:
            yield FieldError(pointer, problem)


def _of_values(options: MediaOptions) -> Iterator[tuple[str, str | None]]:
    """What one field by itself can have wrong."""
    yield "/custom_format", selectors.problem(options.custom_format) if options.custom_format else None
    yield "/path_template", naming.template_problem(options.path_template)
    secret = options.webhook_secret
    yield "/webhook_secret", webhooks.secret_problem(secret) if secret else None
    yield "/webhook_url", urls.problem(options.webhook_url) if options.webhook_url else None
    yield "/proxy", urls.proxy_problem(options.proxy) if options.proxy else None
    for index, language in enumerate(options.subtitle_languages):
        yield f"/subtitle_languages/{index}", sections.pattern_problem(language.removeprefix("-"))
    for index, section in enumerate(options.download_sections):
        yield f"/download_sections/{index}", sections.problem(section)


def _of_pairs(options: MediaOptions) -> Iterator[tuple[str, str | None]]:
    """What does not go together."""
    if options.embed_subtitles:
        yield from _of_embedded_subtitles(options)
    if options.embed_thumbnail and not _holds_thumbnail(options):
        held = ", ".join(sorted(THUMBNAIL_AUDIO if wants_audio(options) else THUMBNAIL_CONTAINERS))
        yield "/embed_thumbnail", f"{_container(options)} cannot hold a thumbnail; {held} can."
    if options.download_sections:
        # The times of chapters and of SponsorBlock's segments are those of the whole.
        if options.split_chapters:
            yield "/split_chapters", "A part of an item cannot be split; name its chapters as sections."
        if options.sponsorblock_remove:
            yield "/sponsorblock_remove", "Segments cannot be removed from a part of an item."


def _of_embedded_subtitles(options: MediaOptions) -> Iterator[tuple[str, str | None]]:
    kept = options.download_subtitles or options.auto_subtitles
    if wants_audio(options) or options.video_format not in SUBTITLE_CONTAINERS:
        held = ", ".join(sorted(SUBTITLE_CONTAINERS))
        yield "/embed_subtitles", f"{_container(options)} cannot hold subtitles; {held} can."
    elif kept and options.video_format == "webm" and options.subtitle_format != "vtt":
        yield "/subtitle_format", "webm holds subtitles as vtt only."


def _of_permits(options: MediaOptions, permits: Permits) -> Iterator[tuple[str, str | None]]:
    """What this server does not do."""
    if options.proxy is not None and not permits.request_proxy:
        yield "/proxy", "The operator does not permit a proxy of the request's own."
    if options.retention_sec is None and not permits.endless_retention:
        yield "/retention_sec", "The operator does not permit files that stay for ever; name a number."
    if not permits.ffmpeg:
        for field in _NEED_FFMPEG:
            if getattr(options, field):
                yield f"/{field}", "The server has no ffmpeg and ffprobe, which this needs."
        if options.quality == "audio":
            yield "/quality", "The server has no ffmpeg and ffprobe, which this needs."


def _holds_thumbnail(options: MediaOptions) -> bool:
    if wants_audio(options):
        return options.audio_format in THUMBNAIL_AUDIO
    return options.video_format in THUMBNAIL_CONTAINERS


def _container(options: MediaOptions) -> str:
    return options.audio_format if wants_audio(options) else options.video_format
