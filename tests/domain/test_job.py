"""The rules of a job, as given / when / then."""

from typing import get_args

import msgspec
import pytest

from tests.domain.builders import (
    AT,
    COMMANDS,
    DONE,
    FILE,
    GIVEN,
    JOB_ID,
    LIMITS,
    METADATA,
    NETWORK,
    PRIVATE,
    PROGRESS,
    QUEUED,
    STARTED,
    job_after,
    job_in,
)
from umd.clock import SECOND, instant, micros
from umd.domain import commands as c
from umd.domain import events as e
from umd.domain.faults import fault
from umd.domain.job import FINAL, State, decide, evolve, time_left
from umd.errors import IdempotencyKeyReused, InvalidState, NotFound, Refused, StaleAttempt

DONE_ALREADY: tuple[str, ...] = ()
REFUSED = InvalidState
STALE = StaleAttempt
MISSING = NotFound

# What each command leads to in each state: the events' types, nothing (done already), or a refusal.
TABLE: dict[type[c.JobCommand], dict[State | None, object]] = {
    c.SubmitDownload: {
        None: ("job.queued",),
        State.QUEUED: (),
        State.RUNNING: (),
        State.STOPPING: (),
        State.PAUSED: (),
        State.COMPLETED: (),
        State.FAILED: (),
        State.CANCELLED: (),
    },
    c.StartAttempt: {
        None: MISSING,
        State.QUEUED: ("job.started",),
        State.RUNNING: REFUSED,
        State.STOPPING: REFUSED,
        State.PAUSED: REFUSED,
        State.COMPLETED: REFUSED,
        State.FAILED: REFUSED,
        State.CANCELLED: REFUSED,
    },
    c.RecordMetadata: {
        None: MISSING,
        State.QUEUED: STALE,
        State.RUNNING: ("job.metadata",),
        State.STOPPING: ("job.metadata",),
        State.PAUSED: STALE,
        State.COMPLETED: STALE,
        State.FAILED: STALE,
        State.CANCELLED: STALE,
    },
    c.EnterPhase: {
        None: MISSING,
        State.QUEUED: STALE,
        State.RUNNING: ("job.phase",),
        State.STOPPING: ("job.phase",),
        State.PAUSED: STALE,
        State.COMPLETED: STALE,
        State.FAILED: STALE,
        State.CANCELLED: STALE,
    },
    c.RecordLog: {
        None: MISSING,
        State.QUEUED: STALE,
        State.RUNNING: ("job.log",),
        State.STOPPING: ("job.log",),
        State.PAUSED: STALE,
        State.COMPLETED: STALE,
        State.FAILED: STALE,
        State.CANCELLED: STALE,
    },
    c.CompleteAttempt: {
        None: MISSING,
        State.QUEUED: STALE,
        State.RUNNING: ("job.file", "job.completed"),
        State.STOPPING: ("job.cancelled",),
        State.PAUSED: STALE,
        State.COMPLETED: STALE,
        State.FAILED: STALE,
        State.CANCELLED: STALE,
    },
    c.FailAttempt: {
        None: MISSING,
        State.QUEUED: STALE,
        State.RUNNING: ("job.retrying",),
        State.STOPPING: ("job.cancelled",),
        State.PAUSED: STALE,
        State.COMPLETED: STALE,
        State.FAILED: STALE,
        State.CANCELLED: STALE,
    },
    c.InterruptAttempt: {
        None: MISSING,
        State.QUEUED: STALE,
        State.RUNNING: ("job.interrupted",),
        State.STOPPING: ("job.cancelled",),
        State.PAUSED: STALE,
        State.COMPLETED: STALE,
        State.FAILED: STALE,
        State.CANCELLED: STALE,
    },
    c.ConfirmStopped: {
        None: MISSING,
        State.QUEUED: STALE,
        State.RUNNING: REFUSED,
        State.STOPPING: ("job.cancelled",),
        State.PAUSED: STALE,
        State.COMPLETED: STALE,
        State.FAILED: STALE,
        State.CANCELLED: STALE,
    },
    c.CancelDownload: {
        None: MISSING,
        State.QUEUED: ("job.cancelled",),
        State.RUNNING: ("job.stopping",),
        State.STOPPING: (),
        State.PAUSED: ("job.cancelled",),
        State.COMPLETED: REFUSED,
        State.FAILED: REFUSED,
        State.CANCELLED: (),
    },
    c.PauseDownload: {
        None: MISSING,
        State.QUEUED: ("job.paused",),
        State.RUNNING: ("job.stopping",),
        State.STOPPING: REFUSED,
        State.PAUSED: (),
        State.COMPLETED: REFUSED,
        State.FAILED: REFUSED,
        State.CANCELLED: REFUSED,
    },
    c.ResumeDownload: {
        None: MISSING,
        State.QUEUED: (),
        State.RUNNING: (),
        State.STOPPING: REFUSED,
        State.PAUSED: ("job.resumed",),
        State.COMPLETED: REFUSED,
        State.FAILED: REFUSED,
        State.CANCELLED: REFUSED,
    },
    c.RetryDownload: {
        None: MISSING,
        State.QUEUED: (),
        State.RUNNING: REFUSED,
        State.STOPPING: REFUSED,
        State.PAUSED: REFUSED,
        State.COMPLETED: REFUSED,
        State.FAILED: ("job.retrying",),
        State.CANCELLED: ("job.retrying",),
    },
    c.ScheduleDeletion: {
        None: MISSING,
        State.QUEUED: REFUSED,
        State.RUNNING: REFUSED,
        State.STOPPING: REFUSED,
        State.PAUSED: REFUSED,
        State.COMPLETED: ("job.deletion_scheduled",),
        State.FAILED: REFUSED,
        State.CANCELLED: REFUSED,
    },
    c.RecordFilesDeleted: {
        None: MISSING,
        State.QUEUED: REFUSED,
        State.RUNNING: REFUSED,
        State.STOPPING: REFUSED,
        State.PAUSED: REFUSED,
        State.COMPLETED: ("job.files_deleted",),
        State.FAILED: REFUSED,
        State.CANCELLED: REFUSED,
    },
    # A job without webhooks has no delivery; `test_deliveries.py` has those with.
    c.RecordDelivered: dict.fromkeys((None, *State), MISSING),
    c.RecordDeliveryFailed: dict.fromkeys((None, *State), MISSING),
    c.RequeueDelivery: dict.fromkeys((None, *State), MISSING),
    c.RecordFilesMissing: {
        None: MISSING,
        State.QUEUED: REFUSED,
        State.RUNNING: REFUSED,
        State.STOPPING: REFUSED,
        State.PAUSED: REFUSED,
        State.COMPLETED: ("job.files_missing", "job.files_deleted"),
        State.FAILED: REFUSED,
        State.CANCELLED: REFUSED,
    },
}


