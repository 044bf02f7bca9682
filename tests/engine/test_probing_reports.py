"""What a hostile site says of an item is made small and harmless before it leaves the child."""

import math
from typing import Any

import msgspec

from umd.domain.events import Metadata
from umd.engine import probing
from umd.engine.protocol import LINE_BYTES_MAX, Extracted, Probed, Told


class Loader:
    """Says one thing of every address."""

    def __init__(self, info: dict[str, Any]) -> None:
        self._info = info

    def extract_info(self, address: str, *, download: bool) -> dict[str, Any]:
        assert not download
        return self._info

    def sanitize_info(self, info: dict[str, Any], *, remove_private_keys: bool) -> dict[str, Any]:
        assert remove_private_keys
        return info


def told(info: dict[str, Any]) -> tuple[Metadata, Probed, dict[str, Any], tuple[str, ...]]:
    reports = list(probing.reports(Loader(info), "https://example.com/", raw=True))
    assert all(len(msgspec.json.encode(one)) < LINE_BYTES_MAX for one in reports)
    metadata, probed, *pieces = reports
    assert isinstance(metadata, Extracted)
    assert isinstance(probed, Probed)
    words = [one for one in pieces if isinstance(one, Told)]
    raw = msgspec.json.decode("".join(one.text for one in words))
    return metadata.metadata, probed, raw, words[0].left_out


def test_values_of_the_wrong_kind_are_left_out() -> None:
    formats = [
        {"format_id": "18", "ext": ["mp4"], "height": "tall", "fps": -1, "quality": math.inf},
        "no",
        None,
    ]
    subtitles = {"en": [{"ext": "vtt"}, None, {"ext": "vtt"}], 7: [{}], "de": None}
    _, probed, _, _ = told(
        {"id": "x", "formats": formats, "subtitles": subtitles, "thumbnails": [{"url": "file:///x"}, 1]}
    )
    (one,) = probed.formats

    assert (one.format_id, one.ext, one.height, one.fps, one.quality) == ("18", None, None, None, None)
    assert probed.subtitles == {"en": ("vtt",), "de": ()}
    assert probed.thumbnails == ()


def test_however_much_there_is_each_report_is_a_line() -> None:
    wide = "\U0001f600" * 1_000
    formats = [dict.fromkeys(("format_id", "ext", "vcodec", "format_note"), wide)] * 5_000
    tracks = {f"{number}{wide}": [{"ext": wide}] * 12 for number in range(400)}
    info = {"id": wide, "title": wide, "formats": formats, "subtitles": tracks, "automatic_captions": tracks}
    _, probed, raw, left_out = told({**info, "thumbnails": [{"url": f"https://e/{'x' * 2_000}"}] * 500})

    assert len(probed.formats) == probing.FORMATS_MAX
    assert set(left_out) >= {"formats", "subtitles", "automatic_captions"}
    assert raw["title"] == wide


def test_secrets_and_what_json_cannot_carry_are_taken_out_everywhere() -> None:
    formats = [{"format_id": "1", "http_headers": {"Authorization": "s"}, "cookies": "s", "tbr": math.nan}]
    _, _, raw, _ = told(
        {"id": "\ud800", "proxy": "s", "http_headers": {"Cookie": "s"}, "formats": formats, "a\ud800": 2**80}
    )

    assert raw == {"id": "?", "formats": [{"format_id": "1", "tbr": None}], "a?": 2**80}
