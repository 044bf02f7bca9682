"""The media over the wire: whole, in parts, under conditions, and nothing else from the disk."""

import asyncio
import email
import hashlib
import io
import os
import random  # noqa: TID251  # seeded
import re
import threading
from pathlib import Path
from urllib.parse import unquote

import pytest
import structlog
from aiohttp import ClientPayloadError
from hypothesis import given
from hypothesis import strategies as st

from tests.api.world import PREFIX, Answer, World, is_problem, until
from umd.api import files, ranges
from umd.domain import commands as c
from umd.domain.events import File
from umd.log.memory import MemoryLog
from umd.storage.volume import Volume

DATA = bytes(range(256)) * 4
PATH = "videos/a.mp4"
ETAG = f'"{hashlib.sha256(DATA).hexdigest()}"'
MODIFIED = "Tue, 14 Nov 2023 22:13:20 GMT"
LARGE = 64 * 2**20


@pytest.fixture
async def stored(world: World) -> World:
    """A world with one stored file."""
    await world.completed({PATH: DATA})
    return world


async def sparse(world: World, size: int = LARGE) -> File:
    """A large file that takes no space, of a completed job."""
    target = world.root / PATH
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as file:
        file.truncate(size)
    file_ = File(PATH, size, "0" * 64, "video/mp4", "mp4", "media")
    await publish(world, file_)
    return file_


async def publish(world: World, *stored: File) -> str:
    """A completed job whose files the log describes like this, whatever the disk says."""
    job_id = await world.submit()
    await world.start(job_id)
    progress = world.jobs.require(job_id).job.progress
    assert progress is not None
    await world.execute(c.CompleteAttempt(job_id, 1, stored, progress))
    return job_id


def is_open(path: Path) -> bool:
    """Whether this process holds the file open."""
    links = []
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            links.append(str(descriptor.readlink()))
        except FileNotFoundError:
            continue
    return any(link.removesuffix(" (deleted)") == str(path) for link in links)


async def test_a_file_comes_whole_with_all_that_describes_it(stored: World) -> None:
    answer = await stored.get(f"/files/{PATH}")

    assert (answer.status, answer.body) == (200, DATA)
    expected = {
        "Content-Type": "video/mp4",
        "Content-Length": str(len(DATA)),
        "ETag": ETAG,
        "Last-Modified": MODIFIED,
        "Accept-Ranges": "bytes",
        "Content-Disposition": "attachment; filename=\"a.mp4\"; filename*=UTF-8''a.mp4",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "Cache-Control": "private, no-cache",
    }
    assert {name: answer.headers[name] for name in expected} == expected
    assert "Content-Range" not in answer.headers


async def test_head_describes_the_file_and_ignores_a_range(stored: World) -> None:
    got = await stored.get(f"/files/{PATH}")
    head = await stored.ask("HEAD", f"/files/{PATH}", headers={"Range": "bytes=0-9"})

    volatile = ("Date", "X-Request-ID")
    assert (head.status, head.body) == (200, b"")
    assert {name: text for name, text in head.headers.items() if name not in volatile} == {
        name: text for name, text in got.headers.items() if name not in volatile
    }


@pytest.mark.parametrize(
    ("wanted", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-1023", 0, 1_024),
        ("bytes=0-", 0, 1_024),
        ("bytes=0-99999", 0, 1_024),
        ("bytes=100-199", 100, 200),
        ("bytes=1023-", 1_023, 1_024),
        ("bytes=-1", 1_023, 1_024),
        ("bytes=-1024", 0, 1_024),
        ("bytes=-99999", 0, 1_024),
        ("bytes=2000-,5-9", 5, 10),
    ],
)
async def test_a_part_comes_alone(stored: World, wanted: str, start: int, end: int) -> None:
    answer = await stored.get(f"/files/{PATH}", Range=wanted)

    assert (answer.status, answer.body) == (206, DATA[start:end])
    assert answer.headers["Content-Range"] == f"bytes {start}-{end - 1}/1024"
    assert answer.headers["Content-Length"] == str(end - start)
    assert answer.headers["Content-Type"] == "video/mp4"
    assert answer.headers["ETag"] == ETAG


