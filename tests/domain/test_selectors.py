"""Format selectors that a request may bring."""

import pytest

from umd.domain import selectors


@pytest.mark.parametrize(
    "selector",
    ["best", "bv*+ba/b", "bestvideo[height<=1080]+bestaudio", "(mp4,webm)[height<480]", "b[format_id^=hls]"],
)
def test_ordinary_selectors_are_taken(selector: str) -> None:
    assert selectors.problem(selector) is None


@pytest.mark.parametrize(
    "selector",
    [
        "b[format_id~='(a+)+$']",
        "b[format_id!~=x]",
        "(" * 9 + "b" + ")" * 9,
        "(b",
        "b)(",
        "b\n",
        "b" + "[a=1]" * 21,
    ],
)
def test_t10_what_could_take_for_ever_is_refused(selector: str) -> None:
    assert selectors.problem(selector) is not None
