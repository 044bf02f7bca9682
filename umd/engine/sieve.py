"""Finds the few extractors that may know a URL, without asking each of yt-dlp's 1,700.

yt-dlp tries every pattern in turn, which costs 4 ms, and in a forked child it copies some 2,000 pages of
memory, because looking at a Python object writes to it. Most patterns can only match an address that
contains some text, such as `vimeo.com`; that text is derived from the pattern once, before the fork. What it
cannot be derived for is always asked. The order is yt-dlp's, so that the answer is, too.
"""

import importlib
import re
from collections.abc import Iterable, Iterator
from typing import Any

# Python's own parser of patterns, which has no types. What it cannot parse is always asked.
_constants: Any = importlib.import_module("re._constants")
_parser: Any = importlib.import_module("re._parser")

LETTERS_MIN = 4
"""A shorter text says too little."""

_EVERYWHERE = "https://www."
_Needles = frozenset[str]


class Sieve(dict[str, Any]):
    """yt-dlp's table of extractors. While a URL is set, only those are in its `items()` that may match it."""

    def __init__(self, extractors: dict[str, Any], ordinary: frozenset[Any]) -> None:
        super().__init__(extractors)
        self.url: str | None = None
        self._keys = list(extractors)
        self._always: list[int] = []
        self._by_start: dict[str, list[tuple[str, int]]] = {}
        for index, extractor in enumerate(extractors.values()):
            self._sort_in(index, required(extractor, ordinary))

    def items(self) -> Any:
        if self.url is None:
            return super().items()
        return [(key, self[key]) for key in self.candidates(self.url)]

    def candidates(self, url: str) -> list[str]:
        """The keys of those that may match, in yt-dlp's order."""
        text = url.casefold()
        found = set(self._always)
        # By the first letters, and not needle by needle: what is not looked at need not be copied.
        for at in range(len(text) - LETTERS_MIN + 1):
            for needle, index in self._by_start.get(text[at : at + LETTERS_MIN], ()):
                if text.startswith(needle, at):
                    found.add(index)
        return [self._keys[index] for index in sorted(found)]

    def _sort_in(self, index: int, needles: _Needles | None) -> None:
        if needles is None:
            self._always.append(index)
        for needle in needles or ():
            self._by_start.setdefault(needle[:LETTERS_MIN], []).append((needle, index))


def required(extractor: Any, ordinary: frozenset[Any]) -> _Needles | None:
    """Texts of which every URL that this extractor takes contains at least one; None if there is no telling.

    `ordinary` are the functions by which an extractor says yes or no where it has none of its own.
    """
    if not {extractor.suitable.__func__, extractor._match_valid_url.__func__} <= ordinary:
        return None
    patterns = extractor._VALID_URL
    if patterns is False:
        return frozenset()
    try:
        parsed = [_parser.parse(one) for one in ([patterns] if isinstance(patterns, str) else patterns)]
        return _any_of(_of_sequence(one) for one in parsed)
    except (TypeError, ValueError, AttributeError, re.error):
        return None


def _any_of(alternatives: Iterable[_Needles | None]) -> _Needles | None:
    needles: set[str] = set()
    for one in alternatives:
        if one is None:
            return None
        needles |= one
    return frozenset(needles)


def _of_sequence(sequence: Iterable[Any]) -> _Needles | None:
    """The most telling of what has to occur one after the other."""
    found = [needles for needles in _parts(sequence) if needles]
    return max(found, key=lambda needles: (min(map(len, needles)), -len(needles)), default=None)


def _parts(sequence: Iterable[Any]) -> Iterator[_Needles | None]:
    run = ""
    for operation, argument in sequence:
        if operation is _constants.LITERAL:
            run += chr(argument).casefold()
            continue
        yield _of_text(run)
        run = ""
        if operation is _constants.SUBPATTERN:
            yield _of_sequence(argument[3])
        elif operation is _constants.BRANCH:
            yield _any_of(_of_sequence(branch) for branch in argument[1])
        elif operation is _constants.MAX_REPEAT and argument[0] > 0:
            yield _of_sequence(argument[2])
    yield _of_text(run)


def _of_text(text: str) -> _Needles | None:
    return frozenset({text}) if len(text) >= LETTERS_MIN and text not in _EVERYWHERE else None
