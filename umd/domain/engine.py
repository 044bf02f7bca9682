"""The rules of the releases of yt-dlp: which one is in use, and when one is to be given up.

umd comes with a release of its own. Others are installed beside it, and each has to pass a self-test before
it is used. After that the downloads judge it: where too many of the first ones fail in a way that a release
is to blame for, the one before comes back.
"""

import re

import msgspec
from msgspec.structs import replace

from umd.domain import commands as c
from umd.domain import events as e
from umd.errors import InvalidState

STREAM = "engine"
"""The name of the engine's stream in the log."""

JUDGED_MAX = 20
"""So many downloads that end after an update are compared with so many of those that ended before it."""

FAULTS_MIN = 5
"""With fewer faults there is no verdict."""

WORSE_BY = 0.25
"""By how much the share of faults may grow."""

BLAMED = frozenset({"internal", "worker_crashed", "postprocessing_failed"})
"""Codes of a failure for which a release may be to blame, and neither the site nor the request."""

_DIGITS = re.compile(r"\d+")


class Release(msgspec.Struct, frozen=True):
    """What is known of the releases: the fold of the engine's events. `current` is None before the first.

    `refused` have failed, and are used again only where somebody asks for them. `trouble` is why the last one
    was given up, until somebody has chosen another one, or confirmed the one that came back.
    """

    current: str | None = None
    previous: str | None = None
    own: str = ""
    refused: frozenset[str] = frozenset()
    trouble: str = ""
    failure: str = ""


class Tally(msgspec.Struct, frozen=True):
    """How many downloads ended that say something of a release, and for how many failures it is to blame."""

    judged: int = 0
    faults: int = 0

    @property
    def share(self) -> float:
        return self.faults / self.judged if self.judged else 0.0


NOTHING_KNOWN = Release()


def decide(release: Release, command: c.AnyEngineCommand) -> tuple[e.AnyEngineEvent, ...]:
    """What comes of a command. Raises `InvalidState` where there is nothing to give up."""
    before = due(release, command.own)
    match command:
        case c.UseRelease(own, version):
            return (e.EngineUpdated(version, release.current or own, own),)
        case c.RefuseRelease(_, reason, version):
            return (e.EngineUpdateFailed(reason, version),)
        case c.RollBack(_, version, reason, judged, faults):
            if version == before:
                raise InvalidState(f"yt-dlp {version} is in use already.")
            return (e.EngineRolledBack(version, before, reason, judged, faults),)


def evolve(release: Release, event: e.AnyEngineEvent) -> Release:
    """What is known after an event."""
    match event:
        case e.EngineUpdated(version, previous, own):
            # Who confirms what is in use does not lose what was before it.
            before = previous if previous != version else release.previous
            return Release(version, before, own, release.refused - {version})
        case e.EngineUpdateFailed(reason, version):
            refused = release.refused | ({version} if version else set())
            return replace(release, refused=refused, failure=reason)
        case e.EngineRolledBack(version, failed, reason):
            refused = release.refused | {failed}
            return replace(release, current=version, previous=None, refused=refused, trouble=reason)


def due(release: Release, own: str) -> str:
    """The release that is to be in use with a umd that comes with `own`.

    A umd that brings another release than before brings the one that it was tested with: only what is newer
    than that stays in use.
    """
    if release.current is None or (release.own != own and not is_newer(release.current, own)):
        return own
    return release.current


def is_newer(version: str, other: str) -> bool:
    """Whether a version of yt-dlp, as `2026.10.26`, comes after another one."""
    return _numbers(version) > _numbers(other)


def is_worse(after: Tally, before: Tally) -> bool:
    """Whether the downloads say that a release is to be given up for the one before it."""
    return after.faults >= FAULTS_MIN and after.share > before.share + WORSE_BY


def way_back(release: Release, own: str) -> str | None:
    """The release to go back to: the one before, else umd's own; None where there is none to try."""
    tried = release.refused | {due(release, own)}
    return next((one for one in (release.previous, own) if one and one not in tried), None)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in _DIGITS.findall(version))
