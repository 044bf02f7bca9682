import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from tests.domain.builders import AT, JOB_ID, PROGRESS
from umd.api import sse_frames as frames
from umd.clock import instant
from umd.domain.events import JobLog, LogLine, Progress
from umd.log import Record


def record(data: bytes, kind: str = "job.log") -> Record:
    return Record(7, f"job-{JOB_ID}", 3, "event", kind, 1, AT, "c", None, data, b"")


def test_an_event_is_its_stored_fields_behind_whose_it_is_and_when() -> None:
    frame = frames.event(record(b'{"type":"job.started","attempt":1}', "job.started"))

    assert frame == (
        b"event: job.started\n"
        b'data: {"request_id":"01hf0000000000000000000000","at":"2023-11-14T22:13:20.000Z",'
        b'"type":"job.started","attempt":1}\n'
        b"id: 7\n\n"
    )


def test_an_event_without_fields_is_still_json() -> None:
    data = frames.event(record(b"{}")).split(b"\n")[1].removeprefix(b"data: ")

    assert msgspec.json.decode(data) == {"request_id": JOB_ID, "at": "2023-11-14T22:13:20.000Z"}


def test_an_event_of_the_engine_belongs_to_no_request() -> None:
    row = Record(8, "engine", 1, "event", "engine.updated", 1, AT, "", None, b'{"version":"1"}', b"")

    data = frames.event(row).split(b"\n")[1].removeprefix(b"data: ")

    assert msgspec.json.decode(data) == {"at": "2023-11-14T22:13:20.000Z", "version": "1"}


@given(st.text())
@example("a\r\nid: 9\r\n\r\nevent: x\rdata: y\n\n")
@example("a\u2028b\u2029c\x85d\x0be\x0cf\0g\ufeff")
def test_t29_whatever_a_log_line_says_an_event_is_three_lines(message: str) -> None:
    event = JobLog(1, (LogLine(instant(AT), "info", message),))

    name, data, position, *end = frames.event(record(msgspec.json.encode(event))).split(b"\n")

    assert (name, position, end) == (b"event: job.log", b"id: 7", [b"", b""])
    assert b"\r" not in data
    assert msgspec.json.decode(data[6:])["lines"][0]["message"] == message


def test_a_tick_has_the_fields_of_progress_and_no_id() -> None:
    name, data, *end = frames.progress(JOB_ID, PROGRESS).split(b"\n")

    assert (name, end) == (b"event: job.progress", [b"", b""])
    assert msgspec.json.decode(data[6:]) == {"request_id": JOB_ID, **msgspec.to_builtins(PROGRESS)}


def test_the_progress_fields_are_those_of_the_contract() -> None:
    assert set(Progress.__struct_fields__) == {
        "percent",
        "downloaded_bytes",
        "total_bytes",
        "speed",
        "eta",
        "phase",
        "fragment_index",
        "fragment_count",
    }


def test_a_chunk_names_its_length_in_hexadecimal() -> None:
    assert frames.chunk(b"x" * 26) == b"1a\r\n" + b"x" * 26 + b"\r\n"
