import pytest
from hypothesis import given
from hypothesis import strategies as st

from umd.clock import SECOND
from umd.domain import cookies
from umd.domain.cookies import Cookie
from umd.errors import InvalidInput

LINE = ".example.com\tTRUE\t/\tTRUE\t0\tsid\tcrumbs"


def jar(*lines: str) -> str:
    return "\n".join(("# Netscape HTTP Cookie File", "", *lines, ""))


def test_a_jar_is_read_whole() -> None:
    text = jar(LINE, "#HttpOnly_www.example.org\tFALSE\t/a\tFALSE\t1700000000.5\tb\t\r")

    assert cookies.parse(text) == (
        Cookie("example.com", True, "/", True, 0, "sid", "crumbs"),
        Cookie("www.example.org", False, "/a", False, 1_700_000_000, "b", ""),
    )


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"name": "sid"}', "1 fields"),
        (LINE.replace("\t", " "), "1 fields"),
        (LINE.replace(".example.com", "com"), "domain"),
        (LINE.replace(".example.com", "exa mple.com"), "domain"),
        (LINE.replace(".example.com", "../x"), "domain"),
        (LINE.replace("TRUE\t/", "true\t/"), "TRUE or FALSE"),
        (LINE.replace("\t/\t", "\tx\t"), "path"),
        (LINE.replace("\t0\t", "\tnever\t"), "expiry"),
        (LINE.replace("sid", ""), "name"),
        (LINE.replace("sid", "s;d"), "name"),
        (LINE.replace("crumbs", "a;b"), "value"),
        (LINE.replace("crumbs", "secret\x01"), "value"),
        (LINE.replace("crumbs", "x" * 9_000), "value"),
    ],
)
def test_a_line_that_is_not_understood_is_refused_and_not_repeated(line: str, says: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        cookies.parse(jar(LINE, line))

    [error] = refused.value.errors
    assert error.pointer == "/cookies"
    assert says in error.message
    assert error.message.startswith("Line 4:")
    assert "secret" not in error.message


@pytest.mark.parametrize("text", ["", "# nothing\n", jar(LINE) * 3_000, jar(LINE[:-6] + '"' * 60_000)])
def test_a_jar_that_is_empty_or_too_large_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        cookies.parse(text)


def test_only_what_has_not_expired_is_handed_on() -> None:
    parsed = cookies.parse(jar(LINE, LINE.replace("sid", "old").replace("\t0\t", "\t100\t")))

    assert cookies.render(parsed, 100 * SECOND) == f"{cookies.HEADER}{LINE}\n"
    assert cookies.expires_at(parsed) is None
    assert cookies.expires_at(parsed[1:]) == 100 * SECOND
    assert cookies.domains(parsed) == ("example.com",)


@given(st.text(max_size=200))
def test_whatever_comes_is_read_or_refused(text: str) -> None:
    try:
        parsed = cookies.parse(LINE.replace("crumbs", text))
    except InvalidInput:
        return

    assert cookies.parse(cookies.render(parsed, 0)) == parsed
