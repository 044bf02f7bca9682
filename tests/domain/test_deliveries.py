"""The rules of webhooks, as given / when / then, and their signatures as a receiver checks them."""

import base64

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from standardwebhooks import Webhook, WebhookVerificationError

from tests.domain.builders import AT, DONE, FILE, JOB_ID, METADATA, PRIVATE, QUEUED, STARTED, job_after
from umd.clock import SECOND, SystemClock, instant
from umd.domain import batch as batch_rules
from umd.domain import commands as c
from umd.domain import deliveries, webhooks
from umd.domain import events as e
from umd.domain.batch import Batch
from umd.domain.deliveries import DeliveryState
from umd.domain.job import Job, decide, evolve
from umd.domain.options import BatchOrder, PlaylistDownloadRequest
from umd.errors import NotFound

HOOK = "https://hooks.test/services/T0/secret"
SCHEDULE = (0, 5, 300)
SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()
OTHER = "whsec_" + base64.b64encode(b"o" * 32).decode()


def job(*events: e.AnyJobEvent, **options: object) -> Job:
    request = replace(QUEUED.request, **{"webhook_url": HOOK, **options})
    after = job_after(replace(QUEUED, request=request), *events)
    assert after is not None
    return after


def done(job: Job, command: c.AnyJobCommand) -> Job:
    for event in decide(job, command, AT):
        job = evolve(job, event, AT)
    return job


def told(job: Job) -> list[tuple[str, str]]:
    return [(one.event, one.state) for one in job.deliveries]


def test_each_event_of_a_job_that_the_world_cares_for_makes_one_delivery() -> None:
    completed = (STARTED, e.JobFile(1, FILE), e.JobCompleted(1, DONE, None))
    deleted = job(*completed, e.JobFilesDeleted("retention"))

    assert told(deleted) == [
        ("download.started", "pending"),
        ("download.completed", "pending"),
        ("download.files_deleted", "pending"),
    ]
    assert deleted.deliveries[1].files == (FILE,)
    assert told(job(STARTED, e.JobFailed(1, PRIVATE)))[1:] == [("download.failed", "pending")]
    assert told(job(e.JobCancelled())) == [("download.cancelled", "pending")]


def test_only_what_was_asked_for_and_the_first_start_is_told() -> None:
    retried = (STARTED, e.JobInterrupted(1, "x"), e.JobStarted(2, "v"), e.JobFailed(2, PRIVATE))

    assert told(job(*retried, webhook_events=("download.failed",))) == [("download.failed", "pending")]
    assert [kind for kind, _ in told(job(*retried))] == ["download.started", "download.failed"]
    assert job(*retried, webhook_url=None).deliveries == ()


def test_a_delivery_is_retried_until_the_schedule_ends() -> None:
    after = job(STARTED)
    for attempt, retry_at in ((1, instant(AT + 5 * SECOND)), (2, None)):
        after = done(after, c.RecordDeliveryFailed(JOB_ID, 1, attempt, "no answer", 1, None, retry_at))
        if retry_at is not None:
            assert after.deliveries[0].due_at == AT + 5 * SECOND

    [delivery] = after.deliveries
    assert (delivery.state, delivery.attempts, delivery.last_error) == ("exhausted", 2, "no answer")


def test_a_record_that_comes_twice_or_late_changes_nothing() -> None:
    delivered = done(job(STARTED), c.RecordDelivered(JOB_ID, 1, 1, 204, 1))

    assert delivered.deliveries[0].state is DeliveryState.DELIVERED
    assert deliveries.all_sent(delivered.deliveries)
    for command in (
        c.RecordDelivered(JOB_ID, 1, 1, 200, 1),
        c.RecordDelivered(JOB_ID, 1, 2, 200, 1),
        c.RecordDeliveryFailed(JOB_ID, 1, 2, "late", 1),
    ):
        assert decide(delivered, command, AT) == ()
    with pytest.raises(NotFound):
        decide(delivered, c.RecordDelivered(JOB_ID, 2, 1, 200, 1), AT)


def test_a_receiver_that_is_gone_is_told_nothing_more_of_this_job() -> None:
    gone = done(job(STARTED), c.RecordDeliveryFailed(JOB_ID, 1, 1, "gone", 1, 410, instant(AT), True))
    after = evolve(gone, e.JobFailed(1, PRIVATE), AT)

    assert told(after) == [("download.started", "disabled"), ("download.failed", "disabled")]
    again = done(after, c.RequeueDelivery(JOB_ID, 2))
    assert told(again)[1] == ("download.failed", "pending")


def test_a_redelivery_begins_the_schedule_anew() -> None:
    failed = done(job(STARTED), c.RecordDeliveryFailed(JOB_ID, 1, 1, "no", 1))

    [again] = done(failed, c.RequeueDelivery(JOB_ID, 1)).deliveries
    assert (again.state, again.attempts, again.tries) == ("pending", 1, 0)
    assert decide(done(failed, c.RequeueDelivery(JOB_ID, 1)), c.RequeueDelivery(JOB_ID, 1), AT) == ()


@given(st.text("0123456789abcdef", min_size=4), st.integers(0, 1))
def test_waits_are_those_of_the_schedule_give_or_take_a_tenth(name: str, tries: int) -> None:
    wait = deliveries.wait(name, tries + 1, SCHEDULE)

    assert wait is not None
    assert abs(wait / SECOND - SCHEDULE[tries + 1]) <= SCHEDULE[tries + 1] * 0.1 + 1e-6
    assert wait == deliveries.wait(name, tries + 1, SCHEDULE)
    assert deliveries.wait(name, 3, SCHEDULE) is None