def types(events: tuple[e.AnyJobEvent, ...]) -> tuple[str, ...]:
    return tuple(str(event.__struct_config__.tag) for event in events)


@pytest.mark.parametrize("state", GIVEN)
@pytest.mark.parametrize("command", COMMANDS.values(), ids=lambda command: type(command).__name__)
def test_every_pair_of_state_and_command_is_decided_or_refused_by_name(
    state: State | None, command: c.AnyJobCommand
) -> None:
    expected = TABLE[type(command)][state]
    job = job_after(*GIVEN[state])

    if isinstance(expected, type):
        with pytest.raises(expected) as refusal:
            decide(job, command, AT)
        assert type(refusal.value) is expected
        assert JOB_ID in str(refusal.value)
    else:
        assert types(decide(job, command, AT)) == expected


def test_the_table_of_pairs_is_whole() -> None:
    assert set(TABLE) == set(COMMANDS) == set(get_args(c.AnyJobCommand))
    assert all(set(row) == {None, *State} for row in TABLE.values())


@pytest.mark.parametrize("state", State)
def test_whatever_is_decided_can_be_folded(state: State) -> None:
    for command in COMMANDS.values():
        job = job_in(state)
        try:
            events = decide(job, command, AT)
        except Refused:
            continue
        for event in events:
            job = evolve(job, event, AT)
        assert job.job_id == JOB_ID


@pytest.mark.parametrize("state", sorted(FINAL))
def test_only_a_retry_leads_out_of_a_final_state(state: State) -> None:
    for command in COMMANDS.values():
        job = job_in(state)
        try:
            events = decide(job, command, AT)
        except Refused:
            continue
        for event in events:
            job = evolve(job, event, AT)
        assert job.state is state or isinstance(command, c.RetryDownload)


