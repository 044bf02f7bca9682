"""How long a failed attempt waits before the next: growing, jittered, and the same in every replay."""

import hashlib

from umd.clock import SECOND, Micros

WAIT_SEC_MAX = 3_600
_JITTER = 0.25


def wait(job_id: str, failures: int, base_sec: int) -> Micros:
    """The wait after failure number `failures` (1, 2, …): it doubles each time, give or take a quarter.

    The jitter is drawn from the job's id, so that deciding the same command again gives the same event.
    """
    seconds = float(min(base_sec << min(failures - 1, 20), WAIT_SEC_MAX))
    draw = hashlib.blake2b(f"{job_id}/{failures}".encode(), digest_size=4).digest()
    spread = (int.from_bytes(draw, "big") / 2**32 * 2 - 1) * _JITTER
    return round(seconds * (1 + spread) * SECOND)