@pytest.mark.parametrize(
    "wanted", ["", "bytes=", "bytes=5-4", "bytes=a-b", "chapters=1-2", "bytes=0-,0-", "bytes=" + "0-0," * 500]
)
async def test_a_range_that_is_none_is_ignored(stored: World, wanted: str) -> None:
    answer = await stored.get(f"/files/{PATH}", Range=wanted)

    assert (answer.status, answer.body) == (200, DATA)


async def test_two_range_headers_are_ignored(stored: World) -> None:
    headers = [("Range", "bytes=0-1"), ("Range", "bytes=2-3")]

    assert (await stored.ask("GET", f"/files/{PATH}", headers=headers)).status == 200


@pytest.mark.parametrize("wanted", ["bytes=1024-", "bytes=99999-", "bytes=-0", "bytes=1024-2000,-0"])
async def test_a_range_that_is_not_there_is_refused(stored: World, wanted: str) -> None:
    answer = await stored.get(f"/files/{PATH}", Range=wanted)

    assert is_problem(answer, "range_not_satisfiable", 416)
    assert answer.headers["Content-Range"] == "bytes */1024"


async def test_several_parts_come_as_one_multipart_answer(stored: World) -> None:
    answer = await stored.get(f"/files/{PATH}", Range="bytes=0-9, 500-509, -1")

    assert answer.status == 206
    assert len(answer.body) == int(answer.headers["Content-Length"])
    assert "Content-Range" not in answer.headers
    message = email.message_from_bytes(
        b"Content-Type: " + answer.headers["Content-Type"].encode() + b"\r\n" + answer.body
    )
    assert message.get_content_type() == "multipart/byteranges"
    parts = [part for part in message.walk() if part is not message]
    assert [part["Content-Range"] for part in parts] == [
        "bytes 0-9/1024",
        "bytes 500-509/1024",
        "bytes 1023-1023/1024",
    ]
    assert {part.get_content_type() for part in parts} == {"video/mp4"}
    for span in (DATA[:10], DATA[500:510], DATA[-1:]):
        assert b"\r\n\r\n" + span + b"\r\n--" in answer.body


async def test_an_empty_file_is_whole_whatever_is_asked(world: World) -> None:
    await world.completed({PATH: b""})

    for wanted in ("bytes=0-", "bytes=0-0", "bytes=-1", "bytes=-0"):
        answer = await world.get(f"/files/{PATH}", Range=wanted)
        assert (answer.status, answer.body) == (200, b"")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-None-Match": ETAG}, 304),
        ({"If-None-Match": f"W/{ETAG}"}, 304),
        ({"If-None-Match": '"x", *'}, 200),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": '"x"'}, 200),
        ({"If-Modified-Since": MODIFIED}, 304),
        ({"If-Modified-Since": "Tue, 14 Nov 2023 22:13:19 GMT"}, 200),
        ({"If-None-Match": '"x"', "If-Modified-Since": MODIFIED}, 200),
        ({"If-None-Match": ETAG, "Range": "bytes=0-1"}, 304),
        ({"If-Match": ETAG}, 200),
        ({"If-Match": '"x"'}, 412),
        ({"If-Match": f"W/{ETAG}"}, 412),
        ({"If-Match": "*"}, 200),
        ({"If-Match": '"x"', "Range": "bytes=9999-"}, 412),
        ({"If-Unmodified-Since": MODIFIED}, 200),
        ({"If-Unmodified-Since": "Tue, 14 Nov 2023 22:13:19 GMT"}, 412),
        ({"If-Match": ETAG, "If-None-Match": ETAG}, 304),
        ({"Range": "bytes=0-1", "If-Range": ETAG}, 206),
        ({"Range": "bytes=0-1", "If-Range": '"x"'}, 200),
        ({"Range": "bytes=0-1", "If-Range": f"W/{ETAG}"}, 200),
        ({"Range": "bytes=0-1", "If-Range": MODIFIED}, 206),
        ({"Range": "bytes=0-1", "If-Range": "Tue, 14 Nov 2023 22:13:21 GMT"}, 200),
        ({"Range": "bytes=9999-", "If-Range": '"x"'}, 200),
        ({"Range": "bytes=9999-", "If-Range": ETAG}, 416),
        ({"If-Range": ETAG}, 200),
    ],
)
async def test_conditions_are_kept_in_their_order(
    stored: World, headers: dict[str, str], status: int
) -> None:
    answer = await stored.ask("GET", f"/files/{PATH}", headers=headers)

    assert answer.status == status
    if status == 304:
        assert (answer.headers["ETag"], answer.headers["Last-Modified"], answer.body) == (ETAG, MODIFIED, b"")
        assert "Content-Type" not in answer.headers
    if status == 412:
        assert is_problem(answer, "precondition_failed", 412)


