"""Whatever comes: no 5xx, and every error is a problem with a documented code."""

from urllib.parse import quote

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api.world import PREFIX, URL, Answer, World
from umd.api.problems import CODES, MEANINGS
from umd.domain.options import ChannelDownloadRequest, DownloadRequest, PlaylistDownloadRequest

fuzz = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

FIELDS = DownloadRequest.__struct_fields__
BATCH_FIELDS = sorted(
    {*PlaylistDownloadRequest.__struct_fields__, *ChannelDownloadRequest.__struct_fields__, "urls"}
)
texts = st.text(max_size=20)
leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
requests = st.dictionaries(st.sampled_from(FIELDS) | texts, values, max_size=5)
urls = st.builds(
    "{}{}".format, st.sampled_from(["", "https://", "http://a/", "https://[", "//", "https://a:"]), texts
)
templates = st.text(alphabet="{}idtle./\\~: \x00é", max_size=20)
PATHS = [
    "/download",
    "/download/{}",
    "/download/{}/logs",
    "/batch",
    "/batch/{}",
    "/log",
    "/formats",
    "/metadata",
    "/playlist/preview",
    "/channel/info",
    "/files/{}",
    "/health",
    "/{}",
]
NAMES = [
    "status",
    "limit",
    "cursor",
    "level",
    "after",
    "stream",
    "url",
    "page",
    "page_size",
    "raw",
    "date_after",
    "sort_by",
]
HEADERS = [
    "Accept", "Accept-Encoding", "Authorization", "Connection", "Content-Type", "Cookie", "Date", "Host",
    "Idempotency-Key", "If-Match", "If-Modified-Since", "If-None-Match", "If-Range", "If-Unmodified-Since",
    "Origin", "Range", "Referer", "TE", "Upgrade", "User-Agent", "X-Api-Key", "X-Forwarded-For",
    "X-Request-ID",
]  # fmt: skip


def check(answer: Answer) -> None:
    """No fault of ours, and an error that a client can understand."""
    assert answer.status < 500, answer
    if answer.status >= 400:
        assert answer.headers["Content-Type"] == "application/problem+json"
        body = answer.json
        assert body["code"] in CODES
        assert MEANINGS[body["code"]].status == answer.status == body["status"]
        assert body["request_id"] == answer.headers["X-Request-ID"]
    assert answer.headers["X-Request-ID"].isascii()


@fuzz
@given(body=st.binary(max_size=100) | st.builds(msgspec.json.encode, values))
async def test_bodies(world: World, body: bytes) -> None:
    check(await world.post(body))


@fuzz
@given(body=requests, url=urls | st.just(URL), template=templates | st.none())
async def test_requests(world: World, body: dict[str, object], url: str, template: str | None) -> None:
    answer = await world.post({**body, "url": url, **({"path_template": template} if template else {})})

    check(answer)
    assert answer.status in (202, 403, 422)


@fuzz
@given(
    what=st.sampled_from(["batch", "playlist", "channel"]),
    body=st.dictionaries(st.sampled_from(BATCH_FIELDS) | texts, values, max_size=5),
    items=st.text(alphabet="0123456789:-,+inf ", max_size=12) | st.none(),
)
async def test_batch_requests(world: World, what: str, body: dict[str, object], items: str | None) -> None:
    least: dict[str, object] = {"urls": [URL]} if what == "batch" else {"url": URL}
    if what == "playlist" and items is not None:
        least["items"] = items
    answer = await world.post({**body, **least}, f"/{what}/download")

    check(answer)
    if answer.status == 202:
        await world.ask("DELETE", f"/batch/{answer.json['batch_id']}")


@fuzz
@given(
    cut=st.integers(0, 60),
    at=st.integers(0, 60),
    put=st.binary(max_size=4)
    | st.sampled_from([b"\\ud800", b"\\u0000", b"NaN", b"[[[[", b"\xff", b'"a":1,"a":1']),
)
async def test_bodies_with_a_wound(world: World, cut: int, at: int, put: bytes) -> None:
    whole = b'{"url": "https://example.com/a", "priority": 1, "audio_only": true}'

    check(await world.post(whole[:at] + put + whole[max(at, cut) :]))


@fuzz
@given(
    path=st.sampled_from(PATHS),
    part=texts,
    query=st.lists(st.tuples(st.sampled_from(NAMES) | texts, texts | st.integers().map(str)), max_size=3),
    quoted=st.booleans(),
)
async def test_paths_and_queries(
    world: World, path: str, part: str, query: list[tuple[str, str]], quoted: bool
) -> None:
    def shown(text: str) -> str:
        return quote(text, safe="") if quoted else quote(text, safe="/%?&=;:@,.+~!$'()*")

    asked = "&".join(f"{shown(name)}={shown(value)}" for name, value in query)
    target = f"{PREFIX}{path.format(shown(part))}?{asked}"

    answer = await world.raw(
        f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
    )

    check(answer)


@fuzz
@given(
    headers=st.lists(st.tuples(st.sampled_from(HEADERS), st.binary(max_size=30)), max_size=6),
    path=st.sampled_from(["/files/videos/a.mp4", "/download", "/health/live"]),
)
async def test_headers(world: World, headers: list[tuple[str, bytes]], path: str) -> None:
    if world.files.get("videos/a.mp4") is None:
        await world.completed({"videos/a.mp4": b"0123456789"})
    lines = b"".join(name.encode() + b": " + value.replace(b"\n", b"") + b"\r\n" for name, value in headers)

    check(await world.raw(f"GET {PREFIX}{path} HTTP/1.1\r\nHost: localhost\r\n".encode() + lines + b"\r\n"))


@fuzz
@given(key=st.binary(max_size=40), name=st.binary(max_size=70), content_type=st.binary(max_size=30))
async def test_headers_of_a_post(world: World, key: bytes, name: bytes, content_type: bytes) -> None:
    body = b'{"url": "https://example.com/a"}'
    head = f"POST {PREFIX}/download HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n".encode()
    fields = {
        b"Idempotency-Key": key,
        b"X-Request-ID": name,
        b"Content-Type": b"application/json" + content_type,
    }
    lines = b"".join(field + b": " + value.replace(b"\n", b"") + b"\r\n" for field, value in fields.items())

    check(await world.raw(head + lines + b"\r\n" + body))


@fuzz
@given(junk=st.binary(min_size=1, max_size=200))
async def test_junk(world: World, junk: bytes) -> None:
    """What is unfinished is closed when the client says no more; what is answered is a problem."""
    answered = await world.exchange(junk + b"\r\n\r\n", close=True)

    assert not answered or answered.startswith(b"HTTP/1.0 400 Bad Request\r\n")


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "POST", "HEAD"])
async def test_methods(world: World, method: str) -> None:
    for path in PATHS:
        answer = await world.ask(method, path.format("x"))
        if method != "HEAD":
            check(answer)
        assert answer.status < 500
