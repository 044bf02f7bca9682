"""How many requests somebody may make: counted in memory, in windows, within a bounded table."""

from collections import OrderedDict
from typing import NamedTuple

from limits import RateLimitItem, parse_many
from limits.storage import Storage
from limits.strategies import FixedWindowRateLimiter

from umd.clock import SECOND, Clock
from umd.errors import SettingsError

COUNTERS_MAX = 50_000
"""For addresses. Whoever keeps coming stays in the table; those that came longest ago fall out."""


class Counters(Storage):
    """Counters for the strategies of `limits`, at most so many, by our own clock.

    The library's own memory has no bound, and starts a thread to tidy up.
    """

    STORAGE_SCHEME: list[str] | None = ["umd"]  # noqa: RUF012  # as the library declares it

    def __init__(self, clock: Clock, counters_max: int = COUNTERS_MAX) -> None:
        super().__init__()
        self._clock = clock
        self._max = counters_max
        self._counters: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._counters)

    @property
    def base_exceptions(self) -> type[Exception]:
        return KeyError

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        count, ends = self._counters.get(key, (0, 0.0))
        if ends <= self._now():
            count, ends = 0, self._now() + expiry
        self._counters[key] = (count + amount, ends)
        self._counters.move_to_end(key)
        while len(self._counters) > self._max:
            self._counters.popitem(last=False)
        return count + amount

    def get(self, key: str) -> int:
        count, ends = self._counters.get(key, (0, 0.0))
        return count if ends > self._now() else 0

    def get_expiry(self, key: str) -> float:
        return max(self._counters.get(key, (0, 0.0))[1], self._now())

    def check(self) -> bool:
        return True

    def reset(self) -> int:
        count = len(self._counters)
        self._counters.clear()
        return count

    def clear(self, key: str) -> None:
        self._counters.pop(key, None)

    def _now(self) -> float:
        return self._clock.now() / SECOND


class Spent(NamedTuple):
    """What is left of a limit after a request."""

    limit: RateLimitItem
    remaining: int
    reset_sec: int

    @property
    def name(self) -> str:
        """The limit as a setting names it, as `1000/hour`."""
        times = "" if self.limit.multiples == 1 else f"{self.limit.multiples} "
        return f"{self.limit.amount}/{times}{self.limit.GRANULARITY.name}"


class Standing(NamedTuple):
    """How somebody stands with each of the limits. `retry_sec` is set where a request is one too many."""

    spent: list[Spent]
    retry_sec: int | None

    @property
    def headers(self) -> dict[str, str]:
        """The header fields of draft-ietf-httpapi-ratelimit-headers."""
        policies = [f'"{each.name}";q={each.limit.amount};w={each.limit.get_expiry()}' for each in self.spent]
        left = [f'"{each.name}";r={each.remaining};t={each.reset_sec}' for each in self.spent]
        return {"RateLimit-Policy": ", ".join(policies), "RateLimit": ", ".join(left)} if self.spent else {}


class Quotas:
    """The limits of keys and of addresses, and their counters: addresses cannot crowd keys out."""

    def __init__(self, clock: Clock, for_keys: str, for_addresses: str) -> None:
        self._clock = clock
        self._for_keys = self.parse(for_keys, "UMD_RATE_LIMIT")
        self._for_addresses = self.parse(for_addresses, "UMD_RATE_LIMIT_ANONYMOUS")
        self._keys = FixedWindowRateLimiter(Counters(clock))
        self._addresses = FixedWindowRateLimiter(Counters(clock))

    @staticmethod
    def parse(text: str, variable: str) -> list[RateLimitItem]:
        """Limits in the notation of the library. Raises `SettingsError`."""
        try:
            return parse_many(text.replace(",", ";")) if text.strip() else []
        except ValueError:
            raise SettingsError(
                f"{variable}: {text!r} is no rate limit, as 1000/hour;20/second is."
            ) from None

    def of_key(self, name: str) -> Standing:
        """Count a request that came with a key."""
        return self._count(self._keys, self._for_keys, f"key:{name}")

    def of_link(self, address: str) -> Standing:
        """Count a request that came with a signed link: by address, but as much as a key may."""
        return self._count(self._addresses, self._for_keys, f"link:{address}")

    def of_address(self, address: str) -> Standing:
        """Count a request that came with nothing that is valid."""
        return self._count(self._addresses, self._for_addresses, f"address:{address}")

    def _count(self, limiter: FixedWindowRateLimiter, limits: list[RateLimitItem], who: str) -> Standing:
        """Take one from each limit, or, where one of them has nothing left, from none."""
        allowed = all(limiter.test(limit, who) for limit in limits)
        if allowed:
            for limit in limits:
                limiter.hit(limit, who)
        spent = [self._spent(limiter, limit, who) for limit in limits]
        waits = [each.reset_sec for each in spent if each.remaining == 0]
        return Standing(spent, None if allowed else max(waits, default=1))

    def _spent(self, limiter: FixedWindowRateLimiter, limit: RateLimitItem, who: str) -> Spent:
        stats = limiter.get_window_stats(limit, who)
        seconds = stats.reset_time - self._clock.now() / SECOND
        return Spent(limit, stats.remaining, max(1, -int(-seconds // 1)))
