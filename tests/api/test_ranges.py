"""Which bytes a Range header means. The cases follow the ideas of Go's and nginx's suites."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from umd.api.ranges import RANGES_MAX, Span, parse

IGNORED = None
NOTHING: list[tuple[int, int]] = []


@pytest.mark.parametrize(
    ("header", "size", "expected"),
    [
        # Not ours to understand, or not a range at all: as if there were no header.
        ("", 0, IGNORED),
        ("", 1_000, IGNORED),
        ("foo", 10, IGNORED),
        ("bytes", 10, IGNORED),
        ("bytes=", 10, IGNORED),
        ("bytes=      ", 10, IGNORED),
        ("bytes=,", 10, IGNORED),
        ("bytes= , , ,   ", 10, IGNORED),
        ("bytes=-", 10, IGNORED),
        ("bytes=7", 10, IGNORED),
        ("bytes= 7 ", 10, IGNORED),
        ("bytes=5-4", 10, IGNORED),
        ("bytes=5-3", 10, IGNORED),
        ("bytes=0-2,5-4", 10, IGNORED),
        ("bytes=2-5,4-3", 10, IGNORED),
        ("bytes=--5,4--3", 10, IGNORED),
        ("bytes=--5", 10, IGNORED),
        ("bytes=A-", 10, IGNORED),
        ("bytes=A- ", 10, IGNORED),
        ("bytes=A-Z", 10, IGNORED),
        ("bytes= -Z", 10, IGNORED),
        ("bytes=5-Z", 10, IGNORED),
        ("bytes=Ran-dom, garbage", 10, IGNORED),
        ("bytes=0x01-0x02", 10, IGNORED),
        ("bytes=0-4 5-9", 10, IGNORED),
        ("bytes=0-4;5-9", 10, IGNORED),
        ("bytes=1.0-2", 10, IGNORED),
        ("bytes=+1-2", 10, IGNORED),
        ("bytes=1-+2", 10, IGNORED),
        ("bytes=1_0-2_0", 100, IGNORED),
        ("bytes=٠-٤", 10, IGNORED),
        ("bytes=0-\u00b2", 10, IGNORED),
        ("bytes:0-4", 10, IGNORED),
        ("bytes 0-4", 10, IGNORED),
        ("bytes 0-4/10", 10, IGNORED),
        ("byte=0-4", 10, IGNORED),
        ("bytess=0-4", 10, IGNORED),
        ("items=0-4", 10, IGNORED),
        ("seconds=1-2", 10, IGNORED),
        ("=0-4", 10, IGNORED),
        # An empty file has nothing to cut a part out of.
        ("bytes=1-", 0, IGNORED),
        ("bytes=0-", 0, IGNORED),
        ("bytes=0-0", 0, IGNORED),
        ("bytes=-1", 0, IGNORED),
        ("bytes=-0", 0, IGNORED),
        # One range.
        ("bytes=0-9", 10, [(0, 10)]),
        ("bytes=0-", 10, [(0, 10)]),
        ("bytes=5-", 10, [(5, 5)]),
        ("bytes=9-", 10, [(9, 1)]),
        ("bytes=0-0", 10, [(0, 1)]),
        ("bytes=9-9", 10, [(9, 1)]),
        ("bytes=0-8", 10, [(0, 9)]),
        ("bytes=0-20", 10, [(0, 10)]),
        ("bytes=9-20", 10, [(9, 1)]),
        ("bytes=0-499", 10_000, [(0, 500)]),
        ("bytes=500-999", 10_000, [(500, 500)]),
        ("bytes=9500-", 10_000, [(9_500, 500)]),
        ("BYTES=0-4", 10, [(0, 5)]),
        ("Bytes=0-4", 10, [(0, 5)]),
        ("bytes =0-4", 10, [(0, 5)]),
        ("bytes= 0 - 4 ", 10, [(0, 5)]),
        ("bytes=\t0-4", 10, [(0, 5)]),
        ("bytes=000-004", 10, [(0, 5)]),
        ("bytes=0-4,", 10, [(0, 5)]),
        ("bytes=,0-4", 10, [(0, 5)]),
        ("bytes=,,0-4,,", 10, [(0, 5)]),
        # From the end.
        ("bytes=-5", 10, [(5, 5)]),
        ("bytes=-10", 10, [(0, 10)]),
        ("bytes=-15", 10, [(0, 10)]),
        ("bytes=-1", 10, [(9, 1)]),
        ("bytes=-500", 10_000, [(9_500, 500)]),
        # Numbers beyond any file, and beyond what Python likes to read.
        ("bytes=0-9223372036854775807", 10, [(0, 10)]),
        ("bytes=0-9223372036854775808", 10, [(0, 10)]),
        ("bytes=0-18446744073709551615", 10, [(0, 10)]),
        ("bytes=0-18446744073709551616", 10, [(0, 10)]),
        ("bytes=-18446744073709551616", 10, [(0, 10)]),
        ("bytes=0-" + "9" * 5_000, 10, [(0, 10)]),
        ("bytes=-" + "9" * 5_000, 10, [(0, 10)]),
        ("bytes=" + "0" * 5_000 + "-4", 10, [(0, 5)]),
        ("bytes=" + "9" * 5_000 + "-", 10, NOTHING),
        ("bytes=9223372036854775808-", 10, NOTHING),
        ("bytes=18446744073709551616-18446744073709551617", 10, NOTHING),
        ("bytes=" + "9" * 5_000 + "-1", 10, IGNORED),
        # Nothing of it is there.
        ("bytes=10-", 10, NOTHING),
        ("bytes=10-20", 10, NOTHING),
        ("bytes=100-", 10, NOTHING),
        ("bytes=-0", 10, NOTHING),
        ("bytes=-00", 10, NOTHING),
        ("bytes=10-,20-", 10, NOTHING),
        ("bytes=-0,10-", 10, NOTHING),
        # Several.
        ("bytes=0-0,-1", 10_000, [(0, 1), (9_999, 1)]),
        ("bytes=0-8,-1", 10, [(0, 9), (9, 1)]),
        ("bytes=0-3,5-8", 10, [(0, 4), (5, 4)]),
        ("bytes=1-2,5-", 10, [(1, 2), (5, 5)]),
        ("bytes=-2 , 7-", 11, [(9, 2), (7, 4)]),
        ("bytes=0-0 ,2-2, 7-", 11, [(0, 1), (2, 1), (7, 4)]),
        ("bytes=500-600,601-999", 10_000, [(500, 101), (601, 399)]),
        ("bytes=500-700,601-999", 10_000, [(500, 201), (601, 399)]),
        ("bytes=   1 -2   ,  4- 5, 7 - 8 , ,,", 11, [(1, 2), (4, 2), (7, 2)]),
        ("bytes=5-8,0-3", 10, [(5, 4), (0, 4)]),
        ("bytes=0-1,0-1", 10, [(0, 2), (0, 2)]),
        ("bytes=15-,0-5", 10, [(0, 6)]),
        ("bytes=0-5,15-", 10, [(0, 6)]),
        ("bytes=-0,0-5", 10, [(0, 6)]),
        # More than the whole file, or more ranges than anybody needs: the whole file it is.
        ("bytes=0-,0-", 10, IGNORED),
        ("bytes=0-9,0-0", 10, IGNORED),
        ("bytes=0-8,-9", 10, IGNORED),
        ("bytes=" + ",".join(["0-0"] * RANGES_MAX), 100, [(0, 1)] * RANGES_MAX),
        ("bytes=" + ",".join(["0-0"] * (RANGES_MAX + 1)), 100, IGNORED),
    ],
)
def test_a_header_means_these_bytes(header: str, size: int, expected: list[tuple[int, int]] | None) -> None:
    spans = parse(header, size)

    assert spans == expected


@given(st.text(alphabet="bytes=0123456789-, \tA٣", max_size=60), st.integers(0, 1_000))
def test_whatever_comes_no_byte_beyond_the_file_is_sent(specs: str, size: int) -> None:
    spans = parse(f"bytes={specs}", size)

    for span in spans or ():
        assert 0 <= span.start < span.start + span.length <= size
    assert sum(span.length for span in spans or ()) <= size


def test_a_thousand_ranges_cost_next_to_nothing() -> None:
    header = "bytes=" + ",".join(f"{start}-" for start in range(1_000))
    began = time.perf_counter()

    parse(header, 10**9)

    assert time.perf_counter() - began < 0.005


def test_a_span_is_told_with_both_its_ends() -> None:
    assert Span(0, 10).content_range(11) == "bytes 0-9/11"
