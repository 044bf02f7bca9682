"""Which release of yt-dlp is in use, and when one is given up."""

import pytest

from umd.domain import commands as c
from umd.domain import events as e
from umd.domain.engine import NOTHING_KNOWN, Release, Tally, decide, due, evolve, is_newer, is_worse, way_back
from umd.errors import InvalidState

OWN = "2026.10.26"
NEW = "2026.11.02"
NEWER = "2026.11.09"


def after(*events: e.AnyEngineEvent) -> Release:
    release = NOTHING_KNOWN
    for event in events:
        release = evolve(release, event)
    return release


UPDATED = e.EngineUpdated(NEW, OWN, OWN)
AGAIN = e.EngineUpdated(NEWER, NEW, OWN)


def test_an_update_tells_what_ran_before() -> None:
    assert decide(NOTHING_KNOWN, c.UseRelease(OWN, NEW)) == (UPDATED,)
    assert decide(after(UPDATED), c.UseRelease(OWN, NEWER)) == (AGAIN,)


def test_a_refused_release_changes_nothing_but_what_is_known_of_it() -> None:
    [event] = decide(after(UPDATED), c.RefuseRelease(OWN, "It does not start.", NEWER))

    release = evolve(after(UPDATED), event)

    assert (release.current, release.previous) == (NEW, OWN)
    assert release.refused == {NEWER}
    assert release.failure == "It does not start."


def test_a_roll_back_leads_to_the_one_before_and_leaves_word() -> None:
    before = after(UPDATED, AGAIN)
    target = way_back(before, OWN)
    assert target == NEW

    [event] = decide(before, c.RollBack(OWN, target, "Too many fail.", 8, 6))
    release = evolve(before, event)

    assert event == e.EngineRolledBack(NEW, NEWER, "Too many fail.", 8, 6)
    assert (release.current, release.previous, release.trouble) == (NEW, None, "Too many fail.")
    assert way_back(release, OWN) == OWN


def test_there_is_no_way_back_from_the_own_release() -> None:
    assert way_back(NOTHING_KNOWN, OWN) is None
    assert way_back(after(UPDATED, e.EngineUpdateFailed("It is broken.", OWN)), OWN) is None
    with pytest.raises(InvalidState):
        decide(NOTHING_KNOWN, c.RollBack(OWN, OWN, "It fails."))


def test_whoever_confirms_the_release_in_use_ends_the_trouble() -> None:
    rolled_back = after(UPDATED, AGAIN, e.EngineRolledBack(NEW, NEWER, "Too many fail."))

    [event] = decide(rolled_back, c.UseRelease(OWN, NEW))

    assert evolve(rolled_back, event) == Release(NEW, None, OWN, frozenset({NEWER}))
    assert evolve(after(UPDATED), e.EngineUpdated(NEW, NEW, OWN)).previous == OWN


def test_a_refused_release_may_be_asked_for_again() -> None:
    release = after(e.EngineUpdateFailed("It is broken.", NEW), UPDATED)

    assert (release.current, release.refused, release.failure) == (NEW, frozenset(), "")


@pytest.mark.parametrize(
    ("own", "expected"),
    [(OWN, NEW), ("2026.10.31", NEW), (NEWER, NEWER), ("2026.11.2", "2026.11.2")],
    ids=["the same umd", "an older release than the chosen one", "a newer one", "as new a one"],
)
def test_another_umd_brings_its_own_release_where_that_is_no_older(own: str, expected: str) -> None:
    assert due(after(UPDATED), own) == expected
    assert due(NOTHING_KNOWN, own) == own


def test_an_older_release_stays_where_it_was_chosen() -> None:
    assert due(after(e.EngineUpdated("2026.09.01", OWN, OWN)), OWN) == "2026.09.01"


def test_versions_are_compared_by_their_numbers() -> None:
    assert is_newer("2026.10.1", "2026.9.30")
    assert is_newer("2026.10.26.235959", "2026.10.26")
    assert not is_newer("2026.09.30", "2026.9.30")


@pytest.mark.parametrize(
    ("later", "before", "expected"),
    [
        (Tally(5, 5), Tally(), True),
        (Tally(4, 4), Tally(), False),
        (Tally(20, 5), Tally(20, 0), False),
        (Tally(20, 6), Tally(20, 0), True),
        (Tally(20, 6), Tally(20, 2), False),
    ],
)
def test_the_downloads_give_a_verdict(later: Tally, before: Tally, expected: bool) -> None:
    assert is_worse(later, before) is expected
