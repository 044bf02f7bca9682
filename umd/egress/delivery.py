"""Posts a webhook: once, without following where the answer points, and without reading what it says."""

import asyncio
import ssl
from collections.abc import Callable
from contextlib import suppress

import aiohttp
import certifi
from aiohttp import BaseConnector, ClientSession, ClientTimeout

from umd import __version__
from umd.errors import Refused, Unanswered
from umd.telemetry.records import Listener, WebhookPosted, ignore

ANSWER_BYTES_MAX = 65_536
"""What is taken of an answer before its connection is closed: it may be kept where the answer is short."""
HEADER_BYTES_MAX = 8_190

HEADERS = {"Content-Type": "application/json", "User-Agent": f"umd/{__version__}"}


class Poster:
    """One session for all webhooks. `connector` makes the connections, and judges every address.

    `start` has to be called on the loop; `stop` is complete when it returns, and may come twice or before.
    """

    def __init__(
        self, timeout_sec: float, connector: Callable[[], BaseConnector], note: Listener = ignore
    ) -> None:
        self._connector = connector
        self._note = note
        self._timeout = ClientTimeout(total=timeout_sec)
        self._session: ClientSession | None = None
        self._tls = ssl.create_default_context()
        self._tls.load_verify_locations(certifi.where())

    async def start(self) -> None:
        self._session = ClientSession(
            connector=self._connector(),
            timeout=self._timeout,
            headers=HEADERS,
            cookie_jar=aiohttp.DummyCookieJar(),
            max_line_size=HEADER_BYTES_MAX,
            max_field_size=HEADER_BYTES_MAX,
        )

    async def stop(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def post(self, url: str, body: bytes, headers: dict[str, str]) -> int:
        """One attempt. Returns the answer's status; raises `Unanswered` where none came in time."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            status = await self._post(url, body, headers)
        except Unanswered:
            self._note(WebhookPosted(None, loop.time() - began))
            raise
        self._note(WebhookPosted(status, loop.time() - began))
        return status

    async def _post(self, url: str, body: bytes, headers: dict[str, str]) -> int:
        assert self._session is not None, "the poster has been started"  # noqa: S101
        try:
            async with self._session.post(
                url, data=body, headers=headers, allow_redirects=False, ssl=self._tls
            ) as answer:
                await _skim(answer)
                return answer.status
        except TimeoutError:
            raise Unanswered(f"No answer came within {self._timeout.total:g} s.") from None
        except Refused as refused:
            raise Unanswered(str(refused)) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise Unanswered(f"The request failed: {_kind(error)}.") from None


async def _skim(answer: aiohttp.ClientResponse) -> None:
    """Take a short answer, so that its connection can serve the next; one that goes on is cut off.

    Whatever happens to the rest: the status has been said.
    """
    taken = 0
    with suppress(TimeoutError, aiohttp.ClientError, OSError):
        async for chunk in answer.content.iter_any():
            taken += len(chunk)
            if taken > ANSWER_BYTES_MAX:
                break
        else:
            return
    answer.close()


def _kind(error: BaseException) -> str:
    """What went wrong, without the address: a name of an error, and what the system said."""
    system = error.strerror if isinstance(error, OSError) and error.strerror else ""
    return f"{type(error).__name__}{f' ({system})' if system else ''}"
