"""The rules of a batch: given these events, when this command, then these events or this error."""

from typing import get_args

import pytest

from tests.domain.builders import AT, LIMITS, NETWORK, PRIVATE
from umd.domain import commands as c
from umd.domain import events as e
from umd.domain.batch import Batch, BatchState, child_id, decide, evolve, identity
from umd.domain.options import BatchDownloadRequest, BatchOrder, PlaylistDownloadRequest
from umd.errors import IdempotencyKeyReused, InvalidState, NotFound

BATCH_ID = "01hf0000000000000000000000"
URL = "https://example.com/list"
ORDER = BatchOrder(playlist=PlaylistDownloadRequest(url=URL))
QUEUED = e.BatchQueued(BATCH_ID, ORDER, LIMITS, "anonymous", "h1")
ONE, TWO = (e.ListedItem(f"{URL}/{number}", number, f"v{number}", extractor="site") for number in (1, 2))
ITEMS = tuple(e.BatchItem(child_id(BATCH_ID, item), item) for item in (ONE, TWO))
LISTED = e.BatchListed(ITEMS, "A list")
ALL = e.Tally(completed=2)
MIXED = e.Tally(completed=1, failed=1)

GIVEN: dict[BatchState | None, tuple[e.AnyBatchEvent, ...]] = {
    None: (),
    BatchState.EXPANDING: (QUEUED, e.BatchStarted()),
    BatchState.RUNNING: (QUEUED, e.BatchStarted(), LISTED, e.BatchExpanded()),
    BatchState.STOPPING: (QUEUED, e.BatchStarted(), LISTED, e.BatchExpanded(), e.BatchStopping("cancel")),
    BatchState.COMPLETED: (QUEUED, LISTED, e.BatchExpanded(), e.BatchCompleted(MIXED)),
    BatchState.FAILED: (QUEUED, e.BatchExpanded(PRIVATE), e.BatchFailed(PRIVATE, e.Tally())),
    BatchState.CANCELLED: (QUEUED, e.BatchStopping("cancel"), e.BatchCancelled(e.Tally())),
}

COMMANDS: tuple[c.AnyBatchCommand, ...] = (
    c.SubmitBatch(BATCH_ID, order=ORDER, limits=LIMITS, owner="anonymous", body_hash="h1"),
    c.StartBatch(BATCH_ID),
    c.RecordItems(BATCH_ID, ITEMS, "A list"),
    c.EndListing(BATCH_ID),
    c.CancelBatch(BATCH_ID),
    c.StopBatch(BATCH_ID),
    c.EndBatch(BATCH_ID, ALL),
    c.RetryBatch(BATCH_ID),
    c.RecordBatchDelivered(BATCH_ID, 1, 1, 200, 5),
    c.RecordBatchDeliveryFailed(BATCH_ID, 1, 1, "no answer", 5),
    c.RequeueBatchDelivery(BATCH_ID, 1),
)

NO = InvalidState
S = BatchState
NONE: dict[BatchState | None, object] = dict.fromkeys((None, *S), NotFound)
"""None of them has a webhook."""

TABLE: dict[str, dict[BatchState | None, object]] = {
    "RecordBatchDelivered": NONE,
    "RecordBatchDeliveryFailed": NONE,
    "RequeueBatchDelivery": NONE,
    "SubmitBatch": {None: (QUEUED,), **dict.fromkeys(S, ())},
    "StartBatch": {
        None: NotFound,
        S.EXPANDING: (),
        S.RUNNING: (),
        S.STOPPING: (),
        S.COMPLETED: (e.BatchStarted(),),
        S.FAILED: (e.BatchStarted(),),
        S.CANCELLED: (e.BatchStarted(),),
    },
    "RecordItems": {None: NotFound, **dict.fromkeys(S, NO), S.EXPANDING: (LISTED,)},
    "EndListing": {None: NotFound, **dict.fromkeys(S, NO), S.EXPANDING: (e.BatchExpanded(),)},
    "CancelBatch": {
        None: NotFound,
        S.EXPANDING: (e.BatchStopping("cancel"),),
        S.RUNNING: (e.BatchStopping("cancel"),),
        S.STOPPING: (),
        S.COMPLETED: NO,
        S.FAILED: NO,
        S.CANCELLED: (),
    },
    "StopBatch": {
        None: NotFound,
        **dict.fromkeys(S, NO),
        S.EXPANDING: (e.BatchStopping("error"),),
        S.RUNNING: (e.BatchStopping("error"),),
        S.STOPPING: (),
    },
    "EndBatch": {
        None: NotFound,
        **dict.fromkeys(S, NO),
        S.RUNNING: (e.BatchCompleted(ALL),),
        S.STOPPING: (e.BatchCancelled(ALL),),
    },
    "RetryBatch": {
        None: NotFound,
        **dict.fromkeys(S, ()),
        S.COMPLETED: (e.BatchRetrying(),),
        S.FAILED: (e.BatchRetrying(),),
        S.CANCELLED: (e.BatchRetrying(),),
    },
}


