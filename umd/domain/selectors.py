"""Which format selectors a request may bring: yt-dlp's own, without what can take for ever.

The language itself is yt-dlp's, and read by the workers alone.
"""

import re

DEPTH_MAX = 8
FILTERS_MAX = 20

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_EXPRESSION = re.compile(r"~=")


def problem(selector: str) -> str | None:
    """Say why this selector is not taken, or None."""
    if _CONTROL.search(selector):
        return "A selector holds no control characters."
    if _EXPRESSION.search(selector):
        return "A selector holds no regular expressions (`~=`); `^=`, `$=` and `*=` compare text."
    if selector.count("[") > FILTERS_MAX:
        return f"A selector has at most {FILTERS_MAX} filters."
    depth = deepest = 0
    for character in selector:
        depth += (character == "(") - (character == ")")
        deepest = max(deepest, depth)
        if depth < 0:
            return "A parenthesis closes nothing."
    if depth > 0:
        return "A parenthesis is not closed."
    return f"A selector is at most {DEPTH_MAX} parentheses deep." if deepest > DEPTH_MAX else None
