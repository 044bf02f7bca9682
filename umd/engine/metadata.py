"""What a site says of an item, made small and harmless: plain values in, a `Metadata` out."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from umd.domain.events import Chapter, Metadata

DESCRIPTION_CHARACTERS_MAX = 5_000
TITLE_CHARACTERS_MAX = 500
NAME_CHARACTERS_MAX = 200
URL_CHARACTERS_MAX = 2_048
TAGS_MAX = 100
CHAPTERS_MAX = 500
NUMBER_MAX = 2**53
"""Beyond it JSON numbers stop being exact in most readers."""

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_CONTROLS_IN_TEXT = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]+")
_DATE = re.compile(r"\d{8}")

_NAMES = ("uploader", "uploader_id", "channel", "channel_id", "vcodec", "acodec", "playlist")
_COUNTS = ("view_count", "like_count", "comment_count", "width", "height", "playlist_index", "age_limit")
_NUMBERS = ("duration", "fps")
_LISTS = ("categories", "tags")


def metadata(info: Mapping[str, Any]) -> Metadata:
    """The typed metadata of an info dict. Whatever of it has the wrong type is left out."""
    fields: dict[str, Any] = {
        **{key: name(info.get(key)) for key in _NAMES},
        **{key: count(info.get(key)) for key in _COUNTS},
        **{key: number(info.get(key)) for key in _NUMBERS},
        **{key: _names(info.get(key)) for key in _LISTS},
    }
    return Metadata(
        id=name(info.get("id")) or "unknown",
        title=line(info.get("title"), TITLE_CHARACTERS_MAX) or name(info.get("id")) or "unknown",
        extractor=name(info.get("extractor")) or "unknown",
        webpage_url=url(info.get("webpage_url")),
        thumbnail=url(info.get("thumbnail")),
        description=text(info.get("description")),
        upload_date=_date(info.get("upload_date")),
        chapters=_chapters(info.get("chapters")),
        is_live=info.get("is_live") is True,
        **fields,
    )


def line(value: object, characters_max: int) -> str | None:
    """A string as one line without control characters; None for what is no string or empty."""
    if not isinstance(value, str):
        return None
    # Cut first: a site may send megabytes.
    cleaned = _CONTROLS.sub(" ", storable(value[: 2 * characters_max]))
    return cleaned.strip()[:characters_max] or None


def name(value: object) -> str | None:
    """A short line: a name, an id, a codec. Ids come as numbers, too."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return line(value, NAME_CHARACTERS_MAX)


def text(value: object) -> str | None:
    """A string that may have several lines."""
    if not isinstance(value, str):
        return None
    cut = storable(value[: 2 * DESCRIPTION_CHARACTERS_MAX]).replace("\r\n", "\n")
    return _CONTROLS_IN_TEXT.sub(" ", cut).strip()[:DESCRIPTION_CHARACTERS_MAX] or None


def url(value: object) -> str | None:
    """An address of the web; nothing else is passed on."""
    if not isinstance(value, str) or len(value) > URL_CHARACTERS_MAX or _CONTROLS.search(value):
        return None
    return storable(value) if value.startswith(("http://", "https://")) else None


def count(value: object) -> int | None:
    """A whole number that is not negative."""
    measured = number(value)
    return None if measured is None else int(measured)


def number(value: object) -> float | None:
    """A finite number that is not negative."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value <= NUMBER_MAX else None


def storable(value: str) -> str:
    """Without the halves of surrogate pairs, which UTF-8 cannot encode."""
    return value.encode("utf-8", "replace").decode("utf-8")


def _date(value: object) -> str | None:
    return value if isinstance(value, str) and _DATE.fullmatch(value) else None


def _names(value: object) -> tuple[str, ...]:
    found = (name(one) for one in _listed(value, TAGS_MAX))
    return tuple(one for one in found if one)


def _chapters(value: object) -> tuple[Chapter, ...]:
    found = []
    for one in _listed(value, CHAPTERS_MAX):
        start = number(one.get("start_time")) if isinstance(one, Mapping) else None
        if start is not None:
            found.append(
                Chapter(line(one.get("title"), NAME_CHARACTERS_MAX) or "", start, number(one.get("end_time")))
            )
    return tuple(found)


def _listed(value: object, entries_max: int) -> Iterable[Any]:
    return value[:entries_max] if isinstance(value, list | tuple) else ()