def after(*events: e.AnyBatchEvent) -> Batch | None:
    batch: Batch | None = None
    for event in events:
        batch = evolve(batch, event, AT)
    return batch


def must(batch: Batch | None) -> Batch:
    assert batch is not None
    return batch


@pytest.mark.parametrize("state", GIVEN, ids=str)
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: type(command).__name__)
def test_every_command_in_every_state(state: BatchState | None, command: c.AnyBatchCommand) -> None:
    expected = TABLE[type(command).__name__][state]
    batch = after(*GIVEN[state])

    if isinstance(expected, tuple):
        assert decide(batch, command) == expected
    else:
        with pytest.raises(expected):  # type: ignore[call-overload]  # a class of error
            decide(batch, command)


def test_the_table_is_complete() -> None:
    assert {type(command) for command in COMMANDS} == set(get_args(c.AnyBatchCommand))
    assert all(set(row) == {None, *BatchState} for row in TABLE.values())
    assert all(state is None or must(after(*given)).state is state for state, given in GIVEN.items())


def test_a_batch_of_addresses_knows_its_items_at_once() -> None:
    order = BatchOrder(batch=BatchDownloadRequest(urls=("https://a.example/1", "https://a.example/2")))
    command = c.SubmitBatch(BATCH_ID, order=order, limits=LIMITS, owner="anonymous")

    _, listed, expanded = decide(None, command)

    assert isinstance(listed, e.BatchListed)
    assert [one.item.url for one in listed.items] == list(order.request.urls)  # type: ignore[union-attr]
    assert expanded == e.BatchExpanded()


def test_another_request_under_the_same_key_is_refused() -> None:
    command = c.SubmitBatch(BATCH_ID, order=ORDER, limits=LIMITS, owner="anonymous", body_hash="h2")

    with pytest.raises(IdempotencyKeyReused):
        decide(after(QUEUED), command)


def test_items_that_are_known_already_are_left_out() -> None:
    half = after(QUEUED, e.BatchListed(ITEMS[:1], "A list"))

    assert decide(half, c.RecordItems(BATCH_ID, (*ITEMS, *ITEMS), "A list")) == (
        e.BatchListed(ITEMS[1:], "A list"),
    )
    assert decide(after(QUEUED, LISTED), c.RecordItems(BATCH_ID, ITEMS, "A list")) == ()


def test_ids_follow_from_the_batch_and_the_item() -> None:
    elsewhere = e.ListedItem("https://other.example/1", 9, "v1", extractor="site")

    assert child_id(BATCH_ID, ONE) == child_id(BATCH_ID, elsewhere)
    assert child_id(BATCH_ID, ONE) != child_id(BATCH_ID, TWO)
    assert child_id(BATCH_ID, ONE) != child_id("0" * 26, ONE)
    assert identity(e.ListedItem(URL, 1)) == URL


@pytest.mark.parametrize(
    ("ignore", "tally", "fails"),
    [
        (True, MIXED, False),
        (True, e.Tally(failed=2), True),
        (True, e.Tally(failed=1, skipped=1), False),
        (False, MIXED, True),
        (False, e.Tally(completed=2), False),
    ],
)
def test_when_the_whole_fails(ignore: bool, tally: e.Tally, fails: bool) -> None:
    order = BatchOrder(playlist=PlaylistDownloadRequest(url=URL, ignore_errors=ignore))
    queued = e.BatchQueued(BATCH_ID, order, LIMITS, "anonymous")
    batch = after(queued, LISTED, e.BatchExpanded())

    [event] = decide(batch, c.EndBatch(BATCH_ID, tally, NETWORK if tally.failed else None))

    assert isinstance(event, e.BatchFailed if fails else e.BatchCompleted)
    if isinstance(event, e.BatchFailed):
        assert event.error.code == "network"
        assert f"{tally.failed} of 2 items failed" in event.error.message


def test_a_list_that_could_not_be_read_fails_the_whole_and_is_read_again_on_retry() -> None:
    batch = must(after(QUEUED, LISTED, e.BatchExpanded(PRIVATE)))

    assert decide(batch, c.EndBatch(BATCH_ID, ALL)) == (e.BatchFailed(PRIVATE, ALL),)
    failed = evolve(batch, e.BatchFailed(PRIVATE, ALL), AT)
    assert evolve(failed, e.BatchRetrying(), AT).state is BatchState.EXPANDING


def test_nothing_that_went_well_is_retried() -> None:
    batch = after(QUEUED, LISTED, e.BatchExpanded(), e.BatchCompleted(ALL))

    with pytest.raises(InvalidState):
        decide(batch, c.RetryBatch(BATCH_ID))
