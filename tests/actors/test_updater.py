"""Which release the engine is moved to and when, whatever dies in between."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.domain.builders import FILE, LIMITS
from tests.engine import test_installing
from tests.virtual import VirtualClock, run_virtual
from umd.actors.updater import Updater
from umd.clock import SECOND, Clock, SystemClock
from umd.dispatcher import Dispatcher
from umd.domain import commands as c
from umd.domain import engine as rules
from umd.domain.events import EngineEvent, EngineRolledBack, EngineUpdated, EngineUpdateFailed, Progress
from umd.domain.faults import fault
from umd.domain.options import DownloadRequest
from umd.engine.shelf import Shelf, Wish, own_version
from umd.engine.trial import Trial
from umd.errors import EngineError
from umd.log import Fact
from umd.log.memory import MemoryLog
from umd.projections.batches import Batches
from umd.projections.jobs import Jobs
from umd.projections.releases import Releases
from umd.projections.sweeps import Sweeps
from umd.replay.again import Again

WAIT_SEC = 120.0

OWN, NEW, NEWER = own_version(), "2027.01.02", "2027.01.09"


class Killed(BaseException):
    """The end of the process, at this very point."""


class ScriptedEngine:
    """An engine of which is known what is broken."""

    def __init__(self, broken: set[str], version: str = OWN) -> None:
        self.ytdlp_version = version
        self.broken = broken
        self.tried: list[str] = []
        self.dies = False

    @property
    def release(self) -> str:
        return "" if self.ytdlp_version == OWN else self.ytdlp_version

    @property
    def versions(self) -> frozenset[str]:
        return frozenset({self.ytdlp_version})

    @asynccontextmanager
    async def trial(self, folder: str) -> AsyncIterator[Trial]:
        version = Path(folder).name or OWN
        self.tried.append(version)
        if version in self.broken:
            raise EngineError(f"{version} is broken.")
        yield Trial(version, partial(self._adopt, version))

    async def _adopt(self, version: str) -> None:
        if self.dies:
            raise Killed
        self.ytdlp_version = version


class Life:
    """One life of a service, on what an earlier one left."""

    def __init__(
        self, root: Path, before: "Life | None" = None, *, clock: Clock | None = None, hours: int = 0
    ) -> None:
        self.clock: Clock = clock or (before.clock if before else VirtualClock())
        self.log: MemoryLog = MemoryLog(before.log.records if before else ())
        self.jobs = Jobs()
        self.releases = Releases(self.jobs)
        self.shelf = Shelf(root / "engines")
        begins_with = Path(self.shelf.first()).name or OWN
        self.engine: ScriptedEngine = ScriptedEngine(before.engine.broken if before else set(), begins_with)
        batches = Batches(self.jobs)
        self.dispatcher = Dispatcher(self.log, self.jobs, batches, self.releases, Sweeps(), self.clock)
        self.updater = Updater(self.dispatcher, self.releases, self.engine, self.shelf, self.clock, hours)
        self._changed = asyncio.Event()

    async def start(self) -> None:
        await self.log.start(self.jobs.apply, self.releases.apply)
        self.log.follow(self.updater.apply)
        self.log.follow(self._note)
        await self.updater.start()

    async def stop(self) -> None:
        await self.updater.stop()
        await self.log.stop()

    @property
    def events(self) -> list[EngineEvent]:
        rows = (record for record in self.log.records if record.stream == rules.STREAM)
        return [msgspec.json.decode(row.data, type=AnyEngineEvent) for row in rows if row.kind == "event"]

    async def told(self, count: int) -> EngineEvent:
        """The event with this number, as soon as it is there, and the updater has done what it means."""
        async with asyncio.timeout(WAIT_SEC):
            while len(self.events) < count or self.shelf.wish is not None:
                self._changed.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(1):
                        await self._changed.wait()
        return self.events[count - 1]

    async def download(self, version: str, code: str | None = None) -> None:
        """One that ends on this release, well or with a fault of this code."""
        job_id = self.clock.new_id()
        request = DownloadRequest(url="https://example.com/a")
        end: c.AnyJobCommand = (
            c.CompleteAttempt(job_id, 1, (FILE,), Progress("finished"))
            if code is None
            else c.FailAttempt(job_id, 1, msgspec.structs.replace(fault(code, "Broken."), retryable=False))
        )
        submit = c.SubmitDownload(job_id, request=request, limits=LIMITS, owner="anonymous")
        for command in (submit, c.StartAttempt(job_id, version), end):
            await self.dispatcher.execute(command)

    def _note(self, _facts: Sequence[Fact]) -> None:
        self._changed.set()


AnyEngineEvent = EngineUpdated | EngineUpdateFailed | EngineRolledBack


def put(root: Path, version: str) -> None:
    folder = root / "engines" / version / "yt_dlp"
    folder.mkdir(parents=True)
    (folder / "version.py").write_text(f"__version__ = '{version}'\n")


def virtually(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    run_virtual(story())


def test_a_wish_is_tried_recorded_and_used_and_old_releases_go(tmp_path: Path) -> None:
    async def story() -> None:
        life = Life(tmp_path)
        await life.start()
        for number, version in enumerate((NEW, NEWER, "2027.01.16"), 1):
            put(tmp_path, version)
            life.shelf.want(Wish(version, f"wish-{number}"))
            event = await life.told(number)
            before = (OWN, NEW, NEWER)[number - 1]
            assert event == EngineUpdated(version, before, OWN)
            assert life.engine.ytdlp_version == version
        await asyncio.sleep(2)
        assert life.shelf.installed() == [NEWER, "2027.01.16"]
        assert [record.correlation for record in life.log.records] == [
            f"wish-{number}" for number in (1, 1, 2, 2, 3, 3)
        ]
        await life.stop()
        assert list(Again().differences(life.log.records)) == []
        assert Life(tmp_path, life).engine.ytdlp_version == "2027.01.16"

    virtually(story)


def test_a_release_that_fails_changes_nothing_and_goes(tmp_path: Path) -> None:
    async def story() -> None:
        life = Life(tmp_path)
        life.engine.broken.add(NEW)
        await life.start()
        put(tmp_path, NEW)
        life.shelf.want(Wish(NEW, "wish-1"))

        assert await life.told(1) == EngineUpdateFailed(f"{NEW} is broken.", NEW)
        await asyncio.sleep(2)

        assert (life.engine.ytdlp_version, life.engine.tried) == (OWN, [NEW])
        assert life.shelf.installed() == []
        life.shelf.want(Wish(NEW, "wish-2"))
        assert await life.told(2) == EngineUpdateFailed(f"yt-dlp {NEW} is not installed.", NEW)
        await life.stop()

    virtually(story)


def test_a_wish_that_no_service_heard_is_heard_by_the_next(tmp_path: Path) -> None:
    async def story() -> None:
        put(tmp_path, NEW)
        Shelf(tmp_path / "engines").want(Wish(NEW, "wish-1"))
        life = Life(tmp_path)
        await life.start()

        assert await life.told(1) == EngineUpdated(NEW, OWN, OWN)
        await life.stop()

    virtually(story)


def test_a_crash_between_the_record_and_the_change_loses_neither(tmp_path: Path) -> None:
    async def story() -> None:
        put(tmp_path, NEW)
        first = Life(tmp_path)
        first.engine.dies = True
        await first.start()
        first.shelf.want(Wish(NEW, "wish-1"))
        with suppress(Killed):
            await first.updater.join()
        assert first.engine.ytdlp_version == OWN
        await first.log.stop()

        second = Life(tmp_path, first)
        assert second.engine.ytdlp_version == OWN
        await second.start()
        await second.told(1)
        await asyncio.sleep(2)

        assert second.engine.ytdlp_version == NEW
        assert second.shelf.wish is None
        assert len(second.events) == 1
        await second.stop()
        assert Life(tmp_path, second).engine.ytdlp_version == NEW

    virtually(story)


def test_a_choice_that_the_log_knows_nothing_of_is_not_kept(tmp_path: Path) -> None:
    """As where the log was lost, or is an older one's backup."""

    async def story() -> None:
        put(tmp_path, NEW)
        Shelf(tmp_path / "engines").choose(NEW)
        life = Life(tmp_path)
        assert life.engine.ytdlp_version == NEW
        await life.start()
        await asyncio.sleep(1)

        assert (life.engine.ytdlp_version, life.events) == (OWN, [])
        assert life.shelf.first() == ""
        await life.stop()

    virtually(story)


