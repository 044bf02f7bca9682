"""What a start has to settle before anybody acts: lost attempts, and folders that were left in the middle."""

import asyncio

import structlog

from umd.actors.job import Workshop, settle
from umd.domain.job import ACTIVE, State

_log = structlog.get_logger(__name__)


async def recover(shop: Workshop) -> None:
    """Bring the log and the volume together again; no worker of an earlier run is alive any more.

    Every attempt that was running is known to be lost, and its job goes back to the queue. A working folder
    stays where a further attempt may resume from it.
    """
    lost = shop.jobs.in_state(*ACTIVE)
    for entry in lost:
        await settle(shop, entry, "the service ended")
    folders = await asyncio.to_thread(shop.volume.working_folders)
    for job_id in folders:
        await asyncio.to_thread(_tidy, shop, job_id)
    if lost or folders:
        _log.info("recovery.done", attempts_lost=len(lost), folders_found=len(folders))


def _tidy(shop: Workshop, job_id: str) -> None:
    entry = shop.jobs.get(job_id)
    state = entry.job.state if entry is not None else None
    if state is State.COMPLETED:
        shop.volume.close_publication(job_id)
    elif state in (State.CANCELLED, None):
        shop.volume.discard(job_id)
