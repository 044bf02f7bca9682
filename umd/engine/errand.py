"""What a child brings when it is sent to look at a site, and not to download."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from umd.domain.faults import blame, fault
from umd.domain.options import MediaOptions
from umd.engine.protocol import AnyReport, AnyTask, Assignment, Attempt, Engine, Finished, ListingFailed
from umd.errors import EngineError, NotFound

SILENCE_SEC_MAX = 120.0


class Errands:
    """Sends children.

    `folder` makes an empty folder by name, and `discard` removes it; `jar` is the text of an owner's cookie
    jar by its id, and raises `NotFound`. All three block.
    """

    def __init__(
        self,
        engine: Engine,
        new_id: Callable[[], str],
        folder: Callable[[str], Path],
        discard: Callable[[str], None],
        jar: Callable[[str, str], str],
    ) -> None:
        self._engine = engine
        self._new_id = new_id
        self._folder = folder
        self._discard = discard
        self._jar = jar

    async def run(
        self, url: str, options: MediaOptions, owner: str, task: AnyTask, sec_max: float
    ) -> AsyncGenerator[AnyReport, None]:
        """The reports of a child that does this task, but for the last, until that says that all went well.

        The child has a copy of its own of the owner's jar that the options name. Raises `ListingFailed`. To
        be closed (`aclosing`) when it is not read to its end: then no process of it is left, and no folder.
        """
        async with self._child(url, options, owner, task) as attempt:
            finished: Finished | None = None
            reports = attempt.reports()
            deadline = asyncio.get_running_loop().time() + sec_max
            while (report := await _next(reports, deadline)) is not None:
                if isinstance(report, Finished):
                    finished = report
                else:
                    yield report
            if finished is None:
                raise ListingFailed(fault("worker_crashed", "The process that read the site died."))
            if finished.fault is not None:
                raise ListingFailed(blame(finished.fault, (await attempt.wait()).refusal))

    @asynccontextmanager
    async def _child(
        self, url: str, options: MediaOptions, owner: str, task: AnyTask
    ) -> AsyncIterator[Attempt]:
        """A running child with a folder of its own; neither is left behind."""
        cookies = await self._cookies(options.cookies_id, owner)
        name = self._new_id()
        folder = await asyncio.to_thread(self._folder, name)
        try:
            attempt = await self._run(Assignment(name, 1, url, options, str(folder), cookies, task))
            try:
                yield attempt
            finally:
                await attempt.stop()
        finally:
            await asyncio.to_thread(self._discard, name)

    async def _cookies(self, cookies_id: str | None, owner: str) -> str:
        if cookies_id is None:
            return ""
        try:
            return await asyncio.to_thread(self._jar, cookies_id, owner)
        except NotFound as missing:
            raise ListingFailed(fault("cookies_not_found", str(missing))) from None

    async def _run(self, assignment: Assignment) -> Attempt:
        try:
            return await self._engine.run(assignment)
        except EngineError as error:
            raise ListingFailed(fault("worker_crashed", str(error))) from error


async def _next(reports: AsyncIterator[AnyReport], deadline: float) -> AnyReport | None:
    """The next report. The time that its reader takes for it is not the site's."""
    silent = asyncio.get_running_loop().time() + SILENCE_SEC_MAX
    try:
        async with asyncio.timeout_at(min(deadline, silent)):
            return await anext(reports, None)
    except TimeoutError:
        raise ListingFailed(fault("network", "The site did not answer in time.")) from None
