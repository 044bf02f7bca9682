"""What each component says of itself when something is wrong with it."""

import errno
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.api.world import World
from umd.api.checks import WORKERS_LOST_SEC, Checks, Parts
from umd.api.context import Check
from umd.clock import SECOND
from umd.engine import capabilities, ffmpeg
from umd.engine.ffmpeg import Tools
from umd.engine.sandbox import Confinement


@dataclass
class Engine:
    """As much of an engine as the checks look at."""

    mode = "fork"
    ytdlp_version = "2026.10.26"
    alive = True
    confinement = Confinement("netns")
    release = ""


@dataclass
class Clinic:
    """The checks of a world."""

    world: World
    engine: Engine
    tools: Tools

    def __post_init__(self) -> None:
        self.world.clock.at = 1_800_000_000 * SECOND
        (self.world.root / "log").mkdir()
        engine: Any = self.engine
        parts = Parts(
            self.world.log,
            self.world.jobs,
            self.world.batches,
            self.world.volume,
            self.world.admission,
            engine,
            self.tools,
            self.world.clock,
            "auto",
            self.world.releases,
        )
        self.checks = Checks(parts)

    async def say(self, name: str) -> Check:
        return await self.checks.by_name()[name]()


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Tools:
    return ffmpeg.find(tmp_path_factory.mktemp("bin"))


@pytest.fixture
def clinic(world: World, tools: Tools) -> Clinic:
    return Clinic(world, Engine(), tools)


async def test_all_are_well(clinic: Clinic) -> None:
    await clinic.world.submit()

    said = {name: await clinic.say(name) for name in clinic.checks.by_name()}

    assert {name: check.status for name, check in said.items()} == dict.fromkeys(said, "healthy"), said
    assert said["yt_dlp"].details["impersonation"]
    assert said["yt_dlp"].details["challenge_solver"]


@pytest.mark.parametrize(("component", "folder"), [("storage", "temp"), ("event_log", "log")])
async def test_a_folder_that_cannot_be_written_is_unhealthy(
    clinic: Clinic, component: str, folder: str
) -> None:
    (clinic.world.root / folder).rename(clinic.world.root / "away")
    (clinic.world.root / folder).write_text("in the way")

    check = await clinic.say(component)

    assert check.status == "unhealthy"
    assert "Not a directory" in check.message


@pytest.mark.parametrize(("reserve", "status"), [(b"x", "degraded"), (b"", "unhealthy"), (None, "unhealthy")])
async def test_a_full_volume_is_bad_as_soon_as_the_log_has_no_reserve(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch, reserve: bytes | None, status: str
) -> None:
    def full(_folder: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(clinic.world.volume, "probe", full)
    if reserve is not None:
        (clinic.world.root / "log/log.reserve").write_bytes(reserve)

    assert (await clinic.say("event_log")).status == status


async def test_a_probe_leaves_nothing_behind(clinic: Clinic) -> None:
    await clinic.say("storage")

    assert list((clinic.world.root / "temp").iterdir()) == []


async def test_a_worker_that_is_prepared_is_degraded_and_unhealthy_when_it_takes_too_long(
    clinic: Clinic,
) -> None:
    clinic.engine.alive = False
    first = await clinic.say("workers")
    clinic.world.clock.at += (WORKERS_LOST_SEC + 1) * SECOND
    later = await clinic.say("workers")
    clinic.engine.alive = True
    again = await clinic.say("workers")

    assert [check.status for check in (first, later, again)] == ["degraded", "unhealthy", "healthy"]


async def test_an_ffmpeg_without_an_encoder_is_degraded(world: World, tools: Tools, tmp_path: Path) -> None:
    lame = tmp_path / "ffmpeg"
    lame.write_text("#!/bin/sh\necho ' A....D aac  AAC'\necho ' A....D flac  FLAC'\n")
    lame.chmod(0o755)
    clinic = Clinic(world, Engine(), Tools(tools.directory, str(lame), tools.ffprobe, "1", "1"))

    check = await clinic.say("ffmpeg")

    assert check.status == "degraded"
    assert check.details["encoders_missing"] == "libmp3lame,libopus,libvorbis"


async def test_a_missing_ffmpeg_is_degraded(world: World, tools: Tools) -> None:
    clinic = Clinic(world, Engine(), Tools(tools.directory))

    assert (await clinic.say("ffmpeg")).status == "degraded"


def test_an_ffmpeg_that_does_not_run_has_no_encoder() -> None:
    assert capabilities.encoders_missing("/nowhere/ffmpeg") == capabilities.ENCODERS


async def test_a_clock_that_went_back_is_degraded(clinic: Clinic) -> None:
    await clinic.world.submit()
    clinic.world.clock.at -= 60 * SECOND
    check = await clinic.say("clock")
    clinic.world.clock.at = SECOND

    assert (check.status, check.details["behind_log_seconds"]) == ("degraded", 60.0)
    assert (await clinic.say("clock")).status == "degraded"
