"""What makes two downloads of an item the same: the options that change the result, and no others."""

from operator import attrgetter

import msgspec

from umd.domain.options import MediaOptions, wants_audio


class Fingerprint(msgspec.Struct, frozen=True, gc=False, cache_hash=True):
    """Those options of a download; hashed once, for it is in the key of each."""

    options: tuple[object, ...]


_ALWAYS = (
    "custom_format",
    "download_subtitles",
    "auto_subtitles",
    "embed_subtitles",
    "write_thumbnail",
    "all_thumbnails",
    "embed_thumbnail",
    "thumbnail_format",
    "embed_metadata",
    "embed_chapters",
    "split_chapters",
    "sponsorblock_remove",
    "write_info_json",
    "write_description",
    "write_comments",
    "download_sections",
    "live_from_start",
)
_common = attrgetter(*_ALWAYS)
_of_video = attrgetter("quality", "video_format")
_of_audio = attrgetter("audio_format", "audio_quality")
_of_subtitles = attrgetter("subtitle_languages", "subtitle_format")


def fingerprint(options: MediaOptions) -> Fingerprint:
    """Equal for options that give the same files: what does not matter beside another one is left out.

    Where the files go, how fast and how often it is tried, for whom and how long they stay: none of it
    changes what they are.
    """
    is_audio = wants_audio(options)
    kind = _of_audio(options) if is_audio else _of_video(options)
    subtitles = options.download_subtitles or options.auto_subtitles or options.embed_subtitles
    return Fingerprint((is_audio, *kind, *_common(options), *(_of_subtitles(options) if subtitles else ())))
