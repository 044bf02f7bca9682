"""The way from a hook to a report that the service reads: metadata, progress, words, lines."""

import asyncio
import contextlib
import os
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from umd.domain.events import Chapter
from umd.engine import inbox
from umd.engine.metadata import metadata
from umd.engine.progress import Tally
from umd.engine.protocol import LINE_BYTES_MAX, AnyReport, Entered, Finished, Said, Tick
from umd.engine.reports import LINES_MAX, Reporter
from umd.engine.wording import lines, readable

INFO: dict[str, Any] = {"id": "x", "title": "T", "extractor": "site"}
HOSTILE: list[tuple[dict[str, Any], str, object]] = [
    ({"id": 12_345}, "id", "12345"),
    ({"id": None}, "id", "unknown"),
    ({"title": "a\r\nb\x00\x1b[31m\x9fc "}, "title", "a b [31m c"),
    ({"title": "x" * 10_000}, "title", "x" * 500),
    ({"title": None}, "title", "x"),
    ({"title": "half \ud83d pair"}, "title", "half ? pair"),
    ({"description": "one\r\ntwo\n\x00three"}, "description", "one\ntwo\n three"),
    ({"description": "d" * 50_000_000}, "description", "d" * 5_000),
    ({"webpage_url": "javascript:alert(1)"}, "webpage_url", None),
    ({"thumbnail": "http://a.test/" + "x" * 3_000}, "thumbnail", None),
    ({"upload_date": "2026-01-02"}, "upload_date", None),
    ({"upload_date": "20260102"}, "upload_date", "20260102"),
    ({"duration": float("nan")}, "duration", None),
    ({"duration": -1}, "duration", None),
    ({"view_count": 10**400}, "view_count", None),
    ({"view_count": 12.0}, "view_count", 12),
    ({"view_count": "12"}, "view_count", None),
    ({"like_count": True}, "like_count", None),
    ({"tags": ["a", 1, None, "", "b\n"] + ["t"] * 1_000}, "tags", ("a", "1", "b") + ("t",) * 95),
    ({"tags": "abc"}, "tags", ()),
    ({"chapters": [{"title": None, "start_time": 1, "end_time": 2}, {"start_time": "x"}, 7]}, "chapters",
     (Chapter("", 1.0, 2.0),)),
    ({"chapters": [{"title": "c", "start_time": n} for n in range(9_000)]}, "chapters",
     tuple(Chapter("c", float(n)) for n in range(500))),
    ({"is_live": "yes"}, "is_live", False),
]  # fmt: skip


@pytest.mark.parametrize(("given", "field", "expected"), HOSTILE, ids=lambda value: repr(value)[:40])
def test_metadata_is_typed_bounded_and_clean(given: dict[str, Any], field: str, expected: object) -> None:
    made = metadata(INFO | given)

    assert getattr(made, field) == expected
    assert msgspec.json.decode(msgspec.json.encode(made), type=type(made)) == made


def hook(key: str, done: int, total: int | None = None, **more: Any) -> dict[str, Any]:  # noqa: ANN401
    state = {"status": "downloading", "downloaded_bytes": done, "total_bytes": total}
    return {**state, "info_dict": {"format_id": key}, **more}


def test_the_progress_of_two_streams_is_one_and_only_grows() -> None:
    tally = Tally()
    tally.expect(
        {"requested_formats": [{"format_id": "v", "filesize": 900}, {"format_id": "a", "filesize": 100}]}
    )
    seen = []
    for one in (
        hook("v", 450, 900),
        hook("v", 200, 900),
        hook("v", 900, 900),
        hook("a", 50, 100),
        hook("a", 100, 100),
    ):
        tally.update(one)
        seen.append(tally.progress("downloading"))

    assert [one.percent for one in seen] == [45.0, 45.0, 90.0, 95.0, 100.0]
    assert [one.downloaded_bytes for one in seen] == [450, 200, 900, 950, 1000]
    assert {one.total_bytes for one in seen} == {1000}


def test_the_eta_is_that_of_all_streams() -> None:
    tally = Tally()
    tally.expect(
        {"requested_formats": [{"format_id": "v", "filesize": 900}, {"format_id": "a", "filesize": 100}]}
    )
    tally.update(hook("v", 500, 900, speed=100.0, eta=4))

    assert (tally.progress("downloading").eta, tally.progress("downloading").speed) == (5.0, 100.0)
    assert tally.progress("processing").eta is None


def test_where_sizes_are_unknown_the_bit_rates_weigh() -> None:
    tally = Tally()
    tally.expect({"requested_formats": [{"format_id": "v", "tbr": 300}, {"format_id": "a", "tbr": 100}]})
    tally.update(hook("v", 10, None, fragment_index=1, fragment_count=2))
    half = tally.progress("downloading")
    tally.update(hook("v", 20, status="finished"))
    done = tally.progress("downloading")

    assert (half.percent, half.total_bytes, half.fragment_index, half.fragment_count) == (37.5, None, 1, 2)
    assert done.percent == 75.0


def test_without_any_size_there_is_no_percentage() -> None:
    tally = Tally()
    tally.expect({"format_id": "live"})
    tally.update(hook("live", 12_345))

    assert (tally.progress("downloading").percent, tally.progress("downloading").downloaded_bytes) == (
        None,
        12_345,
    )


