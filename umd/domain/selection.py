"""Which items of a listing are wanted, and in which order: plain functions over what the list tells."""

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

from msgspec.structs import replace

from umd.domain.events import ListedItem
from umd.domain.options import ChannelDownloadRequest, PlaylistDownloadRequest

SEGMENTS_MAX = 200
NUMBER_MAX = 1_000_000

_SEGMENT = re.compile(
    r"(?P<start>[+-]?\d+)?(?P<range>[:-](?P<end>[+-]?\d+|inf(inite)?)?(:(?P<step>[+-]?\d+))?)?"
)
_FILTERS = (
    ("upload_date", "date_after", "date_before"),
    ("duration", "min_duration", "max_duration"),
    ("view_count", "min_views", "max_views"),
)
"""A field of an item, and the request's least and greatest value for it."""


class Range:
    """One segment of yt-dlp's `--playlist-items`: an index, or `start:end:step`, both ends included.

    https://github.com/yt-dlp/yt-dlp#video-selection; negative ones count from the end.
    """

    def __init__(self, text: str) -> None:
        found = _SEGMENT.fullmatch(text)
        if not text or found is None:
            raise ValueError(f"{text[:40]!r} is no index and no range.")
        start, end, step = _number(found["start"]), _number(found["end"]), _number(found["step"])
        if found["range"] is None:
            end = start
        if step == 0:
            raise ValueError(f"The step in {text[:40]!r} is zero.")
        self.start, self.end, self.step = start, end, 1 if step is None else step

    @property
    def first(self) -> int:
        """Where it begins, going forward."""
        return 1 if self.start is None else self.start

    @property
    def is_forward(self) -> bool:
        """Whether it can be told for each item by itself, before the end of the list is known."""
        return self.step > 0 and self.first > 0 and (self.end is None or self.end >= 0)

    def __contains__(self, index: int) -> bool:
        """Of a forward range."""
        first = self.first
        return index >= first and (self.end is None or index <= self.end) and (index - first) % self.step == 0

    def resolve(self, count: int) -> range:
        """The indices that it stands for in a list of so many; some may lie beyond it."""
        start, end = self.start, self.end
        if start is None:
            start = 1 if self.step > 0 else count
        elif start < 0:
            start = count + 1 + start
        if end is None:
            end = count if self.step > 0 else 1
        elif end < 0:
            end = count + 1 + end
        # However large the numbers are: only those within the list are gone through.
        if self.step > 0:
            behind = max(0, -(-(1 - start) // self.step)) * self.step if start < 1 else 0
            return range(start + behind, min(end, count) + 1, self.step)
        beyond = max(0, -(-(start - count) // -self.step)) * self.step if start > count else 0
        return range(start + beyond, max(end, 1) - 1, self.step)


def parse_items(text: str) -> tuple[Range, ...]:
    """The ranges of `items`. Raises `ValueError` with a sentence."""
    segments = text.split(",")
    if len(segments) > SEGMENTS_MAX:
        raise ValueError(f"There are at most {SEGMENTS_MAX} ranges.")
    return tuple(Range(segment) for segment in segments)


class PlaylistChoice:
    """What a request wants of a playlist."""

    def __init__(self, request: PlaylistDownloadRequest) -> None:
        text = request.items or f"{request.start or 1}:{'' if request.end is None else request.end}"
        self._ranges = parse_items(text)
        self._ids = frozenset(request.item_ids)
        self._reverse = request.reverse_playlist
        rising = [one for one in self._ranges if one.is_forward]
        is_rising = len(rising) == len(self._ranges) and all(
            one.end is not None and one.end < after.first for one, after in pairwise(rising)
        )
        self.is_lazy = is_rising and not self._reverse
        """Whether items can be told one by one as they are listed, in the list's own order."""
        self.last = max((one.end or 0 for one in rising), default=0) if self._is_bounded() else None
        """The last place that can be wanted; None where the whole list has to be read."""

    def takes(self, item: ListedItem) -> bool:
        """Whether an item is wanted, where that can be told lazily."""
        return self._has_id(item) and any(item.index in one for one in self._ranges)

    def of(self, items: Sequence[ListedItem]) -> list[ListedItem]:
        """The wanted ones of a list that was read as far as `last`, in the order in which they are wanted."""
        by_index = {item.index: item for item in items}
        count = max(by_index, default=0)
        places = dict.fromkeys(place for one in self._ranges for place in one.resolve(count))
        chosen = [by_index[place] for place in places if place in by_index and self._has_id(by_index[place])]
        return chosen[::-1] if self._reverse else chosen

    def _is_bounded(self) -> bool:
        return all(one.is_forward and one.end is not None for one in self._ranges)

    def _has_id(self, item: ListedItem) -> bool:
        return not self._ids or item.id in self._ids


def refuses(item: ListedItem, request: ChannelDownloadRequest) -> bool:
    """Whether what is known of an item speaks against it."""
    for field, least, greatest in _FILTERS:
        value, low, high = getattr(item, field), getattr(request, least), getattr(request, greatest)
        if value is not None and ((low is not None and value < low) or (high is not None and value > high)):
            return True
    return False


def lacks_for_filters(item: ListedItem, request: ChannelDownloadRequest) -> bool:
    """Whether a filter asks for something that is not known of an item."""
    return any(
        getattr(item, field) is None
        for field, *bounds in _FILTERS
        if any(getattr(request, bound) is not None for bound in bounds)
    )


def lacks(item: ListedItem, request: ChannelDownloadRequest) -> bool:
    """Whether it is worth a request to know more of an item.

    Not for a sort by date: where a channel's list tells no dates, its own order stands for them.
    """
    sorts = request.sort_by in ("view_count", "duration")
    return lacks_for_filters(item, request) or (sorts and getattr(item, request.sort_by) is None)


def ordered(items: Iterable[ListedItem], request: ChannelDownloadRequest) -> list[ListedItem]:
    """The items in the wanted order. What lacks the field comes last, in the list's order.

    A channel lists its newest first: where no item has a date, that order stands for the dates.
    """
    items = list(items)
    descending = request.sort_order == "desc"
    known = [item for item in items if getattr(item, request.sort_by) is not None]
    if request.sort_by == "upload_date" and not known:
        return items if descending else items[::-1]
    unknown = [item for item in items if getattr(item, request.sort_by) is None]
    return sorted(known, key=lambda item: _sort_key(item, request.sort_by), reverse=descending) + unknown


def _sort_key(item: ListedItem, field: str) -> Any:  # noqa: ANN401  # texts or numbers, of one kind in one list
    value = getattr(item, field)
    return value.casefold() if isinstance(value, str) else value


def _number(text: str | None) -> int | None:
    if text is None or text.startswith("inf"):
        return None
    if len(text) > len(str(NUMBER_MAX)) + 1 or abs(int(text)) > NUMBER_MAX:
        raise ValueError(f"{text[:20]} is beyond {NUMBER_MAX:,}.")
    return int(text)


def merged(item: ListedItem, page: ListedItem) -> ListedItem:
    """An item with what its own page tells and its list does not."""
    told = {
        field: getattr(page, field)
        for field in ("title", "duration", "upload_date", "view_count", "uploader")
        if getattr(item, field) is None
    }
    return replace(item, **told)