@given(pairs=st.lists(st.tuples(st.integers(0, 1_100), st.integers(0, 1_100)), min_size=1, max_size=3))
def test_the_parts_are_the_bytes_that_were_asked_for(pairs: list[tuple[int, int]]) -> None:
    """Against the simplest reading of the RFC, without a server."""
    header = "bytes=" + ",".join(f"{min(pair)}-{max(pair)}" for pair in pairs)
    expected = [DATA[min(pair) : max(pair) + 1] for pair in pairs if min(pair) < len(DATA)]

    spans = ranges.parse(header, len(DATA))

    whole = sum(map(len, expected)) > len(DATA)
    assert spans is None if whole else [DATA[s.start : s.start + s.length] for s in spans or ()] == expected


async def test_a_deleted_file_is_gone(world: World) -> None:
    job_id = await world.completed({PATH: DATA})
    world.volume.delete(world.jobs.require(job_id).job.files)
    await world.execute(c.RecordFilesDeleted(job_id, "retention"))

    assert is_problem(await world.get(f"/files/{PATH}"), "file_expired", 410)


async def test_files_are_known_after_a_restart(stored: World, tmp_path: Path) -> None:
    async with World(tmp_path, log=MemoryLog(stored.log.records)).running() as after:
        answer = await after.get(f"/files/{PATH}")

    assert (answer.status, answer.body) == (200, DATA)


@pytest.mark.parametrize(
    "path",
    [
        "videos",
        "videos/",
        "videos/b.mp4",
        "videos//a.mp4",
        "videos/./a.mp4",
        "videos/../videos/a.mp4",
        "videos/%2e%2e/videos/a.mp4",
        "../videos/a.mp4",
        "..%2fvideos/a.mp4",
        "%2e%2e%2f%2e%2e%2fetc/passwd",
        "....//etc/passwd",
        "..%5c..%5cetc/passwd",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "/videos/a.mp4",
        "videos/a.mp4/",
        "videos/a.mp4%00",
        "videos/a.mp4%00.txt",
        "%252e%252e/etc/passwd",
        "videos%5ca.mp4",
        "VIDEOS/A.MP4",
        "secret.txt",
        "log/log.sqlite3",
        "temp/secret.txt",
        "file:///etc/passwd",
        "%FF%FE",
        "%u002e",
        "~/a",
        "C:/a",
        "proc/self/environ",
    ],
)
async def test_what_the_log_does_not_name_is_not_there(stored: World, path: str) -> None:
    (stored.root / "secret.txt").write_text("secret")
    (stored.root / "temp" / "secret.txt").write_text("secret")

    answer = await stored.raw(
        f"GET {PREFIX}/files/{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
    )

    assert is_problem(answer, "file_not_found", 404) or is_problem(answer, "not_found", 404)


PIECES = (
    *(
        "..",
        ".",
        "...",
        "....",
        "%2e%2e",
        "%252e%252e",
        ".%2e",
        "%c0%ae%c0%ae",
        "%ff",
        "%00",
        "%0a",
        "%u002e",
    ),
    *(
        "videos",
        "log",
        "temp",
        "cookies",
        "a.mp4",
        "secret.txt",
        "etc/passwd",
        "proc/self/environ",
        "~",
        "C:",
    ),
    *(
        "",
        "%2f",
        "%5c",
        "\\",
        "%252f",
        ";",
        "?",
        "%3f",
        "%23",
        "file:",
        "%ef%bc%8e%ef%bc%8e",
        "%e2%80%a5",
        "%ef%bc%8f",
        "*",
        "con",
        ".links.key",
    ),
)


