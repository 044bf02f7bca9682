"""Copies of cookie jars for whoever asks a site in somebody's name, and back where the jar asks for it."""

import asyncio

import structlog

from umd.clock import Clock
from umd.domain.cookies import Copy
from umd.errors import UmdError
from umd.storage.cookies import CookieStore

_log = structlog.get_logger(__name__)


class Jars:
    """Hands out a copy for each attempt. Nothing of it is ever stored but by the store itself."""

    def __init__(self, store: CookieStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def copy(self, cookies_id: str | None, owner: str) -> Copy:
        """A copy of the owner's jar; an empty one where none is named. Raises `NotFound`."""
        if cookies_id is None:
            return Copy()
        return await asyncio.to_thread(self._store.copy, cookies_id, owner, self._clock.now())

    async def put_back(self, cookies_id: str | None, owner: str, netscape: str) -> None:
        """Keep what sites have made of a copy. Where that fails the old jar stays, and so does all else."""
        if cookies_id is None:
            return
        try:
            await asyncio.to_thread(self._store.update, cookies_id, owner, netscape, self._clock.now())
        except (UmdError, OSError) as error:
            _log.warning("cookies.not_updated", cookies_id=cookies_id, reason=type(error).__name__)
