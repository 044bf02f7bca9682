"""Tokens for event streams: `EventSource` cannot send a header, and a key does not belong into an address.

A token opens one stream, once, for the caller that asked for it, and only for a short time. It is a random
name for an entry held in memory, of which only the hash is kept: a restart ends all of them.

A caller has no more tokens waiting than it may have streams: one more takes the place of its own oldest, and
never of another's. Without a key there may be as many callers as addresses, so those have a bound in common.
"""

import hashlib
import secrets
from collections import OrderedDict
from typing import NamedTuple

from umd.clock import SECOND, Clock, Micros
from umd.domain.access import Caller
from umd.errors import Overloaded

TOKENS_MAX = 10_000
"""Of all that come without a key. Those with one are as many as there are keys."""

TOKEN_BYTES = 32


class Ticket(NamedTuple):
    """What a token stands for, and whom it counts for."""

    path: str
    caller: Caller
    expires: Micros
    whose: str


class StreamTokens:
    """The tokens that were given out and not used yet."""

    def __init__(self, clock: Clock, valid_sec: int, per_caller_max: int) -> None:
        self._clock = clock
        self._valid_sec = valid_sec
        self._per_caller_max = per_caller_max
        # A plain dict takes longer to find its first entry the more were taken from in front of it.
        self._tickets: OrderedDict[bytes, Ticket] = OrderedDict()
        self._held: dict[str, dict[bytes, None]] = {}
        """What each caller has, oldest first."""
        self._without_key = 0

    def __len__(self) -> int:
        return len(self._tickets)

    def issue(self, path: str, caller: Caller, whose: str) -> tuple[str, Micros]:
        """A new token for this stream, and when its time is over. Raises `Overloaded`.

        `whose` is the caller as it is counted: by its key or its address; empty for one who is not counted.
        """
        self._sweep()
        while whose and len(self._held.get(whose, ())) >= self._per_caller_max:
            self._take(next(iter(self._held[whose])))
        if not caller.verified and self._without_key >= TOKENS_MAX:
            raise Overloaded(f"{TOKENS_MAX:,} stream tokens are waiting to be used.")
        token = secrets.token_urlsafe(TOKEN_BYTES)
        expires = self._clock.now() + self._valid_sec * SECOND
        self._put(_digest(token), Ticket(path, caller, expires, whose))
        return token, expires

    def redeem(self, token: str, path: str) -> Caller | None:
        """Who may open this stream with the token; it is used up by that, and only by that."""
        ticket = self._tickets.get(_digest(token))
        if ticket is None or ticket.path != path or ticket.expires <= self._clock.now():
            return None
        return self._take(_digest(token)).caller

    def _sweep(self) -> None:
        """Forget those whose time is over: they were issued in the order in which they end."""
        now = self._clock.now()
        while self._tickets:
            digest, ticket = next(iter(self._tickets.items()))
            if ticket.expires > now:
                break
            self._take(digest)

    def _put(self, digest: bytes, ticket: Ticket) -> None:
        self._tickets[digest] = ticket
        self._held.setdefault(ticket.whose, {})[digest] = None
        self._without_key += not ticket.caller.verified

    def _take(self, digest: bytes) -> Ticket:
        ticket = self._tickets.pop(digest)
        held = self._held[ticket.whose]
        del held[digest]
        if not held:
            del self._held[ticket.whose]
        self._without_key -= not ticket.caller.verified
        return ticket


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogateescape")).digest()