async def wander(world: World, tmp_path: Path, count: int) -> None:
    """Ask for made-up paths: none but the file's own gives anything."""
    for place in (tmp_path, world.root, world.root / "temp", world.root / "videos"):
        (place / "secret.txt").write_text("CANARY")
    (world.root / "videos" / "out").symlink_to(tmp_path)
    chance = random.Random(8)
    for number in range(0, count, 50):
        asked = []
        for _ in range(min(50, count - number)):
            pieces = [chance.choice((*PIECES, "out")) for _ in range(chance.randrange(1, 9))]
            path = chance.choice(("/", "/", "%2f", "\\", "%5c", "//")).join(pieces).encode()
            asked.append(f"GET {PREFIX}/files/".encode() + path + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
        last = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        answers = await world.exchange(b"".join(asked) + last)
        statuses = re.findall(rb"HTTP/1\.1 (\d+)", answers)
        assert len(statuses) == len(asked) + 1
        assert set(statuses) <= {b"200", b"400", b"404"}, answers
        assert answers.count(b"HTTP/1.1 200") == answers.count(b'filename="a.mp4"')
        assert b"CANARY" not in answers
        assert b"root:" not in answers


async def test_t8_no_path_leads_anywhere_else(stored: World, tmp_path: Path) -> None:
    await wander(stored, tmp_path, 250)


@pytest.mark.soak
async def test_t8_none_of_five_thousand_paths_leads_anywhere_else(stored: World, tmp_path: Path) -> None:
    await wander(stored, tmp_path, 5_000)


async def test_a_file_of_a_job_that_is_not_completed_is_not_there(world: World) -> None:
    world.store(PATH, DATA)
    await world.submit()

    assert is_problem(await world.get(f"/files/{PATH}"), "file_not_found", 404)


async def test_a_symbolic_link_is_not_followed(world: World, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_bytes(DATA)
    await world.completed({PATH: DATA, "videos/deep/b.mp4": DATA})
    (world.root / PATH).unlink()
    (world.root / PATH).symlink_to(tmp_path / "secret.txt")
    (world.root / "videos/deep").rename(world.root / "elsewhere")
    (world.root / "videos/deep").symlink_to(world.root / "elsewhere")

    assert is_problem(await world.get(f"/files/{PATH}"), "file_not_found", 404)
    assert is_problem(await world.get("/files/videos/deep/b.mp4"), "file_not_found", 404)


@pytest.mark.parametrize("kind", ["gone", "longer", "shorter", "folder", "pipe"])
async def test_a_file_that_is_not_as_the_log_says_is_not_served(stored: World, kind: str) -> None:
    target = stored.root / PATH
    target.unlink()
    match kind:
        case "longer":
            target.write_bytes(DATA + b"1")
        case "shorter":
            target.write_bytes(DATA[1:])
        case "folder":
            target.mkdir()
        case "pipe":
            os.mkfifo(target)
        case _:
            pass

    with structlog.testing.capture_logs() as lines:
        answer = await stored.get(f"/files/{PATH}")

    expected = {"gone": ("file_not_found", 404)}.get(kind, ("internal", 500))
    assert is_problem(answer, *expected)
    assert [line["event"] for line in lines if line["log_level"] == "error"] == [
        "files.missing" if kind == "gone" else "files.changed"
    ]


@pytest.mark.parametrize(
    ("mime_type", "shown"),
    [
        ("video/mp4", "video/mp4"),
        ("audio/mpeg", "audio/mpeg"),
        ("image/webp", "image/webp"),
        ("text/vtt", "text/vtt"),
        ("application/json", "application/json"),
        ("text/html", "application/octet-stream"),
        ("image/svg+xml", "application/octet-stream"),
        ("application/xhtml+xml", "application/octet-stream"),
        ("text/javascript", "application/octet-stream"),
        ("video/mp4\r\nX: 1", "application/octet-stream"),
        ("video/html; charset=x", "application/octet-stream"),
        ("", "application/octet-stream"),
    ],
)
async def test_only_harmless_types_are_named(world: World, mime_type: str, shown: str) -> None:
    await publish(world, world.store(PATH, DATA, mime_type))

    assert (await world.get(f"/files/{PATH}")).headers["Content-Type"] == shown


NAMES = [
    "ä ö.mp4",
    "日本語.mp4",
    "100% %2F.mp4",
    'a"b;c.mp4',
    "a'b(c)*.mp4",
    "…",
    "a\u202eb.mp4",
    "&?#=+.mp4",
    "😀.mp4",
]


@pytest.mark.parametrize("name", NAMES)
async def test_a_file_is_found_under_its_link_and_downloaded_under_its_name(world: World, name: str) -> None:
    job_id = await world.completed({f"videos/{name}": DATA})

    url = (await world.get(f"/download/{job_id}")).json["file_info"]["file_url"]
    answer = await world.raw(
        f"GET {url} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode("ascii")
    )

    assert (answer.status, answer.body) == (200, DATA)
    assert unquote(answer.headers["Content-Disposition"].partition("UTF-8''")[2]) == name


def assert_kept(name: str) -> None:
    """The name stands in its header whole, and nothing else does; the standard library reads it so, too."""
    header = files.disposition(name)

    assert re.fullmatch(
        r"attachment; filename=\"[ !#$&-\[\]-~]+\"; filename\*=UTF-8''[A-Za-z0-9%._~-]*", header
    ), header
    told = name.encode(errors="replace").decode()
    assert unquote(header.partition("UTF-8''")[2]) == told
    read = email.message_from_string(f"Content-Disposition: {header}\r\n\r\n")
    assert read.get_content_disposition() == "attachment"


@given(st.text(max_size=300))
def test_t28_no_name_breaks_out_of_its_header(name: str) -> None:
    assert_kept(name)


@pytest.mark.soak
def test_t28_none_of_a_hundred_thousand_names_does() -> None:
    chance = random.Random(28)
    marks = "\"\\';=%\r\n\t\0*,/ \u2028\u202e\x85\ud800\udcff\U0001f600éß"
    for _ in range(100_000):
        size = chance.randrange(40)
        assert_kept(
            "".join(
                chance.choice(marks) if chance.random() < 0.5 else chr(chance.randrange(0x110000))
                for _ in range(size)
            )
        )


async def test_nothing_is_left_open_when_a_client_goes_away(world: World) -> None:
    await sparse(world)
    async with world.connected() as (reader, writer):
        writer.write(f"GET {PREFIX}/files/{PATH} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        await reader.readexactly(100_000)
        assert is_open(world.root / PATH)

    await until(lambda: not is_open(world.root / PATH))


async def test_a_file_that_opens_too_late_for_its_client_is_closed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.completed({PATH: DATA})
    others = world.connections
    asked, gate = threading.Event(), threading.Event()
    opened: list[io.FileIO | None] = []
    really_open = files._open

    def open_late(volume: Volume, file: File) -> io.FileIO | None:
        asked.set()
        gate.wait(5)
        opened.append(really_open(volume, file))
        return opened[0]

    monkeypatch.setattr(files, "_open", open_late)
    async with world.connected() as (_, writer):
        writer.write(f"GET {PREFIX}/files/{PATH} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        await until(asked.is_set)
    await until(lambda: world.connections == others)

    gate.set()

    await until(lambda: bool(opened) and opened[0] is not None and opened[0].closed)


async def test_a_client_that_takes_nothing_is_cut_off(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "SLICE_WAIT_SEC", 0.05)
    await sparse(world)
    async with world.connected() as (reader, writer):
        writer.write(f"GET {PREFIX}/files/{PATH} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        await reader.readexactly(1_000)
        await until(lambda: not is_open(world.root / PATH))


async def test_a_file_that_shrinks_on_the_way_breaks_the_answer_off(world: World) -> None:
    await sparse(world)

    async with world.session.get(f"{PREFIX}/files/{PATH}") as answer:
        os.truncate(world.root / PATH, 0)
        with pytest.raises(ClientPayloadError):
            await answer.read()


async def test_a_file_that_is_deleted_on_the_way_is_sent_to_its_end(world: World) -> None:
    await sparse(world)

    async with world.session.get(f"{PREFIX}/files/{PATH}") as answer:
        (world.root / PATH).unlink()
        sent = 0
        async for chunk in answer.content.iter_any():
            sent += len(chunk)

    assert sent == LARGE


async def test_many_parts_at_once_make_the_whole(stored: World) -> None:
    async def part(start: int) -> Answer:
        return await stored.get(f"/files/{PATH}", Range=f"bytes={start}-{start + 31}")

    parts = await asyncio.gather(*(part(start) for start in range(0, len(DATA), 32)))

    assert b"".join(answer.body for answer in parts) == DATA
