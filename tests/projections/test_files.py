"""Which job a path belongs to."""

from collections.abc import Sequence

from tests.domain.builders import AT, DONE, FILE, LIMITS, PRIVATE, PROGRESS, QUEUED
from umd.domain import events as e
from umd.domain.options import DownloadRequest
from umd.log import Fact, Record, Unknown
from umd.projections.files import Files, StoredFile

DELETED = e.JobFilesDeleted("retention")
DONE_AT = e.JobCompleted(1, DONE, None)


def facts(job_id: str, *events: e.Event | Unknown | None) -> Sequence[Fact]:
    return [
        Fact(Record(n, f"job-{job_id}", n, "event", "", 1, AT, "", None, b"", b""), event)
        for n, event in enumerate(events, 1)
    ]


def folded(*batches: Sequence[Fact]) -> Files:
    files = Files()
    for batch in batches:
        files.apply(batch)
    return files


def test_a_completed_jobs_files_are_known() -> None:
    files = folded(facts("a", QUEUED, e.JobStarted(1, ""), e.JobFile(1, FILE), DONE_AT))

    assert files.get(FILE.path) == StoredFile("a", FILE, AT)
    assert files.get("videos/other.mp4") is None


def test_a_file_counts_when_its_job_is_completed_and_not_before() -> None:
    files = folded(facts("a", e.JobStarted(1, ""), e.JobFile(1, FILE)))

    assert files.get(FILE.path) is None


def test_what_an_attempt_that_failed_has_left_does_not_count() -> None:
    files = folded(
        facts("a", e.JobFile(1, FILE), e.JobFailed(1, PRIVATE, PROGRESS)),
        facts("a", e.JobStarted(2, ""), DONE_AT),
    )

    assert files.get(FILE.path) is None


def test_a_deleted_file_stays_known_as_deleted() -> None:
    files = folded(facts("a", e.JobFile(1, FILE), DONE_AT), facts("a", DELETED))

    assert files.get(FILE.path) == StoredFile("a", FILE, AT, deleted=True)


def test_a_path_that_another_job_has_taken_is_that_jobs() -> None:
    files = folded(
        facts("a", e.JobFile(1, FILE), DONE_AT, DELETED),
        facts("b", e.JobFile(1, FILE), DONE_AT),
        facts("a", DELETED),
    )

    assert files.get(FILE.path) == StoredFile("b", FILE, AT)


def test_rows_that_say_nothing_of_files_change_nothing() -> None:
    request = DownloadRequest(url="https://example.com/")
    queued = e.JobQueued("a", request, LIMITS, "anonymous")

    files = folded(facts("a", None, queued, Unknown("job.later", b"{}"), DELETED, e.JobCancelled()))

    assert files.get(FILE.path) is None
