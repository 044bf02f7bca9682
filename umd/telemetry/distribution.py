"""How values are spread, in buckets of fixed bounds: what Prometheus calls a histogram."""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate


class Distribution:
    """Counts how many values lay at or below each bound; the last bucket has no bound."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.sum = 0.0
        self._counts = [0] * (len(self.bounds) + 1)

    @property
    def count(self) -> int:
        """How many values there were."""
        return sum(self._counts)

    @property
    def mean(self) -> float | None:
        """The average, None where there was no value."""
        return self.sum / self.count if self.count else None

    @property
    def counts(self) -> tuple[int, ...]:
        """How many values each bucket has."""
        return tuple(self._counts)

    def add(self, bounds: Sequence[float], counts: Sequence[int], total: float) -> None:
        """Take in another one's values. Where its bounds are others, a value counts as its bucket's bound."""
        for bound, count in zip((*bounds, float("inf")), counts, strict=True):
            self._counts[bisect_left(self.bounds, bound)] += count
        self.sum += total

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def cumulative(self) -> list[tuple[float, int]]:
        """Each bound with the number of values at or below it."""
        return list(zip((*self.bounds, float("inf")), accumulate(self._counts), strict=True))
