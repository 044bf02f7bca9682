"""An engine moves to another release of yt-dlp while it works, if that is sound."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from tests.engine import releases
from tests.engine.releases import NEW, NEWER
from tests.engine.rig import WAIT_SEC, Rig
from tests.site import Site
from umd.domain.options import DownloadRequest
from umd.engine.protocol import Assignment, Finished
from umd.engine.runner import ZygoteEngine
from umd.engine.shelf import Shelf, own_version
from umd.errors import EngineError, ReleaseChanged

LIAR = {
    "yt_dlp/version.py": f"""
__version__ = '{NEWER}'
__version__ += '.1'
CHANNEL = VARIANT = 'pip'
RELEASE_GIT_HEAD = UPDATE_HINT = ORIGIN = ''
_pkg_version = __version__
"""
}
"""It calls itself otherwise than the folder that it lies in."""


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return releases.unpacked(tmp_path_factory.mktemp("engines"), NEW)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def moving(site: Site, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    async with Rig(site, tmp_path_factory.mktemp("moving"), "fork") as running:
        yield running


async def move(rig: Rig, folder: Path | str) -> None:
    async with rig.engine.trial(str(folder)) as trial:
        await trial.adopt()


def assignment(rig: Rig, version: str) -> Assignment:
    folder = rig.folder()
    request = DownloadRequest(url=rig.site.url("/media/small/a.mp4"), embed_metadata=False)
    return Assignment(folder.name, 1, request.url, request, str(folder), ytdlp_version=version)


async def test_what_runs_ends_on_the_old_release_and_what_comes_starts_on_the_new(
    moving: Rig, sound: Path
) -> None:
    engine = moving.engine
    assert isinstance(engine, ZygoteEngine)
    before, old = engine.ytdlp_version, psutil.Process((await moving.happened("zygote_ready")).pid)
    running = await moving.begin("/media/small/a.mp4?stall_after=1000&gate=update&skip=1&key=update")
    await running.entered("downloading")

    await move(moving, sound)

    assert (before, engine.ytdlp_version) == (own_version(), NEW)
    assert engine.versions == {before, NEW}
    recorded = await engine.run(assignment(moving, before))
    faults = [one.fault async for one in recorded.reports() if isinstance(one, Finished)]
    assert faults == [None]
    new = await moving.download("/media/small/b.mp4")
    assert new.finished.fault is None
    assert old.is_running()
    moving.site.open_gate("update")
    assert (await running.ended()).status == 0
    assert running.finished.fault is None
    async with asyncio.timeout(WAIT_SEC):
        await asyncio.gather(*engine._ending.values())
    assert not old.is_running()
    assert engine.versions == {NEW}
    with pytest.raises(ReleaseChanged):
        await engine.run(assignment(moving, before))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (releases.BROKEN_IMPORT, "this release is broken"),
        (releases.BROKEN_EXTRACTOR, "extractor error"),
        (LIAR, f"It says that it is {NEWER}.1"),
    ],
    ids=["does not start", "downloads nothing", "is another one"],
)
async def test_a_release_that_is_not_sound_changes_nothing(
    moving: Rig, tmp_path: Path, changes: dict[str, str], reason: str
) -> None:
    before, children = moving.engine.versions, len(psutil.Process().children())

    with pytest.raises(EngineError, match=reason):
        await move(moving, releases.unpacked(tmp_path, NEWER, changes))

    assert moving.engine.versions == before
    assert len(psutil.Process().children()) == children
    assert (await moving.download("/media/small/a.mp4")).finished.fault is None


async def test_a_chosen_release_that_starts_no_more_gives_way_to_the_own_one(
    site: Site, tmp_path: Path
) -> None:
    shelf = Shelf(tmp_path / "engines")
    releases.unpacked(shelf.place, NEW, releases.BROKEN_IMPORT)
    shelf.choose(NEW)

    async with Rig(site, tmp_path, "fork") as rig:
        assert rig.config.release == shelf.path(NEW)
        assert rig.engine.ytdlp_version == own_version()
        assert "this release is broken" in rig.noticed("zygote_failed")[0].detail
        assert rig.engine.release == ""


async def test_fresh_processes_import_the_release_that_is_in_use(site: Site, tmp_path: Path) -> None:
    """It lies below the data directory, where a child sees nothing else than that."""
    async with Rig(site, tmp_path, "spawn") as rig:
        await move(rig, releases.unpacked(tmp_path / "engines", NEW))

        assert rig.engine.versions == {NEW}
        assert (await rig.download("/media/small/a.mp4")).finished.fault is None
        with pytest.raises(ReleaseChanged):
            await rig.engine.run(assignment(rig, own_version()))
