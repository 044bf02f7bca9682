from typing import Any, get_args

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from tests.log.strategies import messages
from tests.log.worlds import STARTED, chained, row
from umd.domain.commands import Command
from umd.domain.events import Event, JobLog, JobStarted, LogLine
from umd.errors import LogError
from umd.log import Record, Unknown
from umd.log.codec import COMMANDS, EVENTS, UPCASTS, Codec


class CatFed(msgspec.Struct, frozen=True, tag_field="type", tag="cat.fed"):
    """An invented event, in its third shape: once it had `food`, then `grams` as a text."""

    meal: str
    grams: int


class CatPurred(msgspec.Struct, frozen=True, tag_field="type", tag="cat.purred"):
    """Another one, in its first shape."""


def rename(body: dict[str, Any]) -> dict[str, Any]:
    return {"type": "cat.fed", "meal": body["food"], "grams": body["grams"]}


def count(body: dict[str, Any]) -> dict[str, Any]:
    return {**body, "grams": int(body["grams"])}


CATS: Codec[CatFed | CatPurred] = Codec(CatFed | CatPurred, {("cat.fed", 1): rename, ("cat.fed", 2): count})


def stored(kind: str, version: int, data: bytes) -> Record:
    [record] = chained(row(1, type=kind, schema_version=version, data=data))
    return record


@settings(max_examples=300, deadline=None)
@given(st.one_of([messages(member) for member in get_args(Event)]))
def test_every_event_reads_as_it_was_written(event: Event) -> None:
    assert EVENTS.decode(stored(*EVENTS.encode(event))) == event


@settings(max_examples=300, deadline=None)
@given(st.one_of([messages(member) for member in get_args(Command)]))
def test_every_command_reads_as_it_was_written(command: Command) -> None:
    assert COMMANDS.decode(stored(*COMMANDS.encode(command))) == command


def test_the_type_is_the_tag_in_the_data() -> None:
    name, version, data = EVENTS.encode(STARTED)

    assert (name, version) == ("job.started", EVENTS.versions["job.started"])
    assert msgspec.json.decode(data)["type"] == "job.started"


def test_every_upcast_is_of_a_type_that_exists_and_leads_to_its_newest_shape() -> None:
    versions = EVENTS.versions | COMMANDS.versions

    assert set(UPCASTS) == {(name, n) for name, newest in versions.items() for n in range(1, newest)}


@pytest.mark.parametrize(
    ("version", "data"),
    [
        (1, b'{"type":"cat.fed","food":"fish","grams":"90"}'),
        (2, b'{"type":"cat.fed","meal":"fish","grams":"90"}'),
        (3, b'{"type":"cat.fed","meal":"fish","grams":90}'),
    ],
)
def test_an_older_shape_is_lifted_to_the_newest(version: int, data: bytes) -> None:
    assert CATS.decode(stored("cat.fed", version, data)) == CatFed("fish", 90)


def test_what_is_written_has_the_newest_version() -> None:
    assert CATS.encode(CatFed("fish", 90))[:2] == ("cat.fed", 3)
    assert CATS.encode(CatPurred())[:2] == ("cat.purred", 1)


def test_a_newer_shape_and_an_unknown_type_are_unknown_without_complaint() -> None:
    with capture_logs() as logs:
        assert CATS.decode(stored("cat.fed", 4, b"{}")) == Unknown("cat.fed", b"{}")
        assert CATS.decode(stored("dog.fed", 1, b"{")) == Unknown("dog.fed", b"{")

    assert logs == []


@pytest.mark.parametrize(
    ("version", "data"),
    [
        pytest.param(3, b'{"type":"cat.fed","meal":"fish","gr', id="torn"),
        pytest.param(3, b'{"type":"cat.fed","meal":7,"grams":90}', id="of another type"),
        pytest.param(3, b'{"type":"cat.purred"}', id="another tag"),
        pytest.param(1, b'{"type":"cat.fed"}', id="an upcast that raises"),
        pytest.param(1, b"[]", id="no object"),
        pytest.param(0, b"{}", id="a version that never was"),
        pytest.param(3, b"[" * 100_000, id="deep"),
    ],
)
def test_an_unreadable_row_of_a_known_type_is_unknown_with_an_error(version: int, data: bytes) -> None:
    with capture_logs() as logs:
        assert CATS.decode(stored("cat.fed", version, data)) == Unknown("cat.fed", data, damaged=True)

    assert [(entry["log_level"], entry["position"]) for entry in logs] == [("error", 1)]


def test_what_could_not_be_read_again_is_not_written() -> None:
    line = LogLine(0, "shout", "hey")  # type: ignore[arg-type]  # that is the point

    with pytest.raises(LogError, match=r"job\.log"):
        EVENTS.encode(JobLog(1, (line,)))


def test_a_new_field_with_a_default_reads_old_rows() -> None:
    assert EVENTS.decode(stored("job.log", 1, b'{"type":"job.log","attempt":1,"lines":[]}')) == JobLog(1, ())


def test_a_field_of_a_newer_release_is_passed_over() -> None:
    data = b'{"type":"job.started","attempt":1,"ytdlp_version":"2026.10.26","mood":"good"}'

    assert EVENTS.decode(stored("job.started", 1, data)) == JobStarted(1, "2026.10.26")


PURR = b'{"type":"cat.purred"}'
ROWS = [
    stored("cat.fed", 3, b'{"type":"cat.fed","meal":"fish","grams":90}'),
    stored("cat.fed", 1, b'{"type":"cat.fed","food":"fish","grams":"90"}'),
    stored("cat.fed", 9, b"{}"),
    stored("cat.purred", 1, PURR),
    stored("cat.purred", 1, b'{"type":"cat.fed","meal":"fish","grams":90}'),
    stored("cat.purred", 1, PURR + b"\n" + PURR),
    stored("cat.purred", 1, b'{"type":\n"cat.purred"}'),
    stored("cat.purred", 1, b""),
    stored("cat.purred", 1, b"\xff"),
    stored("dog.barked", 1, b"{}"),
]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(ROWS), max_size=6))
@example([ROWS[5], ROWS[7]])  # three lines, of which one is blank
def test_what_is_read_at_once_is_what_each_row_says(records: list[Record]) -> None:
    with capture_logs():
        assert CATS.decode_all(records) == [CATS.decode(record) for record in records]
