"""Heads and bodies, whatever bytes come: read, or refused in the two ways that are known."""

import re
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from umd.egress import http
from umd.egress.http import BadMessage, Chunks, NotSpoken

LINES = st.sampled_from(
    [
        *(
            b"Host: a",
            b"Content-Length: 3",
            b"Content-Length: 03",
            b"content-length : 3",
            b"Connection: close",
        ),
        *(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity", b"Connection: Content-Length, host"),
        *(b" folded", b"\tfolded", b":", b"", b"a\rb: c", b"a: b\0", b"X: \xff\xfe", b"Upgrade: websocket"),
    ]
)
STARTS = st.sampled_from(
    [
        *(
            b"GET http://a/ HTTP/1.1",
            b"CONNECT a:1 HTTP/1.1",
            b"GET http://a HTTP/1.0",
            b"GET http://u:p@a/ HTTP/1.1",
        ),
        *(b"HTTP/1.1 200 OK", b"HTTP/1.1 204", b"ICY 200 OK", b"HTTP/1.0 304 x", b"GET  http://a/ HTTP/1.1"),
    ]
)
HEADS = st.builds(
    lambda start, lines, end: end.join((start, *lines)) + end * 2,
    STARTS | st.binary(max_size=60),
    st.lists(LINES | st.binary(max_size=30), max_size=5),
    st.sampled_from([b"\r\n", b"\n"]),
)


@given(head=HEADS)
def test_a_request_is_read_or_refused_and_what_is_sent_on_has_one_meaning(head: bytes) -> None:
    with suppress(BadMessage, NotSpoken):
        asked = http.request(head)
        lines = asked.head.split(b"\r\n")
        names = [line.split(b":")[0].lower() for line in lines[1:] if line]

        assert not re.search(rb"[\0\n\r]", b"".join(lines))
        assert names.count(b"content-length") + names.count(b"transfer-encoding") <= 1
        assert (b"transfer-encoding" in names) is asked.body.chunked
        if asked.head:
            assert names.count(b"host") == names.count(b"connection") == 1
            assert asked.head.endswith(b"\r\n\r\n")


@given(head=HEADS, method=st.sampled_from(["GET", "HEAD", "POST"]))
@example(head=b"HTTP/1.1 200 OK\nA: b\n folded\nContent-Length: 5, 5\nbad line\n\n", method="GET")
def test_an_answer_is_read_or_refused_and_what_is_sent_on_has_one_meaning(head: bytes, method: str) -> None:
    with suppress(BadMessage):
        told = http.answer(head, method)
        sent = told.head(keep=True)
        lines = sent.split(b"\r\n")

        assert sent.endswith(b"\r\n\r\n")
        assert not re.search(rb"[\0\n\r]", b"".join(lines))
        if told.body.chunked:
            assert not any(line.lower().startswith(b"content-length:") for line in lines)
        assert 100 <= told.status <= 999


@given(
    pieces=st.lists(st.binary(min_size=1, max_size=40), max_size=6),
    cuts=st.lists(st.integers(1, 50), max_size=30),
    after=st.binary(max_size=20),
)
def test_the_end_of_a_chunked_body_is_found_however_it_is_cut(
    pieces: list[bytes], cuts: list[int], after: bytes
) -> None:
    body = b"".join(b"%X;ext\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\nA: b\r\n\r\n"
    stream, chunks, taken, at = body + after, Chunks(), 0, 0

    for cut in [*cuts, len(stream)]:
        taken += chunks.feed(memoryview(stream)[at : at + cut])
        at += cut

    assert chunks.ended
    assert taken == len(body)


@pytest.mark.parametrize(
    "data", [b"x\r\n", b"-1\r\n", b"\r\n", b"3\r\nabcd\r\n", b"1" * 20 + b"\r\n", b"1;" + b"x" * 5_000]
)
def test_a_chunk_that_is_none_is_refused(data: bytes) -> None:
    with pytest.raises(BadMessage):
        Chunks().feed(memoryview(data))
