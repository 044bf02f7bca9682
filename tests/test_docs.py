"""What the documentation lists is what there is."""

import re
from pathlib import Path
from typing import get_args

import pytest

from scripts import events_docs, metrics_docs, settings_docs
from tests.test_layers import ROWS
from umd.api import problems
from umd.api.routes import ROUTES
from umd.domain.events import Event
from umd.domain.faults import KINDS
from umd.domain.naming import VARIABLES
from umd.domain.options import DownloadRequest

ROOT = Path(__file__).parent.parent
API = (ROOT / "docs" / "api.md").read_text()


def section(title: str) -> str:
    """The text below a heading."""
    return API.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]


def listed(title: str) -> set[str]:
    """What stands in backquotes in the tables below a heading."""
    rows = [line for line in section(title).splitlines() if line.startswith("|")]
    return {name for row in rows for name in re.findall(r"`([^`]+)`", row)}


def first_column(title: str) -> set[str]:
    return set(re.findall(r"^\| `([^`]+)`", section(title), re.MULTILINE))


def test_every_route_is_documented_and_no_other() -> None:
    routes = {f"{route.method} {route.path}" for route in ROUTES if route.method != "HEAD"}

    assert first_column("Routes") == {re.sub(r":[^}]*}", "}", route) for route in routes}


def test_every_event_type_is_documented_and_no_other() -> None:
    types = {member.__struct_config__.tag for member in get_args(Event)}

    assert first_column("Events") == {*types, "job.progress"}


def test_every_error_code_is_documented_and_no_other() -> None:
    assert listed("Errors") == problems.CODES


def test_every_fault_is_documented_with_whether_it_is_retried() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \| (yes|no) \| (.+) \|$", section("Codes of a failed download"), re.MULTILINE
    )

    assert rows == [(code, "yes" if kind.retryable else "no", kind.hint) for code, kind in KINDS.items()]


def test_every_field_of_a_request_is_documented() -> None:
    documented = first_column("A download request")

    assert set(DownloadRequest.__struct_fields__) == documented


def test_every_documented_field_exists() -> None:
    assert first_column("A download request") <= set(DownloadRequest.__struct_fields__)


def test_every_variable_of_a_template_is_documented() -> None:
    for name in VARIABLES:
        assert f"`{{{name}}}`" in API


@pytest.mark.parametrize(
    ("path", "expected"),
    [("docs/settings.md", settings_docs.markdown()), (".env.example", settings_docs.example())],
)
def test_the_settings_are_documented_as_they_are(path: str, expected: str) -> None:
    assert (ROOT / path).read_text() == expected, "run `python scripts/settings_docs.py`"


def test_the_threat_model_names_tests_that_exist() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (ROOT / "SECURITY.md").read_text())

    assert len(named) > 20
    assert [test for path, test in named if f"def {test}(" not in (ROOT / path).read_text()] == []


def test_every_metric_is_documented_and_no_other() -> None:
    expected = metrics_docs.markdown()

    assert (ROOT / "docs" / "metrics.md").read_text() == expected, "run `python scripts/metrics_docs.py`"


def test_every_event_is_documented_with_all_its_members() -> None:
    expected = events_docs.markdown()

    assert (ROOT / "docs" / "events.md").read_text() == expected, "run `python scripts/events_docs.py`"


def rooms(text: str) -> set[str]:
    """The rooms that a text names in backquotes, as the table of the layers calls them."""
    named = re.findall(r"`(?:umd/)?(\w+)(?:/|\.py)`", text)
    return set(named) & set(ROWS)


def test_the_house_and_the_map_of_it_have_every_room() -> None:
    house = (ROOT / "README.md").read_text().partition("## The house\n")[2].partition("\n## ")[0]
    shown = {
        room: int(row)
        for row, names in re.findall(r"^\| (\d) \| (.+?) \|", house, re.MULTILINE)
        for room in rooms(names)
    }

    assert shown == ROWS
    assert rooms((ROOT / "docs" / "contributing.md").read_text()) == ROWS.keys() - {"__main__", "clock"}


def test_the_readme_fits_its_first_minute() -> None:
    lines = (ROOT / "README.md").read_text().splitlines()

    assert len(lines) <= 150
    assert "$ make run" in "\n".join(lines[:20])
    assert "curl" in "\n".join(lines[:25])
