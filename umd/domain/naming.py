"""Where a result comes to lie: one safe relative path, whatever a template and a site's metadata say.

A template is text with `{variable}` in it and nothing more: no format strings, no expressions. Each value
is made harmless by itself, then each segment once more as a whole.
"""

import re
import unicodedata
from collections.abc import Mapping

import msgspec

from umd.domain.events import Metadata

VARIABLES = (
    "id",
    "title",
    "safe_title",
    "ext",
    "uploader",
    "date",
    "random",
    "playlist",
    "playlist_index",
    "batch_id",
    "channel",
    "resolution",
    "duration",
    "extractor",
)
RESERVED_FOLDERS = frozenset({"cookies", "engines", "log", "temp"})
"""Folders below the storage root that belong to the service itself."""

SEGMENTS_MAX = 8
SEGMENT_BYTES_MAX = 200
"""Of the 255 bytes that a file system grants a name, the rest is room for `(2)`, `.en.srt` and the like."""

_MISSING = "NA"
_VARIABLE = re.compile(r"\{([^{}]*)\}")
_UNSAFE = re.compile(r'[/\\:*?"<>|]')
_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)
_EXTENSION = re.compile(r"[a-z0-9]{1,11}")


class Place(msgspec.Struct, frozen=True):
    """A folder below the storage root, and the common beginning of the names of a job's files there."""

    folder: str
    stem: str

    def path(self, suffix: str) -> str:
        """The relative path of the file with this suffix, as `.mp4` or `.en.srt`."""
        return f"{self.folder}/{self.stem}{suffix}" if self.folder else f"{self.stem}{suffix}"


def template_problem(template: str) -> str | None:
    """Say why this is no path template, or None."""
    unknown = [name for name in _VARIABLE.findall(template) if name not in VARIABLES]
    if unknown:
        return f"There is no variable {{{unknown[0][:40]}}}; there are {', '.join(VARIABLES)}."
    literal = _VARIABLE.sub("x", template)
    segments = literal.split("/")
    if "{" in literal or "}" in literal:
        return "A brace is not closed."
    if any(_invisible(character) for character in literal) or "\\" in literal:
        return "A template holds no control characters and no backslashes."
    if "" in segments or "." in segments or ".." in segments or "~" in segments[0] or ":" in segments[0]:
        return "A template is a relative path without empty segments, `.`, `..`, `~` or a drive."
    if len(segments) > SEGMENTS_MAX:
        return f"A template has at most {SEGMENTS_MAX} segments."
    if segments[0].casefold() in RESERVED_FOLDERS:
        return f"The folder {segments[0]!r} belongs to the service."
    return None


def place(
    template: str, metadata: Metadata, extension: str, *, random: str, batch_id: str | None = None
) -> Place:
    """Fill in a template that `template_problem` found nothing wrong with."""
    extension = safe_extension(extension)
    values = _values(metadata, extension, random, batch_id)
    filled = [_fill(segment, values) for segment in template.split("/")]
    last = filled.pop()
    stem = last.removesuffix(f".{extension}") if last != f".{extension}" else metadata.id
    folders = [_segment(folder) for folder in filled]
    if folders and folders[0].casefold() in RESERVED_FOLDERS:
        folders[0] = f"_{folders[0]}"
    return Place("/".join(folders), _segment(stem))


def safe_extension(extension: str) -> str:
    """The extension in lower case, or `bin` for what is none."""
    lowered = extension.lower()
    return lowered if _EXTENSION.fullmatch(lowered) else "bin"


def safe_suffix(suffix: str) -> str:
    """The part of a file's name behind its stem (`.en.srt`), made harmless."""
    cleaned = "".join(character if character.isalnum() or character in "._-" else "_" for character in suffix)
    return _cut("." + cleaned.strip("._ "), 50)


def _values(metadata: Metadata, extension: str, random: str, batch_id: str | None) -> dict[str, str]:
    index = metadata.playlist_index
    raw = {
        "id": metadata.id,
        "title": metadata.title,
        "safe_title": re.sub(r"[^\w.-]+", "_", metadata.title).strip("_"),
        "ext": extension,
        "uploader": metadata.uploader or metadata.channel,
        "date": metadata.upload_date,
        "random": random,
        "playlist": metadata.playlist,
        "playlist_index": None if index is None else f"{index:03d}",
        "batch_id": batch_id,
        "channel": metadata.channel or metadata.uploader,
        "resolution": _resolution(metadata),
        "duration": None if metadata.duration is None else f"{metadata.duration:.0f}",
        "extractor": metadata.extractor,
    }
    return {name: _value(value) for name, value in raw.items()}


def _resolution(metadata: Metadata) -> str | None:
    if metadata.width and metadata.height:
        return f"{metadata.width}x{metadata.height}"
    return f"{metadata.height}p" if metadata.height else None


def _fill(segment: str, values: Mapping[str, str]) -> str:
    return _VARIABLE.sub(lambda match: values[match[1]], segment)


def _value(value: str | None) -> str:
    """One value as part of a segment: no separators, nothing invisible, never empty, never too long."""
    spaced = " ".join((value or "").split())
    visible = "".join(character for character in spaced if not _invisible(character))
    normal = unicodedata.normalize("NFC", _UNSAFE.sub("_", visible))
    return _cut(normal.strip(". "), SEGMENT_BYTES_MAX // 2) or _MISSING


def _segment(text: str) -> str:
    """A whole segment: no leading dot, no device name, no trailing dot or space, within its bytes."""
    visible = "".join(character for character in text if not _invisible(character))
    cut = _cut(_UNSAFE.sub("_", visible).strip(". "), SEGMENT_BYTES_MAX) or _MISSING
    return f"_{cut}" if _DEVICE.match(cut) else cut


def _invisible(character: str) -> bool:
    """Control and format characters (bidi overrides among them), surrogates, and spaces that are no space."""
    return not (character.isprintable() or character == " ")


def _cut(text: str, bytes_max: int) -> str:
    return text.encode(errors="ignore")[:bytes_max].decode(errors="ignore").rstrip(". ")
