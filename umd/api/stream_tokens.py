"""Tokens for event streams: `EventSource` cannot send a header, and a key does not belong into an address.

A token opens one stream, once, for the caller that asked for it, and only for a short time. It is a random
name for an entry held in memory, of which only the hash is kept: a restart ends all of them.
"""

import hashlib
import secrets
from typing import NamedTuple

from umd.clock import SECOND, Clock, Micros
from umd.domain.access import Caller
from umd.errors import Overloaded

TOKENS_MAX = 10_000
TOKEN_BYTES = 32


class Ticket(NamedTuple):
    """What a token stands for."""

    path: str
    caller: Caller
    expires: Micros


class StreamTokens:
    """The tokens that were given out and not used yet."""

    def __init__(self, clock: Clock, valid_sec: int) -> None:
        self._clock = clock
        self._valid_sec = valid_sec
        self._tickets: dict[bytes, Ticket] = {}

    def __len__(self) -> int:
        return len(self._tickets)

    def issue(self, path: str, caller: Caller) -> tuple[str, Micros]:
        """A new token for this stream, and when its time is over. Raises `Overloaded`."""
        self._sweep()
        if len(self._tickets) >= TOKENS_MAX:
            raise Overloaded(f"{TOKENS_MAX:,} stream tokens are waiting to be used.")
        token = secrets.token_urlsafe(TOKEN_BYTES)
        expires = self._clock.now() + self._valid_sec * SECOND
        self._tickets[_digest(token)] = Ticket(path, caller, expires)
        return token, expires

    def redeem(self, token: str, path: str) -> Caller | None:
        """Who may open this stream with the token; it is used up by that, and only by that."""
        ticket = self._tickets.get(_digest(token))
        if ticket is None or ticket.path != path or ticket.expires <= self._clock.now():
            return None
        del self._tickets[_digest(token)]
        return ticket.caller

    def _sweep(self) -> None:
        """Forget those whose time is over: they were issued in the order in which they end."""
        now = self._clock.now()
        for digest, ticket in list(self._tickets.items()):
            if ticket.expires > now:
                break
            del self._tickets[digest]


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="surrogateescape")).digest()