def test_events_and_commands_survive_their_encoding() -> None:
    events = [event for history in GIVEN.values() for event in history]
    events += [e.JobMetadata(1, METADATA), e.JobPhase(1, PROGRESS), e.JobLog(1, ()), e.JobResumed()]

    for event in events:
        assert msgspec.json.decode(msgspec.json.encode(event), type=e.AnyJobEvent) == event
    for command in COMMANDS.values():
        assert msgspec.json.decode(msgspec.json.encode(command), type=c.AnyJobCommand) == command


def test_the_same_key_with_another_body_is_refused() -> None:
    other = c.SubmitDownload(
        JOB_ID, request=QUEUED.request, limits=LIMITS, owner="anonymous", body_hash="another"
    )

    with pytest.raises(IdempotencyKeyReused):
        decide(job_in(State.QUEUED), other, AT)


def test_a_retryable_fault_is_retried_until_the_retries_are_used_up() -> None:
    job = job_in(State.RUNNING)

    for attempt in (1, 2):
        (event,) = decide(job, c.FailAttempt(JOB_ID, attempt, NETWORK), AT)
        assert isinstance(event, e.JobRetrying)
        job = evolve(evolve(job, event, AT), e.JobStarted(attempt + 1, "2026.10.26"), AT)
    (event,) = decide(job, c.FailAttempt(JOB_ID, 3, NETWORK), AT)

    assert event == e.JobFailed(3, NETWORK)


def test_a_fault_that_is_not_retryable_fails_at_once() -> None:
    events = decide(job_in(State.RUNNING), c.FailAttempt(JOB_ID, 1, PRIVATE, PROGRESS), AT)

    assert events == (e.JobFailed(1, PRIVATE, PROGRESS),)


def test_waits_before_retries_grow_and_are_the_same_in_every_replay() -> None:
    def wait(failures: int) -> int:
        job = msgspec.structs.replace(job_in(State.RUNNING), failures=failures)
        long = msgspec.structs.replace(LIMITS, retries=20)
        job = msgspec.structs.replace(job, limits=long)
        (event,) = decide(job, c.FailAttempt(JOB_ID, 1, NETWORK), AT)
        assert isinstance(event, e.JobRetrying)
        return micros(event.retry_at) - AT

    waits = [wait(failures) for failures in range(4)]

    assert waits == sorted(waits) == [wait(failures) for failures in range(4)]
    assert 3.75 * SECOND <= waits[0] <= 6.25 * SECOND
    assert wait(19) <= 3_600 * 1.25 * SECOND


def first_wait(error: e.Fault) -> float:
    (event,) = decide(job_in(State.RUNNING), c.FailAttempt(JOB_ID, 1, error), AT)
    assert isinstance(event, e.JobRetrying)
    return (micros(event.retry_at) - AT) / SECOND


def test_some_faults_are_waited_for_longer_and_a_site_may_name_the_time() -> None:
    quick = first_wait(NETWORK)

    assert first_wait(fault("rate_limited_by_site", "Slow down.")) == pytest.approx(6 * quick)
    assert first_wait(fault("rate_limited_by_site", "Slow down.", 600)) == 600
    assert first_wait(fault("network", "Later.", 1)) == quick
    assert first_wait(fault("network", "Much later.", 100_000)) == 3_600


@pytest.mark.parametrize("code", ["blocked_by_site", "postprocessing_failed"])
def test_some_faults_are_final_when_they_come_twice_in_a_row(code: str) -> None:
    error = fault(code, "No.")
    (first,) = decide(job_in(State.RUNNING), c.FailAttempt(JOB_ID, 1, error), AT)
    again = job_after(QUEUED, STARTED, first, e.JobStarted(2, "2026.10.26"))
    (second,) = decide(again, c.FailAttempt(JOB_ID, 2, error), AT)
    (other,) = decide(again, c.FailAttempt(JOB_ID, 2, NETWORK), AT)

    assert isinstance(first, e.JobRetrying)
    assert isinstance(second, e.JobFailed)
    assert isinstance(other, e.JobRetrying)


def test_a_pause_that_ended_a_live_recording_completes_it_and_a_cancel_does_not() -> None:
    ended = c.CompleteAttempt(JOB_ID, 1, (FILE,), DONE, live_ended=True)

    paused = decide(job_after(QUEUED, STARTED, e.JobStopping("pause")), ended, AT)
    cancelled = decide(job_after(QUEUED, STARTED, e.JobStopping("cancel")), ended, AT)

    assert [type(event) for event in paused] == [e.JobFile, e.JobCompleted]
    assert [type(event) for event in cancelled] == [e.JobCancelled]