def test_an_estimate_that_proves_too_small_does_not_pass_100() -> None:
    tally = Tally()
    tally.expect({"format_id": "f"})
    tally.update(hook("f", 200, total_bytes_estimate=100.0))

    assert tally.progress("downloading").percent == 100.0


def test_other_files_are_no_progress() -> None:
    tally = Tally()
    tally.expect({"format_id": "f", "filesize": 100})

    assert not tally.update({"status": "downloading", "downloaded_bytes": 7, "info_dict": {"ext": "vtt"}})
    assert tally.progress("downloading").downloaded_bytes == 0


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def sent(descriptor: int) -> list[AnyReport]:
    data = os.read(descriptor, 1_000_000)
    return [msgspec.json.decode(line, type=AnyReport) for line in data.splitlines()]


def test_ticks_are_told_four_times_a_second_and_the_last_of_a_stage_is_not_lost(
    pipe: tuple[int, int],
) -> None:
    now = 100.0
    reporter = Reporter(pipe[1], lambda: now)
    reporter.tally.expect({"format_id": "f", "filesize": 1_000})
    reporter.enter("downloading")
    for step in range(100):
        now = 100.0 + step / 50
        reporter.tally.update(hook("f", step * 10, 1_000))
        reporter.tick()
    reporter.flush()
    reporter.flush()
    reports = sent(pipe[0])

    ticks = [one.progress.downloaded_bytes for one in reports if isinstance(one, Tick)]
    assert ticks == [0, 130, 260, 390, 520, 650, 780, 910, 990]
    assert isinstance(reports[0], Entered)


def test_a_phase_is_entered_once(pipe: tuple[int, int]) -> None:
    reporter = Reporter(pipe[1])
    for step in ("Merger", "Merger", "Metadata", "Metadata"):
        reporter.enter("processing", step)

    assert [one.step for one in sent(pipe[0]) if isinstance(one, Entered)] == ["Merger", "Metadata"]


def test_lines_are_clean_and_limited(pipe: tuple[int, int]) -> None:
    reporter = Reporter(pipe[1])
    reporter.say("warning", "\x1b[0;33mWARNING:\x1b[0m one\n\n  two https://a:b@c.test/d?e=f \x00\n")
    for _ in range(LINES_MAX):
        reporter.say("info", "again")
    reports = [one for one in sent(pipe[0]) if isinstance(one, Said)]

    assert reports[:2] == [Said("warning", "WARNING: one"), Said("warning", "two https://c.test/d?…")]
    assert len(reports) == LINES_MAX
    assert "left out" in reports[-1].message


async def _write_until_full(descriptor: int, line: bytes) -> int:
    written = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            written += os.write(descriptor, line) // len(line)
            await asyncio.sleep(0)
    return written


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("x" * 5_000, "x" * 2_000),
        ("http://[bad/x?token=s", "http://…"),
        ("rtmp://u:p@h.test/live?k=1", "rtmp://h.test/live?…"),
        ("'https://h.test/a?b' \"https://h.test/c#d\"", "'https://h.test/a?…' \"https://h.test/c\""),
        ("lone \ud800 surrogate", "lone ? surrogate"),
    ],
)
def test_words_are_fit_to_be_shown(text: str, clean: str) -> None:
    assert readable(text) == clean
    assert lines("\n\x1b[K\n") == []


async def test_an_unread_tick_gives_way_and_nothing_else_does(pipe: tuple[int, int]) -> None:
    box = inbox.Inbox(pytest.fail)
    await box.open(os.dup(pipe[0]))
    reporter = Reporter(pipe[1], iter(range(0, 1_000, 10)).__next__)
    for number in range(20):
        reporter.tally.expect({"format_id": str(number)})
        reporter.tick()
    reporter.say("info", "a line")
    reporter.tick()
    reporter.send(Finished())
    reports = [await box.read() for _ in range(4)]

    assert [type(one) for one in reports] == [Tick, Said, Tick, Finished]
    box.close()
    assert await box.read() is None


async def test_a_slow_reader_makes_the_child_wait_and_loses_nothing(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "REPORTS_MAX", 10)
    box = inbox.Inbox(pytest.fail)
    await box.open(os.dup(pipe[0]))
    os.set_blocking(pipe[1], False)
    line = msgspec.json.encode(Said("info", "x" * 1_000)) + b"\n"
    written = await _write_until_full(pipe[1], line)
    assert len(box._reports) < 500

    assert {await box.read() for _ in range(written)} == {Said("info", "x" * 1_000)}
    box.close()


@pytest.mark.parametrize(
    "nonsense", [b"{}\n", b"\xff\xfe\n", b'{"is":"tick"}\n', b"x" * (LINE_BYTES_MAX + 1)]
)
async def test_nonsense_ends_the_stream(pipe: tuple[int, int], nonsense: bytes) -> None:
    reasons: list[str] = []
    box = inbox.Inbox(reasons.append)
    await box.open(os.dup(pipe[0]))
    writing = asyncio.to_thread(
        _write, pipe[1], msgspec.json.encode(Said("info", "before")) + b"\n" + nonsense
    )
    task = asyncio.create_task(writing)
    reports = [await box.read(), await box.read()]
    os.set_blocking(pipe[0], False)
    while not task.done():
        await asyncio.to_thread(_drain, pipe[0])
    await task

    assert reports == [Said("info", "before"), None]
    assert len(reasons) == 1


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _drain(descriptor: int) -> None:
    with contextlib.suppress(BlockingIOError):
        os.read(descriptor, 1_000_000)
