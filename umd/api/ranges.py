"""Which bytes a `Range` header asks for (RFC 9110, section 14)."""

import re
from typing import NamedTuple

RANGES_MAX = 64
"""More than these in one header are answered with the whole file."""

_SPEC = re.compile(r"[ \t]*([0-9]*)[ \t]*-[ \t]*([0-9]*)[ \t]*")
_DIGITS_MAX = 19


class Span(NamedTuple):
    """Bytes in a row: the first one's offset, and how many."""

    start: int
    length: int

    def content_range(self, size: int) -> str:
        """The span as `Content-Range` says it."""
        return f"bytes {self.start}-{self.start + self.length - 1}/{size}"


def parse(header: str, size: int) -> list[Span] | None:
    """The spans that lie in a file of this size; none of them where nothing can be had.

    None means that the header is to be ignored: it asks for another unit, is malformed, asks for more
    ranges than anybody needs, or for more bytes in all than the file has. So does any range of an empty
    file, as clients ask for one without knowing.
    """
    unit, _, wanted = header.partition("=")
    specs = [spec for spec in wanted.split(",") if spec.strip(" \t")]
    if unit.strip(" \t").lower() != "bytes" or not 1 <= len(specs) <= RANGES_MAX or size == 0:
        return None
    spans: list[Span] = []
    for spec in specs:
        match = _SPEC.fullmatch(spec)
        bounds = _bounds(match[1], match[2], size) if match else None
        if bounds is None:
            return None
        first, end = bounds
        if first < end:
            spans.append(Span(first, end - first))
    return spans if sum(span.length for span in spans) <= size else None


def _bounds(first: str, last: str, size: int) -> tuple[int, int] | None:
    """The offsets of the first byte and behind the last one, within the file; None for no valid range."""
    if not first:
        return (max(0, size - _number(last)), size) if last else None
    if last and _number(last) < _number(first):
        return None
    return _number(first), min(size, _number(last) + 1) if last else size


def _number(digits: str) -> int:
    """A number; those beyond any file are cut, for Python takes long over very long ones."""
    significant = digits.lstrip("0")
    return int(significant or "0") if len(significant) <= _DIGITS_MAX else int("9" * _DIGITS_MAX)
