"""Where results come to lie, whatever templates and sites say."""

import random  # noqa: TID251  # seeded
from pathlib import PurePosixPath

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.domain.builders import METADATA
from umd.domain import naming
from umd.domain.events import Metadata
from umd.domain.options import DEFAULT_TEMPLATE

HOSTILE = [
    "../../../etc/passwd",
    "..",
    ".",
    "",
    "   ",
    ".bashrc",
    "/absolute",
    "C:\\windows\\system32",
    "a/b\\c",
    "CON",
    "nul.txt",
    "LPT1",
    "x" * 4_096,
    "☃" * 4_096,
    "evil\u202egpj.exe",
    "line\nbreak\ttab\x00nul\x1b[31m",
    "{id}{title}",
    "%(id)s",
    "trailing. . .",
    "\ud800 lone surrogate",
    'a:b*c?d"e<f>g|h',
    "é" * 200,
]


def placed(template: str, **changes: object) -> str:
    metadata = msgspec.structs.replace(METADATA, **changes)
    return naming.place(template, metadata, "mp4", random="r4nd0m00").path(".mp4")


def assert_safe(path: str) -> None:
    segments = path.split("/")
    assert not PurePosixPath(path).is_absolute()
    assert all(segment not in ("", ".", "..") for segment in segments)
    assert all(len(segment.encode()) <= 255 for segment in segments)
    assert all(not segment.startswith(".") for segment in segments)
    assert path.isprintable()
    assert "\\" not in path
    assert "\u202e" not in path
    assert segments[0].casefold() not in naming.RESERVED_FOLDERS


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize(
    "template",
    [DEFAULT_TEMPLATE, "{title}.{ext}", "{uploader}/{title}", "{title}/{title}/{id}", "x/{title}.mp4"],
)
def test_hostile_metadata_ends_as_one_safe_path(template: str, text: str) -> None:
    path = placed(template, id=text, title=text, uploader=text, channel=text, playlist=text)

    assert_safe(path)
    assert path.endswith(".mp4")


@pytest.mark.soak
def test_t8_each_of_a_hundred_thousand_names_ends_as_one_safe_path() -> None:
    chance = random.Random(8)
    marks = '/\\.:*?"<>|{}%$~ \0\r\n\t\u202e\u2028\u200b\ud800\ufeff‥．／éß\U0001f600'
    for _ in range(100_000):
        words = [
            "".join(
                chance.choice(marks) if chance.random() < 0.6 else chr(chance.randrange(0x110000))
                for _ in range(chance.randrange(60))
            )
            for _ in range(3)
        ]
        template = chance.choice((DEFAULT_TEMPLATE, "{title}", "{uploader}/{title}.{ext}", "x/{id}/{title}"))
        assert_safe(placed(template, title=words[0], id=words[1], uploader=words[2], channel=words[2]))


@given(st.text(max_size=600), st.text(max_size=600), st.sampled_from(naming.VARIABLES))
def test_any_text_ends_as_one_safe_path(title: str, name: str, variable: str) -> None:
    metadata = Metadata(
        id=name, title=title, extractor=name, uploader=title, playlist=title, upload_date=name
    )

    place = naming.place(f"{{{variable}}}/{{{variable}}}-{{title}}.{{ext}}", metadata, name, random="r")

    assert_safe(place.path(naming.safe_suffix("." + name)))


@given(st.text(max_size=60))
def test_a_template_is_refused_or_safe(template: str) -> None:
    if not template or naming.template_problem(template) is None:
        assert_safe(placed(template or "x"))


@pytest.mark.parametrize(
    "template",
    [
        "../{title}",
        "videos/../../{title}",
        "/etc/{title}",
        "~/x",
        "~root/x",
        "C:/x",
        "a//b",
        "./a",
        "a/.",
        "{nope}",
        "{title",
        "title}",
        "{title!r}",
        "{title.__class__}",
        "{title[0]}",
        "{}",
        "{{id}}",
        "a\\b",
        "a\x00b",
        "a\u202eb",
        "log/{title}",
        "TEMP/{title}",
        "cookies/x",
        "/".join("abcdefghi"),
    ],
)
def test_a_bad_template_is_refused_with_a_reason(template: str) -> None:
    assert naming.template_problem(template)


def test_a_template_is_filled_in() -> None:
    path = placed(
        "{extractor}/{channel}/{date}-{playlist_index}-{title} [{id}] {resolution} {duration}s {random}",
        channel="Chan",
        upload_date="20261123",
        playlist_index=7,
        width=1_920,
        height=1_080,
        duration=61.4,
    )

    assert path == "generic/Chan/20261123-007-A title [v1] 1920x1080 61s r4nd0m00.mp4"


def test_a_variable_that_is_not_known_is_not_available() -> None:
    assert placed("{playlist}/{date}") == "NA/NA.mp4"


def test_a_rendered_folder_never_is_one_of_the_services_own() -> None:
    assert placed("{title}/x", title="log") == "_log/x.mp4"


def test_the_default_template_is_valid() -> None:
    assert naming.template_problem(DEFAULT_TEMPLATE) is None
    assert placed(DEFAULT_TEMPLATE, title="My: clip?") == "videos/My_clip-v1.mp4"
