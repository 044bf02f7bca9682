"""What a start has to settle before anybody acts: lost attempts, and folders that were left in the middle."""

import asyncio

import structlog

from umd.actors.job import Workshop, settle
from umd.domain.job import ACTIVE, State
from umd.projections.files import Files

_log = structlog.get_logger(__name__)


async def recover(shop: Workshop, files: Files) -> None:
    """Bring the log and the volume together again; no worker of an earlier run is alive any more.

    Every attempt that was running is known to be lost, and its job goes back to the queue. A working folder
    stays where a further attempt may resume from it; what was published by half goes back there. A file that
    goes by the log is deleted, if the last life did not come to it: nobody publishes yet, so its path cannot
    be another's.
    """
    lost = [entry for entry in shop.jobs.in_state(*ACTIVE) if entry.job.job_id not in shop.jobs.frozen]
    for entry in lost:
        await settle(shop, entry, "the service ended")
    folders = await asyncio.to_thread(shop.volume.working_folders)
    for job_id in folders:
        await asyncio.to_thread(_tidy, shop, job_id)
    gone = {stored.file.path: stored.file for stored in files.deleted()}
    missing = await asyncio.to_thread(shop.volume.missing, gone)
    undeleted = [gone[path] for path in gone.keys() - set(missing)]
    await asyncio.to_thread(shop.volume.delete, undeleted)
    if lost or folders or undeleted:
        _log.info(
            "recovery.done", attempts_lost=len(lost), folders_found=len(folders), files_deleted=len(undeleted)
        )


def _tidy(shop: Workshop, job_id: str) -> None:
    if job_id in shop.jobs.frozen:
        return
    entry = shop.jobs.get(job_id)
    state = entry.job.state if entry is not None else None
    if state is State.COMPLETED:
        shop.volume.close_publication(job_id)
    elif state in (State.CANCELLED, None):
        shop.volume.discard(job_id)
    else:
        shop.volume.working_folder(job_id)  # which brings back what was moved of a half result
