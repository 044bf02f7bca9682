"""Reads a list in the child: page by page as the site gives it, and without keeping what was told."""

import datetime
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from yt_dlp.utils import LazyList, PagedList, unsmuggle_url

from umd.domain.events import ListedItem
from umd.engine.metadata import (
    NAME_CHARACTERS_MAX,
    TITLE_CHARACTERS_MAX,
    count,
    line,
    name,
    number,
    text,
    url,
)
from umd.engine.protocol import About, Listed

PAGE_ITEMS = 100
DEPTH_MAX = 3
"""A channel's root lists its tabs, and a tab lists the videos."""
TIMESTAMP_MAX = 253_402_300_799
"""The last second that a date with four digits of a year can tell."""
HOPS_MAX = 10
"""Links from one extractor to another before a list is reached."""

_LISTS = frozenset({"playlist", "multi_video", "compat_list"})
_LINKS = frozenset({"url", "url_transparent"})

Info = Mapping[str, Any]


class Endless(Exception):
    """The address leads from one to another and never to something."""


def pages(loader: Any, address: str, items_max: int) -> Iterator[Listed]:
    """The items behind an address, at most so many; what is no list is a list of one.

    An item is told as soon as the site has told a page of them: the first one comes first, even of ten
    thousand. Raises what yt-dlp raises.
    """
    loader.params["noplaylist"] = False
    result = _resolve(loader, address, None)
    says = about(result) if _is_list(result) else None
    title = says.title if says is not None else None
    found = islice(_entries(loader, result, DEPTH_MAX), items_max)
    index, is_first = 0, True
    while (some := list(islice(found, PAGE_ITEMS))) or is_first:
        items = tuple(
            item
            for place, (entry, parent) in enumerate(some, index + 1)
            if (item := _item(loader, entry, parent, place)) is not None
        )
        yield Listed(items, title, len(some) - len(items), says if is_first else None)
        index += len(some)
        is_first = False


def about(result: Info) -> About:
    """What a list says of itself."""
    return About(
        id=name(result.get("id")),
        title=line(result.get("title"), TITLE_CHARACTERS_MAX),
        description=text(result.get("description")),
        uploader=name(result.get("uploader")),
        uploader_id=name(result.get("uploader_id")),
        channel=name(result.get("channel")),
        channel_id=name(result.get("channel_id")),
        subscriber_count=count(result.get("channel_follower_count")),
        count=count(result.get("playlist_count")),
        extractor=name(result.get("extractor")),
    )


def _resolve(loader: Any, address: str, key: str | None) -> dict[str, Any]:
    """What an extractor says of an address, without going into it."""
    for _ in range(HOPS_MAX):
        result = loader.extract_info(address, download=False, ie_key=key, process=False) or {}
        if result.get("_type", "video") not in _LINKS:
            return dict(result)
        address, key = result["url"], result.get("ie_key")
    raise Endless


def _is_list(result: Info) -> bool:
    return result.get("_type") in _LISTS


def _entries(loader: Any, result: Info, depth: int) -> Iterator[tuple[Info, Info]]:
    """The entries of a list, each with its list; those that are lists themselves are gone into."""
    if not _is_list(result):
        yield result, {}
        return
    for entry in _lazily(result.get("entries") or ()):
        if not entry:
            continue
        if depth > 1 and _is_list(entry):
            yield from _entries(loader, entry, depth - 1)
        elif depth > 1 and _leads_to_a_list(entry, result):
            yield from _entries(loader, _resolve(loader, entry["url"], entry.get("ie_key")), depth - 1)
        else:
            yield entry, result


def _leads_to_a_list(entry: Info, parent: Info) -> bool:
    """An entry for the very extractor that made this list, as a channel's tabs are, is one more list."""
    key = entry.get("ie_key")
    return entry.get("_type") in _LINKS and bool(key) and key == parent.get("extractor_key")


def _lazily(entries: Any) -> Iterator[Any]:
    """yt-dlp's own ways to go through entries keep all that they have seen."""
    if isinstance(entries, PagedList):
        entries._use_cache = False
        return iter(entries._getslice(0, None))
    if isinstance(entries, LazyList):
        return iter(entries._iterable) if not entries._cache else iter(entries)
    return iter(entries)


def _item(loader: Any, entry: Info, parent: Info, index: int) -> ListedItem | None:
    """An entry as far as its list tells of it; None without an address that another process could ask for."""
    address = url(entry.get("url")) or url(entry.get("webpage_url")) or url(entry.get("original_url"))
    if entry.get("_type", "video") == "video":
        address = url(entry.get("webpage_url")) or address
    if address is None:
        return None
    extractor = _extractor(loader, entry, address)
    if extractor is None:
        # What the generic extractor hides in a fragment is of no use to it, and a site may write one, too.
        address = unsmuggle_url(address)[0]
    return ListedItem(
        url=address,
        index=index,
        id=name(entry.get("id")),
        title=line(entry.get("title"), TITLE_CHARACTERS_MAX),
        extractor=extractor,
        duration=number(entry.get("duration")),
        upload_date=_date(entry),
        view_count=count(entry.get("view_count")),
        uploader=_first_name(entry, ("uploader", "channel")) or _first_name(parent, ("uploader", "channel")),
        thumbnail=_thumbnail(entry),
    )


def _extractor(loader: Any, entry: Info, address: str) -> str | None:
    """The name by which the item's own page will call its extractor."""
    if own := name(entry.get("extractor")):
        return own
    key = entry.get("ie_key") or _suitable(loader, address)
    if not key or key == "Generic":
        return None
    return line(loader.get_info_extractor(key).IE_NAME, NAME_CHARACTERS_MAX)


def _suitable(loader: Any, address: str) -> str | None:
    """The key of the extractor that would be asked. The sieve looks at the address."""
    if hasattr(loader._ies, "url"):
        loader._ies.url = address
    return next((key for key, kind in loader._ies.items() if kind.suitable(address)), None)


def _date(entry: Info) -> str | None:
    told = entry.get("upload_date")
    if isinstance(told, str) and len(told) == len("YYYYMMDD") and told.isascii() and told.isdecimal():
        return told
    moment = number(entry.get("timestamp"))
    if moment is None or moment > TIMESTAMP_MAX:
        return None
    return datetime.datetime.fromtimestamp(moment, datetime.UTC).strftime("%Y%m%d")


def _first_name(info: Info, keys: tuple[str, ...]) -> str | None:
    return next((found for key in keys if (found := name(info.get(key)))), None)


def _thumbnail(entry: Info) -> str | None:
    if (one := url(entry.get("thumbnail"))) is not None:
        return one
    several = entry.get("thumbnails")
    last = several[-1] if isinstance(several, list) and several else None
    return url(last.get("url")) if isinstance(last, Mapping) else None
