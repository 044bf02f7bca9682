"""What the downloads say of the release in use, counted over the rows of the log."""

from itertools import count

from tests.domain.builders import DONE, LIMITS, QUEUED
from umd.domain import events as e
from umd.domain.engine import JUDGED_MAX, STREAM, Tally
from umd.log import Fact, Record
from umd.projections.jobs import Jobs
from umd.projections.releases import Releases

OWN, NEW = "2026.10.26", "2026.11.02"
UPDATED = e.EngineUpdated(NEW, OWN, OWN)


class Story:
    """Downloads one after the other, each on a release and with an end."""

    def __init__(self) -> None:
        self.jobs = Jobs()
        self.releases = Releases(self.jobs)
        self._positions = count(1)

    def tell(self, stream: str, event: e.Event, correlation: str = "") -> "Story":
        kind = str(event.__struct_config__.tag)
        position = next(self._positions)
        record = Record(position, stream, 1, "event", kind, 1, position, correlation, None, b"", b"")
        for fold in (self.jobs, self.releases):
            fold.apply([Fact(record, event)])
        return self

    def downloads(self, version: str, **ends: int) -> "Story":
        """So many that end with each code; `completed` is one of them."""
        for code in (code for code, times in ends.items() for _ in range(times)):
            name = f"{version}-{next(self._positions)}"
            self.tell(f"job-{name}", e.JobQueued(name, QUEUED.request, LIMITS, "anonymous"))
            self.tell(f"job-{name}", e.JobStarted(1, version))
            failed = e.JobFailed(1, e.Fault(code, "Broken.", False))
            self.tell(f"job-{name}", e.JobCompleted(1, DONE, None) if code == "completed" else failed)
        return self


def test_the_first_downloads_after_an_update_are_compared_with_those_before() -> None:
    story = Story().downloads(OWN, completed=18, internal=2).tell(STREAM, UPDATED)

    assert story.downloads(NEW, completed=8, internal=4).releases.verdict is None
    assert story.downloads(NEW, worker_crashed=2).releases.verdict == Tally(14, 6)


def test_what_failed_as_often_before_is_not_held_against_a_release() -> None:
    story = Story().downloads(OWN, completed=5, internal=15).tell(STREAM, UPDATED)

    assert story.downloads(NEW, internal=JUDGED_MAX).releases.verdict is None


def test_the_faults_of_sites_and_requests_say_nothing() -> None:
    story = Story().tell(STREAM, UPDATED).downloads(NEW, network=20, not_found=20, blocked_by_site=20)

    assert story.releases.verdict is None
    assert story.downloads(NEW, internal=5).releases.verdict == Tally(5, 5)


def test_downloads_that_still_ended_on_the_old_release_are_not_the_new_one_s() -> None:
    story = Story().tell(STREAM, UPDATED).downloads(OWN, internal=20)

    assert story.releases.verdict is None


def test_a_release_that_has_stood_its_test_is_judged_no_longer() -> None:
    story = Story().tell(STREAM, UPDATED).downloads(NEW, completed=JUDGED_MAX, internal=100)

    assert story.releases.verdict is None


def test_a_roll_back_ends_the_case_and_a_failed_update_does_not() -> None:
    story = Story().tell(STREAM, UPDATED).downloads(NEW, internal=5)

    assert story.tell(STREAM, e.EngineUpdateFailed("None to be had.")).releases.verdict
    assert story.tell(STREAM, e.EngineRolledBack(OWN, NEW, "Broken.")).releases.verdict is None
    assert story.releases.release.trouble


def test_the_last_wish_that_was_answered_is_known() -> None:
    story = Story().tell(STREAM, UPDATED, "wish-1").tell(STREAM, e.EngineRolledBack(OWN, NEW, "Broken."))

    assert story.releases.answered == "wish-1"