def test_a_deletion_is_put_off_or_called_off_until_it_is_done() -> None:
    job = job_in(State.COMPLETED)
    later, kept = instant(AT + 99 * SECOND), c.ScheduleDeletion(JOB_ID, None)

    put_off = decide(job, c.ScheduleDeletion(JOB_ID, later), AT)
    past = decide(job, c.ScheduleDeletion(JOB_ID, instant(AT - SECOND)), AT)

    assert put_off == (e.JobDeletionScheduled(later),)
    assert past == (e.JobDeletionScheduled(instant(AT)),), "what is past means now"
    assert evolve(job, put_off[0], AT).delete_at == AT + 99 * SECOND
    assert decide(job, kept, AT) == (e.JobDeletionScheduled(None),)
    assert decide(evolve(job, e.JobDeletionScheduled(None), AT), kept, AT) == ()
    with pytest.raises(InvalidState):
        decide(evolve(job, e.JobFilesDeleted("retention"), AT), kept, AT)


def test_an_interrupted_attempt_uses_up_no_retry_and_no_time() -> None:
    job = evolve(job_in(State.RUNNING), e.JobInterrupted(1, "the service stopped"), AT + 100 * SECOND)

    assert (job.state, job.failures, job.attempt, time_left(job)) == (State.QUEUED, 0, 1, 1_800)


def test_time_that_a_failed_attempt_ran_counts_against_the_timeout() -> None:
    job = evolve(job_in(State.RUNNING), e.JobRetrying(1, instant(AT), NETWORK), AT + 100 * SECOND)

    assert time_left(job) == 1_700


def test_a_cancel_overrides_a_pause_that_is_under_way() -> None:
    job = job_after(QUEUED, STARTED, e.JobStopping("pause"))

    assert decide(job, c.CancelDownload(JOB_ID), AT) == (e.JobStopping("cancel"),)


def test_a_stop_is_carried_out_however_the_attempt_ended() -> None:
    for intent, state in (("cancel", State.CANCELLED), ("pause", State.PAUSED)):
        job = job_after(QUEUED, STARTED, e.JobStopping(intent))  # type: ignore[arg-type]  # both are intents
        for kind in (c.CompleteAttempt, c.FailAttempt, c.InterruptAttempt, c.ConfirmStopped):
            (event,) = decide(job, COMMANDS[kind], AT)
            assert evolve(job, event, AT).state is state


def test_a_report_of_an_earlier_attempt_is_refused() -> None:
    job = job_after(QUEUED, STARTED, e.JobInterrupted(1, "x"), e.JobStarted(2, "2026.10.26"))

    with pytest.raises(StaleAttempt):
        decide(job, COMMANDS[c.CompleteAttempt], AT)


def test_completion_schedules_the_deletion_of_its_files() -> None:
    *_, completed = decide(job_in(State.RUNNING), COMMANDS[c.CompleteAttempt], AT)

    assert completed == e.JobCompleted(1, DONE, instant(AT + 3_600 * SECOND))


def test_files_without_retention_stay() -> None:
    job = msgspec.structs.replace(
        job_in(State.RUNNING), limits=msgspec.structs.replace(LIMITS, retention_sec=None)
    )

    assert decide(job, COMMANDS[c.CompleteAttempt], AT)[-1] == e.JobCompleted(1, DONE, None)


def test_a_new_attempt_begins_with_no_files_and_no_error() -> None:
    job = job_after(
        QUEUED, STARTED, e.JobFile(1, FILE), e.JobRetrying(1, instant(AT), NETWORK), e.JobStarted(2, "x")
    )

    assert job is not None
    assert (job.files, job.error, job.retry_at, job.started_at) == ((), None, None, AT)


def test_a_job_that_is_cancelled_while_it_waits_for_its_retry_keeps_its_progress_and_shows_no_error() -> None:
    job = job_after(
        QUEUED, STARTED, e.JobRetrying(1, instant(AT), NETWORK, progress=PROGRESS), e.JobCancelled()
    )

    assert job is not None
    assert (job.state, job.error, job.progress) == (State.CANCELLED, None, PROGRESS)


def test_a_requested_retry_begins_to_count_anew() -> None:
    job = evolve(job_in(State.FAILED), e.JobRetrying(1, instant(AT), requested=True), AT)

    assert (job.state, job.failures, job.spent, job.ended_at) == (State.QUEUED, 0, 0, None)