def test_too_many_faults_bring_the_one_before_back_also_when_they_came_in_two_lives(tmp_path: Path) -> None:
    async def story() -> None:
        first = Life(tmp_path)
        await first.start()
        for number, version in enumerate((NEW, NEWER), 1):
            put(tmp_path, version)
            first.shelf.want(Wish(version, f"wish-{number}"))
            await first.told(number)
        for code in ("network", "internal", "internal", "internal", "internal", "private"):
            await first.download(NEWER, code)
        await first.stop()

        second = Life(tmp_path, first)
        await second.start()
        await second.download(NEWER)
        await second.download(NEWER, "worker_crashed")
        event = await second.told(3)

        assert isinstance(event, EngineRolledBack)
        assert (event.version, event.failed, event.judged, event.faults) == (NEW, NEWER, 6, 5)
        await asyncio.sleep(2)
        assert second.engine.ytdlp_version == NEW
        assert second.releases.release.trouble
        assert second.shelf.installed() == [NEW]
        second.shelf.want(Wish(NEW, "wish-3"))
        assert await second.told(4) == EngineUpdated(NEW, NEW, OWN)
        assert not second.releases.release.trouble
        await second.stop()

    virtually(story)


def test_where_the_one_before_is_broken_too_the_own_one_comes_back(tmp_path: Path) -> None:
    async def story() -> None:
        life = Life(tmp_path)
        await life.start()
        for number, version in enumerate((NEW, NEWER), 1):
            put(tmp_path, version)
            life.shelf.want(Wish(version, f"wish-{number}"))
            await life.told(number)
        life.engine.broken.add(NEW)
        for _ in range(5):
            await life.download(NEWER, "internal")
        event = await life.told(4)

        assert isinstance(life.events[2], EngineUpdateFailed)
        assert isinstance(event, EngineRolledBack)
        assert (event.version, event.failed) == (OWN, NEWER)
        await life.stop()

    virtually(story)


