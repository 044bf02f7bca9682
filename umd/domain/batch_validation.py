"""The rules for a batch's request that its types cannot say."""

import datetime
from collections.abc import Iterator

from umd.domain import selection, urls
from umd.domain.options import (
    AnyBatchRequest,
    BatchDownloadRequest,
    ChannelDownloadRequest,
    PlaylistDownloadRequest,
)
from umd.domain.validation import Permits, hold, option_errors
from umd.errors import FieldError


def check(request: AnyBatchRequest, permits: Permits) -> None:
    """Hold a decoded request to the rules. Raises `InvalidInput` with one entry for each field at fault."""
    hold(*_own_errors(request), *option_errors(request, permits))


def _own_errors(request: AnyBatchRequest) -> Iterator[FieldError]:
    if not isinstance(request, BatchDownloadRequest) and (problem := urls.problem(request.url)):
        yield FieldError("/url", problem)
    match request:
        case BatchDownloadRequest():
            yield from _of_addresses(request)
        case PlaylistDownloadRequest():
            yield from _of_playlist(request)
        case ChannelDownloadRequest():
            yield from _of_channel(request)


def _of_addresses(request: BatchDownloadRequest) -> Iterator[FieldError]:
    seen: set[str] = set()
    for index, url in enumerate(request.urls):
        if problem := urls.problem(url):
            yield FieldError(f"/urls/{index}", problem)
        elif url in seen:
            yield FieldError(f"/urls/{index}", "This address is there twice.")
        seen.add(url)


def _of_playlist(request: PlaylistDownloadRequest) -> Iterator[FieldError]:
    if request.items is not None:
        if request.start is not None or request.end is not None:
            yield FieldError("/items", "Give either `items` or `start` and `end`.")
        try:
            selection.parse_items(request.items)
        except ValueError as error:
            yield FieldError("/items", str(error))
    if request.end is not None and request.end < (request.start or 1):
        yield FieldError("/end", "The end lies before the start.")


def _of_channel(request: ChannelDownloadRequest) -> Iterator[FieldError]:
    for field in ("date_after", "date_before"):
        date = getattr(request, field)
        if date is not None and not _is_date(date):
            yield FieldError(f"/{field}", "A date is YYYYMMDD.")
    for least, greatest in (
        ("date_after", "date_before"),
        ("min_duration", "max_duration"),
        ("min_views", "max_views"),
    ):
        low, high = getattr(request, least), getattr(request, greatest)
        if low is not None and high is not None and low > high:
            yield FieldError(f"/{greatest}", f"It lies below `{least}`: nothing could pass.")


def _is_date(text: str) -> bool:
    if not (text.isascii() and text.isdecimal()):
        return False
    try:
        datetime.datetime.strptime(text, "%Y%m%d").replace(tzinfo=datetime.UTC)
    except ValueError:
        return False
    return True
