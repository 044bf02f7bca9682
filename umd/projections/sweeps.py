"""How far the stream of what was swept has come: nothing else is asked of it."""

from collections.abc import Sequence

from umd.domain.storage import STREAM
from umd.log import Fact


class Sweeps:
    """The fold of the volume's stream."""

    def __init__(self) -> None:
        self.position = 0
        """Of the stream's last row."""

    @property
    def correlation(self) -> str:
        """Of a row that nobody has asked for."""
        return ""

    def apply(self, facts: Sequence[Fact]) -> None:
        """Follow the log."""
        for fact in facts:
            if fact.record.stream == STREAM:
                self.position = fact.record.position

    def fill(self, position: int) -> None:
        """Take in what was put by."""
        self.position = position