def test_a_chosen_release_that_is_gone_or_starts_no_more_is_given_up(tmp_path: Path) -> None:
    async def story() -> None:
        put(tmp_path, NEW)
        first = Life(tmp_path)
        await first.start()
        first.shelf.want(Wish(NEW, "wish-1"))
        await first.told(1)
        await first.stop()
        (tmp_path / "engines" / NEW).rename(tmp_path / "away")

        second = Life(tmp_path, first)
        await second.start()

        assert await second.told(2) == EngineRolledBack(OWN, NEW, f"yt-dlp {NEW} is not installed.")
        assert second.engine.ytdlp_version == OWN
        await second.stop()

    virtually(story)


async def test_the_newest_release_is_installed_by_itself_when_it_is_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By pip itself, from a folder of wheels as its index; a release that has failed is not taken again."""
    (tmp_path / "wheels").mkdir()
    test_installing.small(tmp_path / "wheels", {})
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    first = Life(tmp_path, clock=SystemClock(), hours=1)
    first.engine.broken.add(NEW)
    await first.start()
    assert await first.told(1) == EngineUpdateFailed(f"{NEW} is broken.", NEW)
    assert first.clock.now() - first.shelf.checked < 3_600 * SECOND
    await first.stop()

    monkeypatch.delenv("PIP_FIND_LINKS")
    first.shelf.note_check(0)
    second = Life(tmp_path, first, clock=SystemClock(), hours=1)
    await second.start()
    event = await second.told(2)

    assert isinstance(event, EngineUpdateFailed)
    assert event.version is None
    assert "No matching distribution" in event.reason
    await second.stop()
