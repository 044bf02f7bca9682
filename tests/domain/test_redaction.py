import signal
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import pytest

from umd.domain import redaction


@pytest.mark.parametrize(
    ("url", "bare", "shown"),
    [
        ("https://u:p@h.test/a?token=s#f", "https://h.test/a?…", "https://h.test/a?token=…#f"),
        ("https://h.test/watch?v=1&t=2", "https://h.test/watch?…", "https://h.test/watch?v=1&t=2"),
        (
            "https://h.test/a?X-Amz-Signature=s&author=me",
            "https://h.test/a?…",
            "https://h.test/a?X-Amz-Signature=…&author=me",
        ),
        ("https://h.test/a#access_token=s&x=1", "https://h.test/a", "https://h.test/a#access_token=…&x=1"),
        ("https://h.test/a?sig=&key=s", "https://h.test/a?…", "https://h.test/a?sig=&key=…"),
        ("http://[bad/x?token=s", "http://…", "http://…"),
    ],
)
def test_a_url_shows_no_secret(url: str, bare: str, shown: str) -> None:
    assert redaction.bare_url(url) == bare
    assert redaction.shown_url(url) == shown


@pytest.mark.parametrize(
    ("words", "clean"),
    [
        ("GET https://u:p@h.test/a?q=s failed", "GET https://h.test/a?… failed"),
        ("Cookie: sid=s; other=t", "Cookie: …"),
        ("{'Authorization': 'Bearer abc'}", "{'Authorization': '…'}"),
        ("sent Bearer abcdefgh12", "sent Bearer …"),
        ("whsec_" + "A" * 32, "whsec_…"),
        ("api_key=s&next", "api_key=…&next"),
        ('{"session_id": "s"}', '{"session_id": "…"}'),
        ("a token is expected here", "a token is expected here"),
        ("a=token=s", "a=token=…"),
        ("--video.api-key.old=s", "--video.api-key.old=…"),
        ("1https://u:p@h.test/?q=s", "1https://h.test/?…"),
    ],
)
def test_words_show_no_secret(words: str, clean: str) -> None:
    assert redaction.text(words) == clean


def test_a_row_shows_no_secret_and_keeps_everything_else() -> None:
    row = {
        "request": {
            "url": "https://h.test/watch?v=1&token=s",
            "proxy": "user:s@proxy.test:1",
            "webhook_url": "https://hooks.test/services/s",
            "webhook_secret": "whsec_s",
            "cookies_id": "c1",
        },
        "metadata": {"thumbnail": "https://i.test/a.jpg?sig=public", "tags": ["https://h.test/?key=s"]},
    }

    shown = msgspec.json.decode(redaction.shown(msgspec.json.encode(row)))

    assert shown == {
        "request": {
            "url": "https://h.test/watch?v=1&token=…",
            "proxy": "proxy.test:1",
            "webhook_url": "https://hooks.test/…",
            "webhook_secret": "…",
            "cookies_id": "c1",
        },
        "metadata": {"thumbnail": "https://i.test/a.jpg?sig=public", "tags": ["https://h.test/?key=…"]},
    }


def test_a_line_of_the_log_is_clean_however_deep() -> None:
    event = {"why": ["at https://h.test/?a=s"], "token": "s", "count": 1}

    assert redaction.logged("", event) == {"why": ["at https://h.test/?…"], "token": "…", "count": 1}


@contextmanager
def cpu_limit(seconds: float) -> Iterator[None]:
    """Ends what takes more than this of the processor, however busy the machine is."""

    def over(_number: int, _frame: object) -> None:
        raise AssertionError(f"This took more than {seconds} s of the processor.")

    before = signal.signal(signal.SIGVTALRM, over)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


@pytest.mark.parametrize(
    "lure",
    ["a", "a.", "a-", "token", "-token", "token.", "token ", "http", "http://", "basic ", "cookie ", "umd_"],
)
def test_no_text_keeps_the_service_busy(lure: str) -> None:
    """A title, a name or an error says what a stranger wants it to say."""
    long = lure * (50_000 // len(lure))
    with cpu_limit(5):
        assert redaction.text(f"{long}; ://h password=s").endswith("password=…")
        shown = redaction.shown(msgspec.json.encode({"a": f"{long} ://h", "b": f"http://h.test/?{long}"}))

    assert len(shown) > 50_000
