"""What the made-up video site knows: plain functions from names and queries to what the plugin reads.

Everything follows from the name: a test can compute what it will be told, and a listing agrees with the
video's page.
"""

import datetime
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import urlencode

from tests.site.files import LANGUAGES
from tests.site.knobs import PAGE_PREFIX, handed_down, with_knobs
from tests.site.media import Media

Json: TypeAlias = dict[str, Any]

PAGE_SIZE = 100
ENTRIES_MAX = 10_000
NEWEST = datetime.date(2026, 11, 1)
_LISTED = re.compile(r"(?P<list>.+)-(?P<index>\d{5})$")
_NUMBERS = ("duration", "view_count", "like_count", "comment_count", "age_limit", "channel_follower_count")
_OF_LISTS = frozenset({"n", "page", "fault", "bare", "to", "title", "gated"})
_TEXTS = (
    "id",
    "title",
    "description",
    "uploader",
    "uploader_id",
    "channel",
    "channel_id",
    "upload_date",
    "extractor_key",
)

LADDER = (144, 240, 360, 480, 720, 1080, 1440, 2160)
FORMAT_SETS = {
    "all": ("sb0", "249", "140", "242", "134", "136", "137", "18", "22"),
    "combined": ("18", "22"),
    "split": ("140", "136"),
    "video": ("134", "136"),
    "audio": ("249", "140"),
    "high": ("140", "136", "137"),
    "ladder": ("140", *(f"v{height}" for height in LADDER)),
    "hls": ("hls-240", "hls-360", "hls-720"),
    "bare": ("bare",),
    "unmergeable": ("garbage-video", "garbage-audio"),
    "unconvertible": ("garbage",),
    "trap": ("trap",),
    "odd": ("odd",),
    "odd+18": ("odd", "18"),
    "none": (),
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where the asker sees the site, and what he asked for."""

    absolute: Callable[[str], str]
    query: Mapping[str, str]
    media: Media

    def file(self, path: str) -> str:
        """The URL of a media file, with the page's knobs."""
        return self.absolute(with_knobs(path, handed_down(self.query)))


def entry(listing: str, index: int) -> Json:
    """One line of a channel or playlist, from 0, newest first, with a date, length and views of its own."""
    return {
        "id": f"{listing}-{index:05d}",
        "title": f"{listing} video {index}",
        "duration": 30 + index * 37 % 600,
        "view_count": index * 7919 % 1_000_003,
        "upload_date": (NEWEST - datetime.timedelta(days=index)).strftime("%Y%m%d"),
        "uploader": f"Uploader of {listing}",
        "uploader_id": f"@{listing}",
        "channel": f"Channel {listing}",
        "channel_id": f"UC-{listing}",
    }


def listing(name: str, place: Place) -> Json:
    """A page of a channel or playlist: `n` entries in all (5), `fault=2:private,4:notfound` spoils those.

    `bare=1` leaves only id and title, as flat listings of large sites do; `to` points every entry to that
    URL. A video's own words (`formats`, knobs) go on to every entry, `page_...` faults stay with the list. Of
    a list with `gated=1` only those who are signed in see anything.
    """
    query = place.query
    total = min(int(query.get("n", "5")), ENTRIES_MAX)
    first = int(query.get("page", "0")) * PAGE_SIZE
    own = {key for key in query if key in _OF_LISTS or key.startswith(PAGE_PREFIX)}
    inherited = urlencode({key: query[key] for key in query if key not in own})
    faults = dict(word.split(":", 1) for word in query.get("fault", "").split(",") if word)
    entries = []
    for index in range(first, min(first + PAGE_SIZE, total)):
        line = entry(name, index)
        kind = faults.get(str(index + 1), "video")
        path = f"/site/{kind}/{line['id']}" + (f"?{inherited}" if inherited else "")
        line["url"] = place.absolute(query.get("to", path))
        line["thumbnail"] = place.absolute(f"/thumb/{line['id']}/small.jpg")
        entries.append({key: line[key] for key in ("id", "title", "url")} if query.get("bare") else line)
    about = {
        "id": name,
        "title": query.get("title", f"All of {name}"),
        "description": f"Everything that {name} has",
        "uploader": f"Uploader of {name}",
        "uploader_id": f"@{name}",
        "channel": f"Channel {name}",
        "channel_id": f"UC-{name}",
        "channel_follower_count": 12_345,
    }
    return {**about, "total": total, "page_size": PAGE_SIZE, "entries": entries}


def video(name: str, place: Place) -> Json:
    """A video's page: everything that yt-dlp can carry, each text and number overridable by the query.

    `formats` names one of `FORMAT_SETS`; `media`, `thumb`, `subs` point elsewhere (to another host, to a
    404); `pad` adds so many bytes to the description; `odd` is the address of the format of that name, of any
    scheme; `thumb_id` and `sub_id` are put before the names of the thumbnails and the languages; with
    `chapters=0` there are none.
    """
    listed = _LISTED.match(name)
    info: Json = {
        "title": f"Video {name}",
        "description": f"The description of {name}.\nIts second line – with “quotes”.",
        "uploader": "Una Uploader",
        "uploader_id": "@una",
        "channel": "Una’s Channel",
        "channel_id": "UC-una",
        "channel_follower_count": 12_345,
        "upload_date": "20260704",
        "duration": 10,
        "view_count": 98_765,
        "like_count": 4_321,
        "comment_count": 3,
        "age_limit": 0,
        "categories": ["Education"],
        "tags": ["test", "pattern", "schön"],
        "chapters": [
            {"title": "Opening", "start_time": 0, "end_time": 3},
            {"title": "Middle / part", "start_time": 3, "end_time": 7},
            {"title": "Close", "start_time": 7, "end_time": 10},
        ],
        **(entry(listed["list"], int(listed["index"])) if listed else {}),
        "id": name,
    }
    query = place.query
    info |= {key: query[key] for key in _TEXTS if key in query}
    info |= {key: int(query[key]) for key in _NUMBERS if key in query}
    info["description"] += "x" * min(int(query.get("pad", "0")), 50_000_000)
    if query.get("chapters") == "0":
        info["chapters"] = None
    info["thumbnails"] = _thumbnails(name, place)
    info["subtitles"] = _subtitles(name, "", place)
    info["automatic_captions"] = _subtitles(name, "auto-", place)
    info["formats"] = [_format(key, name, place) for key in FORMAT_SETS[query.get("formats", "all")]]
    return info


def comments(count: int) -> list[Json]:
    """Threads: every third comment is an answer to the one before it."""
    return [
        {
            "id": f"c{number}",
            "parent": "root" if number % 3 else f"c{number - 1}",
            "author": f"Commenter {number}",
            "author_id": f"@commenter{number}",
            "text": f"Comment number {number}: nice pattern!",
            "timestamp": 1_780_000_000 + number,
            "like_count": number,
        }
        for number in range(1, count + 1)
    ]


def _thumbnails(name: str, place: Place) -> list[Json]:
    shapes = (("small", 320, 180), ("large", 1280, 720))
    kind = place.query.get("thumb_ext", "jpg")
    return [
        {
            "id": place.query.get("thumb_id", "") + size,
            "url": place.absolute(place.query.get("thumb", f"/thumb/{name}/{size}.{kind}")),
            "width": width,
            "height": height,
        }
        for size, width, height in shapes
    ]


def _subtitles(name: str, prefix: str, place: Place) -> Json:
    def track(language: str, label: str) -> Json:
        url = place.absolute(place.query.get("subs", f"/subs/{name}/{prefix}{language}.vtt"))
        return {"url": url, "ext": "vtt", "name": label}

    named = place.query.get("sub_id", "")
    return {named + language: [track(language, label)] for language, label in LANGUAGES.items()}


def segments(name: str, categories: list[str]) -> list[Json]:
    """What SponsorBlock's API says of a video: a sponsor from 2 to 5 s, an intro from 7 to 8 s."""
    known = {"sponsor": [2.0, 5.0], "intro": [7.0, 8.0]}
    found = [
        {
            "segment": span,
            "UUID": category,
            "category": category,
            "actionType": "skip",
            "videoDuration": 10,
            "description": "",
        }
        for category, span in known.items()
        if category in categories
    ]
    return [{"videoID": name, "segments": found}]


_AVC, _AAC = "avc1.42c01f", "mp4a.40.2"
_WHOLE: Json = {"acodec": _AAC, "fps": 25}
_SILENT: Json = {"acodec": "none", "fps": 25}
_SOUND: Json = {"vcodec": "none", "acodec": _AAC, "abr": 48, "asr": 44_100, "language": "en"}
_FORMATS: dict[str, tuple[str, Json]] = {
    "18": ("360p", {"height": 360, "width": 640, "vcodec": _AVC, **_WHOLE, "format_note": "360p"}),
    "22": ("720p", {"height": 720, "width": 1280, "vcodec": _AVC, **_WHOLE, "format_note": "720p"}),
    "134": ("video-360p", {"height": 360, "width": 640, "vcodec": _AVC, "vbr": 450, **_SILENT}),
    "136": ("video-720p", {"height": 720, "width": 1280, "vcodec": _AVC, "vbr": 900, **_SILENT}),
    "137": ("video-1080p", {"height": 1080, "width": 1920, "vcodec": _AVC, "vbr": 1500, **_SILENT}),
    "242": ("vp9", {"height": 240, "width": 426, "vcodec": "vp9", "vbr": 200, **_SILENT}),
    "140": ("audio", _SOUND),
    "249": ("opus", {**_SOUND, "acodec": "opus", "asr": 48_000}),
    "bare": ("small", {}),
    "garbage": ("garbage", {}),
    "trap": ("small", {"protocol": "http"}),
    "garbage-video": ("garbage", {"height": 360, "vcodec": _AVC, **_SILENT}),
    "garbage-audio": ("garbage", _SOUND),
}
_EXTENSIONS = {"vp9": "webm", "opus": "webm", "audio": "m4a"}


def _format(key: str, name: str, place: Place) -> Json:
    if key == "sb0":
        # The grid of preview pictures that YouTube lists among the formats: neither video nor audio.
        sheet = place.absolute(f"/thumb/{name}/large.jpg")
        kind = {"ext": "mhtml", "protocol": "mhtml", "format_note": "storyboard"}
        fragments = [{"url": sheet, "duration": 10}]
        return {
            "format_id": key,
            "url": sheet,
            "fragments": fragments,
            "vcodec": "none",
            "acodec": "none",
            **kind,
        }
    if key == "odd":
        return {"format_id": key, "url": place.query["odd"], "ext": "mp4", "height": 4320, "width": 7680}
    if key.startswith("hls-"):
        height = int(key[4:])
        url = place.file(f"/hls/files/{height}p/index.m3u8")
        return {"format_id": key, "url": url, "ext": "mp4", "protocol": "m3u8_native", "height": height}
    if key.startswith("v"):
        # The ladder's heights are only claimed: what comes is the largest clip not above, 360p at least.
        height = int(key[1:])
        clip = next(f"video-{real}p" for real in (1080, 720, 360, 0) if height >= real or real == 360)
        more: Json = {"height": height, "width": height * 16 // 9, "vcodec": _AVC, "vbr": height, **_SILENT}
    else:
        clip, more = _FORMATS[key]
    ext = place.query.get("ext", _EXTENSIONS.get(clip, "mp4"))
    given = place.query.get("media")
    url = place.absolute(given) if given else place.file(f"/media/{clip}/{name}.{ext}")
    return {"format_id": key, "url": url, "ext": ext, "filesize": place.media.size(clip), **more}
