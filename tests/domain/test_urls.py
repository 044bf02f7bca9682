"""Which URLs a request may name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from umd.domain import urls


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/watch?v=1",
        "http://127.0.0.1:8080/a.mp4",
        "https://[2001:db8::1]/x",
        "https://例え.jp/動画",
        "https://example.com/a#t=10",
    ],
)
def test_web_addresses_are_taken(url: str) -> None:
    assert urls.problem(url) is None


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "ytsearch:cats",
        "ftp://example.com/a",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "https://user:secret@example.com/",
        "https://@example.com/",
        "https:///nohost",
        "https://.",
        "http://example.com:0/",
        "http://example.com:99999/",
        "http://example.com:port/",
        "http://[::1/",
        "https://example.com/ space",
        "https://example.com/\x00",
        "https://example.com/\u202e",
        "https://example.com\\@evil.com/",
        "https://example.com/#__youtubedl_smuggle=%7B%7D",
        "https://example.com/#%5F_youtubedl_smuggle=%7B%7D",
        "https://example.com/#%255F_youtubedl_smuggle=x",
        "https://example.com/" + "a" * 2_048,
    ],
)
def test_everything_else_is_refused_with_a_reason(url: str) -> None:
    assert urls.problem(url)


@given(st.text(max_size=80))
def test_any_text_is_judged_without_an_error(text: str) -> None:
    urls.problem(text)
    urls.problem(f"https://{text}")


def test_hosts_of_one_site_share_a_lane() -> None:
    assert urls.site("https://www.Example.com/a") == urls.site("http://example.com:81/b") == "example.com"
