"""Learns all about one item in the child, and downloads nothing."""

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from umd.domain.events import Metadata
from umd.engine.listing import about
from umd.engine.loader import ManyItems, require_media
from umd.engine.metadata import count, line, metadata, name, number, storable, url
from umd.engine.protocol import AnyReport, Extracted, Format, Probed, Thumbnail, Told, Tracks

FORMATS_MAX = 300
THUMBNAILS_MAX = 100
LANGUAGES_MAX = 300
TRACKS_MAX = 10
WORD_CHARACTERS_MAX = 60
INFO_BYTES_MAX = 4_194_304
PIECE_CHARACTERS = 100_000
"""Of the JSON in one report: escaped once more, it is well below the longest line."""

_SECRET = frozenset({"cookies", "http_headers", "proxy", "Ytdl-request-proxy"})
"""What a format is fetched with: it may be an account's, and the proxy is the service's own."""

Info = Mapping[str, Any]


def reports(loader: Any, address: str, *, raw: bool) -> Iterator[AnyReport]:
    """What there is to tell of an address. Raises what yt-dlp raises."""
    try:
        info = loader.extract_info(address, download=False) or {}
    except ManyItems as many:
        yield Extracted(_of_list(many.told))
        yield Probed(many=about(many.told))
        found: Info = many.told
    else:
        # A list of one is that one.
        found = info["entries"][0] if info.get("entries") else info
        require_media(found)
        yield Extracted(metadata(found))
        yield _probed(found)
    if raw:
        yield from _told(loader.sanitize_info(dict(found), remove_private_keys=True))


def _of_list(told: Info) -> Metadata:
    return metadata({**told, "playlist": told.get("title")})


def _probed(info: Info) -> Probed:
    formats = [one for one in info.get("formats") or () if isinstance(one, Mapping)]
    return Probed(
        formats=tuple(_format(one) for one in formats[-FORMATS_MAX:]),
        chosen=name(info.get("format_id")),
        thumbnails=tuple(_thumbnails(info.get("thumbnails"))),
        subtitles=_tracks(info.get("subtitles")),
        automatic_captions=_tracks(info.get("automatic_captions")),
    )


def _format(one: Info) -> Format:
    words = ("ext", "container", "resolution", "vcodec", "acodec", "format_note", "protocol", "language")
    counts = ("width", "height", "filesize", "filesize_approx", "asr")
    numbers = ("fps", "tbr", "vbr", "abr")
    quality = one.get("quality")
    told: dict[str, Any] = {
        **{key: _word(one.get(key)) for key in words},
        **{key: count(one.get(key)) for key in counts},
        **{key: number(one.get(key)) for key in numbers},
    }
    return Format(
        format_id=_word(one.get("format_id")) or "unknown",
        dynamic_range=_word(one.get("dynamic_range")),
        # The one number that may be negative: a rank.
        quality=float(quality) if isinstance(quality, int | float) and math.isfinite(quality) else None,
        **told,
    )


def _word(value: object) -> str | None:
    return line(value, WORD_CHARACTERS_MAX)


def _thumbnails(value: object) -> Iterator[Thumbnail]:
    for one in value[-THUMBNAILS_MAX:] if isinstance(value, list) else ():
        address = url(one.get("url")) if isinstance(one, Mapping) else None
        if address is not None:
            yield Thumbnail(address, _word(one.get("id")), count(one.get("width")), count(one.get("height")))


def _tracks(value: object) -> Tracks:
    """The formats of each language's subtitles."""
    found: Tracks = {}
    for key, tracks in value.items() if isinstance(value, Mapping) else ():
        language = _word(key)
        if language is not None and len(found) < LANGUAGES_MAX:
            kinds = [_word(one.get("ext")) for one in tracks or () if isinstance(one, Mapping)]
            found[language] = tuple(dict.fromkeys(kind for kind in kinds[:TRACKS_MAX] if kind))
    return found


def _told(info: Info) -> Iterator[Told]:
    """The JSON in pieces; where it is too long, without its longest members."""
    parts = {storable(str(key)): _encoded(_clean(value)) for key, value in info.items() if key not in _SECRET}
    left_out: list[str] = []
    while parts and sum(len(part.encode()) + len(key) + 8 for key, part in parts.items()) > INFO_BYTES_MAX:
        longest = max(parts, key=lambda key: len(parts[key]))
        left_out.append(longest)
        del parts[longest]
    text = "{" + ", ".join(f"{_encoded(key)}: {part}" for key, part in parts.items()) + "}"
    for start in range(0, len(text), PIECE_CHARACTERS):
        yield Told(text[start : start + PIECE_CHARACTERS], tuple(left_out) if start == 0 else ())


def _encoded(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _clean(value: object) -> object:
    """The same without secrets, and without what JSON cannot carry."""
    match value:
        case dict():
            return {storable(str(key)): _clean(one) for key, one in value.items() if key not in _SECRET}
        case list():
            return [_clean(one) for one in value]
        case str():
            return storable(value)
        case float() if not math.isfinite(value):
            return None
    return value
