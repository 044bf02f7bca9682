"""What comes in is taken strictly, or refused with the place of each fault."""

import re
import zlib
from functools import cache

import pytest

from tests.api.world import JAR, URL, World, is_problem
from umd.domain.options import DownloadRequest


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b'{"url": }',
        b'{"url": "a",}',
        b'{"priority": NaN}',
        b'{"priority": Infinity}',
        b'{"priority": -Infinity}',
        b'{"priority": 1e999}',
        b'{"priority": 01}',
        b'{"url": "a", "url": "b"}',
        b'{"url": {"a": 1, "a": 2}}',
        b'[{"a": 1, "a": 1}]',
        b'{"url": "\xff"}',
        b'{"url": "\\ud800"}',
        b'{"url": "\\ud800\\u0041"}',
        b'{"url": "a\nb"}',
        b"\xef\xbb\xbf{}",
        '{"url": "a"}'.encode("utf-16"),
        b"{} {}",
        b"{}\x00",
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
        b"1" * 5_000,
        b'{"priority": ' + b"9" * 100_000 + b"}",
    ],
    ids=range(26),
)
async def test_what_is_not_json_is_malformed(world: World, body: bytes) -> None:
    assert is_problem(await world.post(body), "malformed_json", 400)


@pytest.mark.parametrize(
    "content_type", ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonx", ";", "a/b/c"]
)
async def test_only_json_is_taken(world: World, content_type: str) -> None:
    answer = await world.post({"url": URL}, Content_Type=content_type)

    assert is_problem(answer, "unsupported_media_type", 415)


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 202),
        ("application/json; charset=utf-8", 202),
        ("Application/JSON;charset=UTF-8", 202),
        ('application/json; charset="utf-8"', 202),
        ("application/json; charset=latin-1", 415),
    ],
)
async def test_json_is_utf_8(world: World, content_type: str, status: int) -> None:
    assert (await world.post({"url": URL}, Content_Type=content_type)).status == status


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({}, ["/url"]),
        ([], [""]),
        (None, [""]),
        ("text", [""]),
        (1, [""]),
        ({"url": None}, ["/url"]),
        ({"url": ""}, ["/url"]),
        ({"url": "x" * 2_049}, ["/url"]),
        ({"url": URL, "urll": 1}, ["/urll"]),
        ({"url": URL, "a/b~c": 1}, ["/a~1b~0c"]),
        ({"url": URL, "": 1}, ["/"]),
        ({"url": 1, "priority": 11, "qualty": 1}, ["/url", "/priority", "/qualty"]),
        ({"url": URL, "priority": "1"}, ["/priority"]),
        ({"url": URL, "priority": 1.5}, ["/priority"]),
        ({"url": URL, "priority": True}, ["/priority"]),
        ({"url": URL, "max_filesize": 10**30}, ["/max_filesize"]),
        ({"url": URL, "max_filesize": 0}, ["/max_filesize"]),
        ({"url": URL, "timeout_sec": 59}, ["/timeout_sec"]),
        ({"url": URL, "quality": "8k"}, ["/quality"]),
        ({"url": URL, "audio_only": 1}, ["/audio_only"]),
        ({"url": URL, "subtitle_languages": ["en", 3]}, ["/subtitle_languages/1"]),
        ({"url": URL, "subtitle_languages": []}, ["/subtitle_languages"]),
        ({"url": URL, "subtitle_languages": ["a(a+)+"]}, ["/subtitle_languages/0"]),
        ({"url": "ftp://example.com/a"}, ["/url"]),
        ({"url": "javascript:alert(1)"}, ["/url"]),
        ({"url": "--exec=id"}, ["/url"]),
        ({"url": "file:///etc/passwd"}, ["/url"]),
        ({"url": "https://user:password@example.com/"}, ["/url"]),
        ({"url": "https://example.com/#__youtubedl_smuggle=%7B%7D"}, ["/url"]),
        ({"url": "https://example.com/%23%5F_youtubedl_smuggle"}, ["/url"]),
        ({"url": "https:///a"}, ["/url"]),
        ({"url": "https://[::1/"}, ["/url"]),
        ({"url": "https://example.com:99999/"}, ["/url"]),
        ({"url": "https://exa mple.com/"}, ["/url"]),
        ({"url": "https://example.com/\u202e"}, ["/url"]),
        ({"url": "https://example.com\\@127.0.0.1/"}, ["/url"]),
        ({"url": URL, "path_template": "../{title}.{ext}"}, ["/path_template"]),
        ({"url": URL, "path_template": "/etc/{title}"}, ["/path_template"]),
        ({"url": URL, "path_template": "a//b"}, ["/path_template"]),
        ({"url": URL, "path_template": "log/log.sqlite3"}, ["/path_template"]),
        ({"url": URL, "path_template": "{title.__class__}"}, ["/path_template"]),
        ({"url": URL, "path_template": "a\x00b"}, ["/path_template"]),
        ({"url": URL, "webhook_url": "gopher://a"}, ["/webhook_url"]),
        ({"url": "x", "path_template": "..", "webhook_url": "x"}, ["/url", "/path_template", "/webhook_url"]),
    ],
)
async def test_each_field_at_fault_is_named(world: World, body: object, pointers: list[str]) -> None:
    answer = await world.post(body)

    assert is_problem(answer, "validation_error", 422)
    assert [error["pointer"] for error in answer.json["errors"]] == pointers
    assert all(error["message"] for error in answer.json["errors"])
    assert world.log.head == 0


