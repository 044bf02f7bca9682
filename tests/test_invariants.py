"""The checker sees what it is there to see: each kind of damage, planted once."""

from pathlib import Path

import msgspec
import pytest

from tests.actors.world import running
from tests.domain.builders import GIVEN, JOB_ID
from tests.histories import BrokenInvariant, history
from tests.invariants import check_acknowledged, check_disk, check_live
from tests.virtual import run_virtual
from umd.domain import commands as c
from umd.domain.job import FINAL, State
from umd.errors import LogCorrupt
from umd.log import Record
from umd.log.codec import Entry, entries
from umd.log.ledger import Draft, Ledger


def completed(tmp_path: Path) -> list[Record]:
    """The log of a world in which one job was completed."""

    async def main() -> list[Record]:
        async with running(tmp_path) as world:
            await world.until(await world.submit(), *FINAL)
            await world.idle()
            return world.log.records

    return run_virtual(main())


def test_an_honest_history_is_accepted(tmp_path: Path) -> None:
    records = completed(tmp_path)

    told = history(records)
    check_acknowledged(told, told.jobs, settled=True)
    check_disk(tmp_path, told.jobs)


def test_a_lost_job_is_seen(tmp_path: Path) -> None:
    records = completed(tmp_path)

    with pytest.raises(BrokenInvariant, match="accepted and lost"):
        check_acknowledged(history(records), ["another"], settled=True)


def test_a_lost_a_changed_and_a_doubled_row_are_seen(tmp_path: Path) -> None:
    records = completed(tmp_path)

    for damaged in (
        records[:3] + records[4:],
        [*records[:3], msgspec.structs.replace(records[3], data=b"{}"), *records[4:]],
        [*records[:3], records[2], *records[3:]],
    ):
        with pytest.raises((BrokenInvariant, LogCorrupt)):
            history(damaged)


def test_a_missing_a_changed_and_a_strange_file_are_seen(tmp_path: Path) -> None:
    records = completed(tmp_path)
    jobs = history(records).jobs
    [path] = (tmp_path / "videos").iterdir()
    content = path.read_bytes()

    path.write_bytes(content[::-1])
    with pytest.raises(BrokenInvariant, match="another content"):
        check_disk(tmp_path, jobs)
    path.unlink()
    with pytest.raises(BrokenInvariant, match="is missing"):
        check_disk(tmp_path, jobs)
    path.write_bytes(content)
    (tmp_path / "videos/stranger").touch()
    with pytest.raises(BrokenInvariant, match="of no job"):
        check_disk(tmp_path, jobs)


def test_a_folder_that_was_left_over_is_seen(tmp_path: Path) -> None:
    records = completed(tmp_path)
    (tmp_path / f"temp/job-{next(iter(history(records).jobs))}").mkdir()

    with pytest.raises(BrokenInvariant, match="left over"):
        check_disk(tmp_path, history(records).jobs)


def forged(*steps: tuple[c.Command, tuple[object, ...]]) -> list[Record]:
    """A log whose hashes are right, of commands and events that nobody decided."""
    ledger = Ledger()
    records: list[Record] = []
    for number, (command, events) in enumerate(steps):
        expected = records[-1].position if records else 0
        rows: tuple[Entry, ...] = entries(command, events)  # type: ignore[arg-type]  # events of some kind
        plan = ledger.plan([Draft(f"job-{JOB_ID}", expected, number, "", None, rows)])
        ledger.commit(plan)
        records += [fact.record for fact in plan.facts]
    return records


SUBMIT = c.SubmitDownload(
    JOB_ID,
    request=GIVEN[State.QUEUED][0].request,  # type: ignore[union-attr]  # the first event of every job
    limits=GIVEN[State.QUEUED][0].limits,  # type: ignore[union-attr]
    owner="anonymous",
    body_hash="h1",
)


def test_two_final_events_are_seen() -> None:
    completed = GIVEN[State.COMPLETED]
    cancelled = GIVEN[State.CANCELLED][-1]

    with pytest.raises(BrokenInvariant, match=r"after the end|decided otherwise"):
        history(
            forged(
                (SUBMIT, completed[:1]),
                (c.StartAttempt(JOB_ID, "2026.10.26"), completed[1:2]),
                (c.CancelDownload(JOB_ID), (*completed[3:], cancelled)),
            )
        )


def test_an_event_that_its_command_does_not_lead_to_is_seen() -> None:
    queued = GIVEN[State.QUEUED]

    with pytest.raises(BrokenInvariant, match="decided otherwise"):
        history(forged((SUBMIT, queued), (c.PauseDownload(JOB_ID), GIVEN[State.CANCELLED][1:])))


def test_two_live_attempts_of_a_job_are_seen() -> None:
    with pytest.raises(BrokenInvariant, match="two live attempts"):
        check_live([], ["a", "a"])
    with pytest.raises(BrokenInvariant, match="without a job"):
        check_live([], ["a"])
