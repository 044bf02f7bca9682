"""A release of yt-dlp that has passed its self-test, and that new attempts may run on."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple


class Trial(NamedTuple):
    """`version` is what it calls itself. After `adopt` new attempts run on it."""

    version: str
    adopt: Callable[[], Awaitable[None]]
