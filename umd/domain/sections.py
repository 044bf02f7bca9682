"""The parts of an item that a request wants: time ranges, and chapters by a regular expression.

A request's words are parsed here once, by the service to refuse what is none, and by the child to work with
it. The regular expressions are compiled and never run here: only the child, which has a deadline, runs them.
"""

import re
import warnings

import msgspec

_RANGE = re.compile(r"(?P<start>[\d:.]*)\s*-\s*(?P<end>[\d:.]*|inf)")
_CLOCK = re.compile(r"(?:(?:(\d{1,3}):)?(\d{1,2}):)?(\d{1,6}(?:\.\d{1,3})?)")


class Sections(msgspec.Struct, frozen=True):
    """Patterns that a chapter's title is searched for, and ranges in seconds; an end of None is the end."""

    chapters: tuple[str, ...] = ()
    ranges: tuple[tuple[float, float | None], ...] = ()


def parse(words: tuple[str, ...]) -> Sections:
    """What the words of `download_sections` mean. Raises `ValueError` for what `problem` finds fault with."""
    chapters = tuple(one for one in words if not one.startswith("*"))
    ranges = [_range(part.strip()) for one in words if one.startswith("*") for part in one[1:].split(",")]
    return Sections(chapters, tuple(ranges))


def problem(word: str) -> str | None:
    """Say why this is no section, or None."""
    if not word.startswith("*"):
        return pattern_problem(word)
    try:
        parse((word,))
    except ValueError as error:
        return str(error)
    return None


def pattern_problem(pattern: str) -> str | None:
    """Say why this is no regular expression, or None."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        return f"This is no regular expression: {error}."
    return None


def _range(text: str) -> tuple[float, float | None]:
    found = _RANGE.fullmatch(text)
    if found is None or text == "-":
        raise ValueError("A time range is *START-END, as *10:15-10:45, *90-120.5 or *1:00:00-inf.")
    start = _seconds(found["start"] or "0")
    end = None if found["end"] in ("", "inf") else _seconds(found["end"])
    if end is not None and end <= start:
        raise ValueError("A time range ends after it begins.")
    return start, end


def _seconds(text: str) -> float:
    found = _CLOCK.fullmatch(text)
    if found is None:
        raise ValueError("A time is seconds, MM:SS or HH:MM:SS, with up to three decimals.")
    hours, minutes, seconds = found.groups()
    return int(hours or 0) * 3_600 + int(minutes or 0) * 60 + float(seconds)
