"""What of an item umd takes: which formats, under which names, and which parts."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from umd.domain.sections import Sections

SECTIONS_MAX = 50
"""Files of one job. A pattern such as `.` fits every chapter."""

SCHEMES = frozenset({"http", "https", "ws", "wss", "data"})
"""What can be fetched through the egress proxy. RTMP, RTSP, MMS, bare TCP and UDP cannot."""

_TAG = re.compile(r"[A-Za-z0-9][\w.-]{0,49}", re.ASCII)
_EXTENSION = re.compile(r"[A-Za-z0-9]{1,10}", re.ASCII)
_UNFIT = re.compile(r"[^\w-]+", re.ASCII)


_SCRIPT = re.compile(rb"\s*(#EXTM3U|ffconcat|<\?xml|<MPD)")
"""How files begin by which ffmpeg is led to other files: playlists, lists to be joined, manifests."""

_XML = frozenset({".ttml", ".dfxp", ".tt", ".xml", ".srv1", ".srv2", ".srv3"})
"""Subtitles, which yt-dlp converts by itself."""


class NoMedia(Exception):
    """The address answers with something that is no video and no audio, or with an empty list."""


class ProtocolNotAllowed(Exception):
    """The item is offered by protocols only that umd does not speak."""


class NoSuchSection(Exception):
    """No chapter has a title that fits, or the item ends before the section begins."""


class TooManySections(Exception):
    """More chapters fit than one job may download."""


def admit(info: dict[str, Any]) -> dict[str, Any]:
    """The item with what may be fetched and what can be a file's name.

    yt-dlp makes file names from the ids of thumbnails and the languages of subtitles as a site sends them.
    Raises `ProtocolNotAllowed`.
    """
    formats = info.get("formats")
    if formats:
        allowed = [one for one in formats if _is_allowed(one)]
        if not allowed:
            raise ProtocolNotAllowed
        info["formats"] = allowed
    elif not _is_allowed(info):
        raise ProtocolNotAllowed
    for number, thumbnail in enumerate(_listed(info.get("thumbnails"))):
        thumbnail["id"] = f"{number:02d}-{_fit(thumbnail.get('id'))}"
        if not _EXTENSION.fullmatch(str(thumbnail.get("ext") or "")):
            thumbnail.pop("ext", None)
    for kind in ("subtitles", "automatic_captions"):
        if info.get(kind):
            info[kind] = dict(_admitted(info[kind]))
    return info


def is_to_come(info: Mapping[str, Any]) -> bool:
    """Whether this is one item without anything to download yet."""
    return info.get("_type", "video") == "video" and not (info.get("formats") or info.get("url"))


def without_cookies(value: Any) -> Any:
    """The same without the cookies and headers that formats are fetched with: they may be an account's."""
    if isinstance(value, dict):
        return {
            key: without_cookies(one) for key, one in value.items() if key not in ("cookies", "http_headers")
        }
    return [without_cookies(one) for one in value] if isinstance(value, list) else value


def refuse_script(path: Path) -> None:
    """See that what was downloaded is no list of other files, which ffmpeg would read. Raises `NoMedia`."""
    if path.is_file() and path.suffix not in _XML:
        with path.open("rb") as file:
            if _SCRIPT.match(file.read(256).removeprefix(b"\xef\xbb\xbf")):
                raise NoMedia


class Ranges:
    """yt-dlp's `download_ranges`: from an item to the sections of it that are wanted."""

    def __init__(self, sections: Sections) -> None:
        self._sections = sections
        self._patterns = [re.compile(pattern) for pattern in sections.chapters]

    def __call__(self, info: Mapping[str, Any], _loader: object) -> Iterator[dict[str, Any]]:
        found = [*self._chapters(info), *self._ranges(info)]
        if not found:
            raise NoSuchSection
        if len(found) > SECTIONS_MAX:
            raise TooManySections
        return iter(found)

    def _chapters(self, info: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        for index, chapter in enumerate(info.get("chapters") or ()):
            if any(pattern.search(str(chapter.get("title") or "")) for pattern in self._patterns):
                yield {**chapter, "index": index}

    def _ranges(self, info: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        duration = info.get("duration") or float("inf")
        for start, end in self._sections.ranges:
            if start < duration:
                yield {"start_time": start, "end_time": float("inf") if end is None else end}


def _is_allowed(form: Mapping[str, Any]) -> bool:
    # Where there is no URL of its own, its fragments or the parts that it names have theirs.
    addresses = [form.get("url"), form.get("manifest_url"), form.get("fragment_base_url")]
    addresses += [one.get("url") for one in _listed(form.get("fragments"))[:1]]
    return all(urlsplit(str(one)).scheme.lower() in SCHEMES for one in addresses if one)


def _admitted(subtitles: Mapping[str, Any]) -> Iterator[tuple[str, list[Any]]]:
    for language, tracks in subtitles.items():
        named = [one for one in _listed(tracks) if _EXTENSION.fullmatch(str(one.get("ext") or "vtt"))]
        if named and _TAG.fullmatch(language):
            yield language, named


def _listed(value: object) -> list[Any]:
    """The members of a list that are objects. Some extractors give a generator, which is left alone."""
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list | tuple) else []


def _fit(name: object) -> str:
    return _UNFIT.sub("-", str(name or ""))[:30].strip("-") or "thumbnail"
