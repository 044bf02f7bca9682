"""Whether a failed attempt is followed by another, and after which wait: the same in every replay."""

import hashlib

from umd.clock import SECOND, Micros
from umd.domain.events import Fault
from umd.domain.faults import KINDS

WAIT_SEC_MAX = 3_600
_JITTER = 0.25


def is_worth_it(error: Fault, previous: str | None) -> bool:
    """Whether the kind of the fault lets hope for another attempt. `previous` is the last failure's code."""
    kind = KINDS.get(error.code)
    return error.retryable and not (kind is not None and kind.once and previous == error.code)


def wait(job_id: str, failures: int, base_sec: int, error: Fault) -> Micros:
    """The wait after failure number `failures` (1, 2, …): it doubles each time, give or take a quarter.

    Some kinds of faults take longer to pass; what the site itself asked for is kept. The jitter is drawn
    from the job's id, so that deciding the same command again gives the same event.
    """
    kind = KINDS.get(error.code)
    first = base_sec * (kind.slower if kind is not None else 1)
    seconds = float(min(first << min(failures - 1, 20), WAIT_SEC_MAX))
    draw = hashlib.blake2b(f"{job_id}/{failures}".encode(), digest_size=4).digest()
    spread = (int.from_bytes(draw, "big") / 2**32 * 2 - 1) * _JITTER
    asked = float(min(error.retry_after_sec or 0, WAIT_SEC_MAX))
    return round(max(seconds * (1 + spread), asked) * SECOND)
