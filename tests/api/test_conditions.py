"""Which preconditions hold, by RFC 9110, section 13."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from umd.api.conditions import Validators, failed, range_holds, unchanged

NOW = Validators("abc", 784_111_777)
SAME = "Sun, 06 Nov 1994 08:49:37 GMT"
EARLIER = "Sun, 06 Nov 1994 08:49:36 GMT"
LATER = "Sun, 06 Nov 1994 08:49:38 GMT"
SAME_IN_OLD_FORMS = ("Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994")
NO_DATES = (
    "",
    "yesterday",
    "0",
    "Sun, 99 Nov 1994 08:49:37 GMT",
    "1994-11-06T08:49:37Z",
    "Sun, 06 Nov 99999999",
)


def headers(**fields: str) -> CIMultiDictProxy[str]:
    return CIMultiDictProxy(CIMultiDict({name.replace("_", "-"): text for name, text in fields.items()}))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, False),
        ({"If_Match": '"abc"'}, False),
        ({"If_Match": "*"}, False),
        ({"If_Match": '"x", "abc"'}, False),
        ({"If_Match": '"x","abc","y"'}, False),
        ({"If_Match": '"x"'}, True),
        ({"If_Match": 'W/"abc"'}, True),
        ({"If_Match": "abc"}, True),
        ({"If_Match": ""}, True),
        ({"If_Unmodified_Since": SAME}, False),
        ({"If_Unmodified_Since": LATER}, False),
        ({"If_Unmodified_Since": EARLIER}, True),
        ({"If_Match": '"abc"', "If_Unmodified_Since": EARLIER}, False),
        ({"If_Match": '"x"', "If_Unmodified_Since": LATER}, True),
        *[({"If_Unmodified_Since": text}, False) for text in (*NO_DATES, *SAME_IN_OLD_FORMS)],
    ],
)
def test_a_precondition_fails(fields: dict[str, str], expected: bool) -> None:
    assert failed(headers(**fields), NOW) is expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, False),
        ({"If_None_Match": '"abc"'}, True),
        ({"If_None_Match": 'W/"abc"'}, True),
        ({"If_None_Match": "*"}, True),
        ({"If_None_Match": '"x", W/"abc"'}, True),
        ({"If_None_Match": '"a,b", "abc"'}, True),
        ({"If_None_Match": '"x"'}, False),
        ({"If_None_Match": "abc"}, False),
        ({"If_Modified_Since": SAME}, True),
        ({"If_Modified_Since": LATER}, True),
        ({"If_Modified_Since": EARLIER}, False),
        ({"If_None_Match": '"x"', "If_Modified_Since": LATER}, False),
        ({"If_None_Match": '"abc"', "If_Modified_Since": EARLIER}, True),
        *[({"If_Modified_Since": text}, True) for text in SAME_IN_OLD_FORMS],
        *[({"If_Modified_Since": text}, False) for text in NO_DATES],
    ],
)
def test_the_client_has_it_already(fields: dict[str, str], expected: bool) -> None:
    assert unchanged(headers(**fields), NOW) is expected


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ('"abc"', True),
        (' "abc" ', True),
        ('W/"abc"', False),
        ('"x"', False),
        ("abc", False),
        ("*", False),
        ('"abc", "x"', False),
        (SAME, True),
        (EARLIER, False),
        (LATER, False),
        ("nonsense", False),
        ("", False),
    ],
)
def test_a_part_is_sent_of_the_same_state_only(condition: str, expected: bool) -> None:
    assert range_holds(headers(If_Range=condition), NOW) is expected


def test_without_a_condition_a_part_is_sent() -> None:
    assert range_holds(headers(), NOW)


@given(st.text(max_size=50))
def test_no_text_is_too_strange(text: str) -> None:
    fields = headers(If_Match=text, If_None_Match=text, If_Range=text)
    dates = headers(If_Modified_Since=text, If_Unmodified_Since=text)

    assert {failed(fields, NOW), unchanged(fields, NOW), range_holds(fields, NOW)} <= {True, False}
    assert {failed(dates, NOW), unchanged(dates, NOW)} <= {True, False}
