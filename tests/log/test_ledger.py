from tests.log.worlds import AT, START, STARTED, chained, row
from umd.errors import Conflict
from umd.log import Appended, chain
from umd.log.codec import entries
from umd.log.ledger import Draft, Ledger


def draft(stream: str, expected: int) -> Draft:
    return Draft(stream, expected, AT, "request-1", None, entries(START, [STARTED]))


def test_a_plan_that_is_forgotten_leaves_no_trace() -> None:
    ledger = Ledger()
    ledger.plan([draft("job-1", 0), draft("job-1", 2)])

    plan = ledger.plan([draft("job-1", 0)])

    assert plan.outcomes == [Appended(1, 2)]
    assert (ledger.head, ledger.hash) == (0, chain.GENESIS)


def test_drafts_of_one_plan_build_on_each_other() -> None:
    ledger = Ledger()

    plan = ledger.plan([draft("job-1", 0), draft("job-1", 0), draft("job-1", 2), draft("job-2", 0)])
    ledger.commit(plan)

    assert [outcome if isinstance(outcome, Appended) else type(outcome) for outcome in plan.outcomes] == [
        Appended(1, 2),
        Conflict,
        Appended(3, 4),
        Appended(5, 6),
    ]
    assert [fact.record.version for fact in plan.facts] == [1, 2, 3, 4, 1, 2]
    assert ledger.head == 6


def test_a_ledger_that_admits_what_another_planned_plans_the_same() -> None:
    planned, admitted = Ledger(), Ledger()
    plan = planned.plan([draft("job-1", 0), draft("job-2", 0), draft("job-1", 2)])
    planned.commit(plan)

    admitted.admit([fact.record for fact in plan.facts])

    assert admitted.plan([draft("job-1", 6)]) == planned.plan([draft("job-1", 6)])


def test_the_hash_of_a_row_is_the_same_in_every_release() -> None:
    [record] = chained(row(1, causation=7, correlation="Anfrage-ü"))

    assert record.hash.hex() == "40959315ce4b52a769c2f073247f7724"