def test_the_body_says_what_happened_then_and_holds_no_secret() -> None:
    options = {"url": "https://u:p@h.test/watch?v=1&token=s"}
    failed = job(STARTED, e.JobMetadata(1, METADATA), e.JobFailed(1, PRIVATE), **options)
    later = evolve(failed, e.JobRetrying(1, instant(AT), requested=True), AT)

    body = webhooks.body(failed, failed.deliveries[1], "https://umd.test")
    assert body == webhooks.body(later, later.deliveries[1], "https://umd.test")
    told = msgspec.json.decode(body)
    assert (told["type"], told["data"]["status"]) == ("download.failed", "failed")
    assert told["data"]["url"] == "https://h.test/watch?v=1&token=…"
    assert told["data"]["error"]["code"] == "private"
    assert told["data"]["status_url"] == f"https://umd.test/api/v1/download/{JOB_ID}"
    assert b"hooks.test" not in body


def test_a_receiver_can_verify_with_either_secret_and_no_bit_can_be_changed() -> None:
    body = '{"title": "schön"}'.encode()
    headers = webhooks.headers("msg_1", SystemClock().now(), body, (SECRET, OTHER))

    assert Webhook(SECRET).verify(body, headers) == Webhook(OTHER).verify(body, headers)
    for forged in (
        {**headers, "webhook-id": "msg_2"},
        {**headers, "webhook-timestamp": str(int(headers["webhook-timestamp"]) + 1)},
        webhooks.headers("msg_1", AT, body, (SECRET,)),
    ):
        with pytest.raises(WebhookVerificationError):
            Webhook(SECRET).verify(body, forged)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(body.replace(b"title", b"tiile"), headers)
    assert "webhook-signature" not in webhooks.headers("msg_1", AT, body, ())


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_short", "whsec_" + "A" * 200, SECRET[6:]])
def test_what_is_no_secret_is_refused(secret: str) -> None:
    problem = webhooks.secret_problem(secret)

    assert problem is not None
    assert secret == "" or secret not in problem or secret == "whsec_"
    assert webhooks.secret_problem(SECRET) is None


def batch(*ends: e.AnyBatchEvent, **options: object) -> Batch:
    """One that has come to its end in these ways, each after a retry."""
    request = PlaylistDownloadRequest(url="https://example.com/list", webhook_url=HOOK, **options)  # type: ignore[arg-type]
    queued = e.BatchQueued(JOB_ID, BatchOrder(playlist=request), QUEUED.limits, "me")
    whole: Batch | None = None
    for event in (queued, e.BatchListed((), "A list"), e.BatchExpanded(), *ends):
        whole = batch_rules.evolve(whole, event, AT)
    assert whole is not None
    return whole


@pytest.mark.parametrize(
    ("end", "status"),
    [
        (e.BatchCompleted(e.Tally(2, 1, 0, 3)), "completed"),
        (e.BatchFailed(PRIVATE, e.Tally(2, 1, 0, 3)), "failed"),
        (e.BatchCancelled(e.Tally(2, 1, 0, 3)), "cancelled"),
    ],
)
def test_every_end_of_a_batch_is_told_as_it_was(end: e.AnyBatchEvent, status: str) -> None:
    later = batch(end, e.BatchRetrying(), e.BatchCompleted(e.Tally(6)))
    first, second = later.deliveries
    told = msgspec.json.decode(webhooks.batch_body(later, first, "https://umd.test"))

    assert (first.event, second.event, first.number, second.number) == (*["batch.completed"] * 2, 1, 2)
    assert told["type"] == "batch.completed"
    assert told["data"]["status"] == status
    assert told["data"]["error"] == (msgspec.to_builtins(PRIVATE) if status == "failed" else None)
    counts = {name: value for name, value in told["data"].items() if name.endswith("_jobs")}
    assert counts == {
        "total_jobs": 6,
        "completed_jobs": 2,
        "failed_jobs": 1,
        "cancelled_jobs": 0,
        "skipped_jobs": 3,
    }
    assert (told["data"]["kind"], told["data"]["title"]) == ("playlist", "A list")
    assert told["data"]["status_url"] == f"https://umd.test/api/v1/batch/{JOB_ID}"


def test_a_batch_tells_only_who_wants_to_know_and_nobody_who_is_gone() -> None:
    end = e.BatchCompleted(e.Tally(1))
    gone = batch(end, e.WebhookFailed(1, 1, "gone", 1, 410, None, True), e.BatchRetrying(), end)

    assert batch(end, webhook_events=("download.completed",)).deliveries == ()
    assert [one.state for one in gone.deliveries] == ["disabled", "disabled"]


def test_what_came_of_a_batchs_webhook_is_recorded_once() -> None:
    whole = batch(e.BatchCompleted(e.Tally(1)))
    delivered = c.RecordBatchDelivered(JOB_ID, 1, 1, 204, 5)
    [event] = batch_rules.decide(whole, delivered)
    after = batch_rules.evolve(whole, event, AT)
    [again] = batch_rules.decide(after, c.RequeueBatchDelivery(JOB_ID, 1))
    failed = c.RecordBatchDeliveryFailed(JOB_ID, 1, 2, "no", 1)

    assert after.deliveries[0].state is DeliveryState.DELIVERED
    assert batch_rules.decide(after, delivered) == batch_rules.decide(after, failed) == ()
    assert batch_rules.evolve(after, again, AT).deliveries[0].state is DeliveryState.PENDING


def test_a_job_and_a_batch_of_one_id_have_webhooks_of_different_ids() -> None:
    """As one `Idempotency-Key` on both routes gives them."""
    of_job = deliveries.delivery_id(JOB_ID, 1)

    assert of_job != deliveries.delivery_id(deliveries.of_batch(JOB_ID), 1)
