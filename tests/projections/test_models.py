"""What was put by and filled again is what would be folded from all rows, for each read model."""

import gc
from collections.abc import Sequence
from random import Random  # noqa: TID251  # seeded by the test
from typing import Any
from weakref import ref

import msgspec
import pytest

from tests.random_histories import History, cuts
from umd.domain.job import State
from umd.log import Record, Unknown
from umd.log.codec import facts, facts_at_last
from umd.log.ledger import Ledger
from umd.log.snapshot import Packing, Unpacking, capture
from umd.projections.models import Models
from umd.telemetry.distribution import Distribution

NOT_STATE = {"_watches", "_jobs", "_handlers", "_marks", "_fingerprints"}


def known(model: object) -> dict[str, Any]:
    """All that a read model knows, in a form that can be compared; what is 0 counts as absent."""
    return {name: plain(value) for name, value in vars(model).items() if name not in NOT_STATE}


def plain(value: Any) -> Any:  # noqa: ANN401  # whatever a model holds
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items() if one != 0}
    if isinstance(value, Distribution):
        return value.bounds, value.counts, pytest.approx(value.sum)
    return value


def folded(records: Sequence[Record], models: Models | None = None) -> Models:
    models = models or Models()
    for begin in range(0, len(records), 50):
        models.apply(facts(records[begin : begin + 50]))
    return models


def put_by(records: Sequence[Record], models: Models) -> Models:
    """The models as a start would have them that takes up a snapshot of these."""
    ledger = Ledger()
    ledger.admit(records)
    packing = Packing(capture(ledger, models))
    parts = []
    while part := packing.next():
        parts.append(part)
    filled = Models()
    unpacking = Unpacking(packing.head, filled)
    read = [(part.section, unpacking.read(part)) for part in parts]
    unpacking.end()
    for section, items in read:
        filled.fill(section, items)
    again = Ledger()
    again.begin_at(packing.head.position, packing.head.hash, unpacking.standings)
    assert vars(again) == vars(ledger)
    return filled


@pytest.mark.parametrize("seed", range(40))
def test_what_is_filled_and_told_the_rest_is_what_is_folded_from_all(seed: int) -> None:
    records = History(seed).go_on(150).records
    whole = folded(records)

    for cut in cuts(records, Random(seed)):
        before = folded(records[:cut])
        filled = put_by(records[:cut], before)
        assert_same(filled, before)
        assert_same(folded(records[cut:], filled), whole)


@pytest.mark.parametrize("seed", range(40))
def test_to_pass_over_what_is_overtaken_comes_to_the_same(seed: int) -> None:
    records = History(seed).go_on(100).talked(5, 200).go_on(100).records
    events = [record for record in records if record.kind == "event"]
    models, read = Models(), 0
    for begin in range(0, len(events), 50):
        told = facts_at_last(events[begin : begin + 50])
        read += sum(fact.event is not None for fact in told)
        models.apply(told)

    assert_same(models, folded(records))
    assert read < len(events), "something is overtaken"


@pytest.mark.parametrize("spoil", [{"data": b"{}"}, {"data": b'{"type":"job.log"}\n'}, {"schema_version": 9}])
def test_an_overtaken_event_that_cannot_be_read_is_told(spoil: dict[str, Any]) -> None:
    events = [record for record in History(1).talked(2, 60).records if record.kind == "event"]
    passed = [fact.record.position for fact in facts_at_last(events) if fact.event is None]
    spoilt = [
        msgspec.structs.replace(record, **spoil) if record.position == passed[0] else record
        for record in events
    ]
    models = Models()

    models.apply(facts_at_last(spoilt))

    assert_same(models, folded(spoilt))
    assert not models.is_whole
    assert len(models.jobs.frozen) == ("data" in spoil)


def assert_same(some: Models, others: Models) -> None:
    for name in ("jobs", "batches", "releases", "sweeps", "archive", "files", "statistics"):
        assert known(getattr(some, name)) == known(getattr(others, name)), name


def test_a_history_has_all_that_a_snapshot_keeps() -> None:
    """Else the test above would say nothing of what is not there."""
    models = folded(History(3).go_on(400).records)

    empty = [name for name, items in models.capture().items() if not list(items)]

    assert empty == []


def test_what_is_captured_does_not_change_any_more() -> None:
    records = History(7).go_on(300).records
    models = folded(records[:200])
    expected = {name: msgspec.json.encode(list(items)) for name, items in models.capture().items()}

    captured = models.capture()
    folded(records[200:], models)

    assert {name: msgspec.json.encode(list(items)) for name, items in captured.items()} == expected


def test_models_that_passed_an_event_over_are_not_whole() -> None:
    [first, second, *_] = History(1).go_on(1).records
    models = Models()
    models.apply(facts([first]))
    assert models.is_whole

    newer = msgspec.structs.replace(second, type="job.sung")
    [fact] = facts([newer])
    assert isinstance(fact.event, Unknown)
    models.apply([fact])

    assert not models.is_whole


def test_the_collector_is_left_nothing_to_look_through() -> None:
    """A collection stops the service: with a hundred thousand jobs for seconds, did it look at each."""
    records = History(21).ended(200).records
    gc.collect()
    before = len(gc.get_objects())

    models = folded(records)
    gc.collect()

    jobs = models.jobs.count(*State)
    assert jobs >= 200
    assert len(gc.get_objects()) - before < jobs


def test_models_that_nobody_asks_any_more_are_gone_without_the_collector() -> None:
    models = folded(History(22).ended(10).records)
    jobs = ref(models.jobs)
    gc.disable()
    try:
        del models
        assert jobs() is None
    finally:
        gc.enable()
