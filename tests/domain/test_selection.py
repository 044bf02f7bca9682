"""Which items a request takes, and what makes two downloads the same."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from umd.domain.archive import fingerprint
from umd.domain.batch_validation import check
from umd.domain.events import ListedItem
from umd.domain.options import (
    AnyBatchRequest,
    BatchDownloadRequest,
    ChannelDownloadRequest,
    DownloadRequest,
    PlaylistDownloadRequest,
)
from umd.domain.selection import PlaylistChoice, ordered, parse_items
from umd.domain.validation import Permits
from umd.errors import InvalidInput

URL = "https://example.com/list"


def listed(count: int) -> list[ListedItem]:
    return [ListedItem(f"{URL}/{index}", index) for index in range(1, count + 1)]


def taken(items: str, count: int) -> list[int]:
    choice = PlaylistChoice(PlaylistDownloadRequest(url=URL, items=items))
    return [item.index for item in choice.of(listed(count)[: choice.last])]


def as_ytdlp_says(items: str, count: int) -> list[int]:
    """yt-dlp's own selection over a list, each item once."""
    from yt_dlp.utils import PlaylistEntries  # noqa: PLC0415

    whole = PlaylistEntries(None, {"entries": [{"n": index} for index in range(1, count + 1)]})
    found: list[int] = []
    for part in PlaylistEntries.parse_playlist_items(items):
        found += [index for index, _ in whole[part] if index not in found]
    return found


unhurried = settings(deadline=None)
"""The first example imports yt-dlp."""

numbers = st.integers(-12, 12).map(str)
segments = st.one_of(
    st.integers(-12, 12).filter(bool).map(str),
    st.builds("{}:{}".format, numbers | st.just(""), numbers | st.just("")),
    st.builds("{}-{}".format, st.integers(1, 12), numbers | st.just("")),
    st.builds(
        "{}:{}:{}".format, numbers | st.just(""), numbers | st.just(""), st.integers(-3, 3).filter(bool)
    ),
)


@unhurried
@given(items=st.lists(segments, min_size=1, max_size=4).map(",".join), count=st.integers(1, 10))
def test_ranges_mean_what_they_mean_to_ytdlp(items: str, count: int) -> None:
    assert taken(items, count) == as_ytdlp_says(items, count)


@unhurried
@given(items=st.lists(segments, min_size=1, max_size=4).map(",".join), count=st.integers(1, 10))
def test_what_is_told_lazily_is_what_is_told_of_the_whole(items: str, count: int) -> None:
    choice = PlaylistChoice(PlaylistDownloadRequest(url=URL, items=items))

    if choice.is_lazy:
        assert [item.index for item in listed(count) if choice.takes(item)] == taken(items, count)


@pytest.mark.parametrize("items", ["", "a", "1,,2", "1-2-3", "::0", "1;2", "99999999", "1," * 300 + "1"])
def test_what_is_no_range_is_refused(items: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_items(items)


def test_a_huge_range_costs_nothing() -> None:
    assert taken("-1000000:1000000", 3) == [1, 2, 3]
    assert taken("1000000:-1000000:-1", 3) == [3, 2, 1]


@pytest.mark.parametrize(
    ("order", "expected"), [("asc", [2, 3, 1, 4]), ("desc", [1, 3, 2, 4])], ids=["asc", "desc"]
)
def test_what_lacks_the_field_comes_last(order: str, expected: list[int]) -> None:
    views = {1: 9, 2: 3, 3: 5, 4: None}
    items = [ListedItem(URL, index, view_count=count) for index, count in views.items()]
    request = ChannelDownloadRequest(url=URL, sort_by="view_count", sort_order=order)  # type: ignore[arg-type]

    assert [item.index for item in ordered(items, request)] == expected


@pytest.mark.parametrize(
    ("request_of", "pointers"),
    [
        (lambda: BatchDownloadRequest(urls=("nope", URL, URL)), ["/urls/0", "/urls/2"]),
        (lambda: PlaylistDownloadRequest(url="ftp://x"), ["/url"]),
        (lambda: PlaylistDownloadRequest(url=URL, items="x"), ["/items"]),
        (lambda: PlaylistDownloadRequest(url=URL, items="1", start=2), ["/items"]),
        (lambda: PlaylistDownloadRequest(url=URL, start=3, end=2), ["/end"]),
        (lambda: PlaylistDownloadRequest(url=URL, path_template="../{id}"), ["/path_template"]),
        (lambda: ChannelDownloadRequest(url=URL, date_after="20261399"), ["/date_after"]),
        (lambda: ChannelDownloadRequest(url=URL, date_before="２０２６０１０１"), ["/date_before"]),
        (lambda: ChannelDownloadRequest(url=URL, min_views=3, max_views=2), ["/max_views"]),
    ],
)
def test_bad_requests_are_refused_with_the_field(
    request_of: Callable[[], AnyBatchRequest], pointers: list[str]
) -> None:
    with pytest.raises(InvalidInput) as refusal:
        check(request_of(), Permits())

    assert [error.pointer for error in refusal.value.errors] == pointers


def test_only_what_changes_the_result_makes_another_fingerprint() -> None:
    plain = fingerprint(DownloadRequest(url=URL))

    assert plain == fingerprint(
        PlaylistDownloadRequest(url=URL, priority=3, retries=0, retention_sec=None, limit_rate=5_000)
    )
    assert plain == fingerprint(DownloadRequest(url=URL, audio_format="flac", subtitle_format="vtt"))
    assert plain != fingerprint(DownloadRequest(url=URL, quality="720p"))
    assert plain != fingerprint(DownloadRequest(url=URL, audio_only=True))
    sound = fingerprint(DownloadRequest(url=URL, audio_only=True))
    assert sound == fingerprint(DownloadRequest(url=URL, quality="audio", video_format="mkv"))