async def test_the_list_of_faults_has_an_end(world: World) -> None:
    answer = await world.post({f"field{number}": 0 for number in range(10_000)})

    assert len(answer.json["errors"]) == 20
    assert len(answer.body) < 5_000


async def test_a_long_value_is_not_sent_back(world: World) -> None:
    answer = await world.post({"url": URL, "quality": "x" * 100_000, "y" * 100_000: 1})

    assert answer.status == 422
    assert len(answer.body) < 3_000


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/download?limit=0", "limit"),
        ("/download?limit=201", "limit"),
        ("/download?limit=", "limit"),
        ("/download?limit=ten", "limit"),
        ("/download?limit=%2B5", "limit"),
        ("/download?limit=%D9%A5", "limit"),
        ("/download?limit=" + "9" * 1_000, "limit"),
        ("/download?limit=1&limit=2", "limit"),
        ("/download?status=stopping", "status"),
        ("/download?status=queued,", "status"),
        ("/download?status=", "status"),
        ("/download?stauts=queued", "stauts"),
        ("/download?cursor=", "cursor"),
        ("/download?cursor=null", "cursor"),
        ("/download?cursor=!!", "cursor"),
        ("/download?cursor=MA", "cursor"),
        ("/download?cursor=LTE", "cursor"),
        ("/download?cursor=MDE", "cursor"),
        ("/download?cursor=MTA%3D", "cursor"),
        ("/download?cursor=4pyT", "cursor"),
        ("/download?cursor=%FF", "cursor"),
        ("/download?limit=0&status=x&y=1", "limit: .*; status/0: .*; y: "),
        ("/log?after=-1", "after"),
        ("/log?after=9223372036854775808", "after"),
        ("/log?limit=1001", "limit"),
        ("/log?stream=", "stream"),
        ("/files/a?x=1", "x"),
    ],
)
async def test_a_query_is_typed_too(world: World, path: str, told: str) -> None:
    answer = await world.get(path)

    assert is_problem(answer, "invalid_query", 400)
    assert re.search(rf"\b{told}", answer.json["detail"])


async def test_a_list_may_come_as_several_or_with_commas(world: World) -> None:
    for path in ("/download?status=queued&status=failed", "/download?status=queued,failed"):
        assert (await world.get(path)).status == 200


async def test_a_probe_takes_whatever_a_monitor_adds(world: World) -> None:
    assert (await world.get("/health/live?t=1700000000")).status == 200


# ------------------------------------------------------------------------------------- what is not unpacked


@cache
def packed_zeros() -> bytes:
    """A hundred megabytes in a tenth of one."""
    return zlib.compress(bytes(100_000_000), wbits=31)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "gzip, identity", "identity, gzip", "x"])
@pytest.mark.parametrize("path", ["/download", "/batch/download", "/auth/token", "/auth/cookies"])
async def test_t12_a_body_that_would_have_to_be_unpacked_is_refused(
    world: World, path: str, coding: str
) -> None:
    answer = await world.post(packed_zeros(), path, Content_Encoding=coding)

    assert is_problem(answer, "unsupported_media_type", 415)


async def test_t12_a_part_of_a_form_is_not_unpacked(world: World) -> None:
    packed = zlib.compress(JAR.encode(), wbits=31)
    head = b'Content-Disposition: form-data; name="%s"\r\n'
    name = head % b"name" + b"\r\nmine"
    cookies = head % b"cookies" + b"Content-Encoding: gzip\r\n\r\n" + packed
    body = b"".join(b"--x\r\n" + part + b"\r\n" for part in (name, cookies)) + b"--x--\r\n"

    answer = await world.post(body, "/auth/cookies", Content_Type="multipart/form-data; boundary=x")

    assert is_problem(answer, "malformed_request", 400)


# --------------------------------------------------------------------------------------- options of yt-dlp


async def test_t9_no_option_of_ytdlp_is_taken_but_those_that_are_ours(world: World) -> None:
    """`exec`, `netrc_cmd`, `external_downloader`, `plugin_dirs`, `cookiesfrombrowser` and all the others."""
    from yt_dlp.options import create_parser  # noqa: PLC0415  # takes as long as all tests of this file

    options = {
        option.dest for group in create_parser().option_groups for option in group.option_list if option.dest
    }
    foreign = sorted(options - set(DownloadRequest.__struct_fields__))
    assert len(foreign) > 150

    for name in foreign:
        answer = await world.post({"url": URL, name: "id"})
        assert is_problem(answer, "validation_error", 422), name
        assert [fault["pointer"] for fault in answer.json["errors"]] == [f"/{name}"]
    assert world.log.head == 0
