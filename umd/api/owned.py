"""The one way from an id in a request to what it names: what belongs to another caller is not there."""

from aiohttp import web

from umd.api.authentication import caller
from umd.api.context import CONTEXT, Context
from umd.domain import batch, job
from umd.domain.access import Caller
from umd.errors import NotFound
from umd.projections.batches import BatchEntry
from umd.projections.jobs import Entry


def load_owned(request: web.Request, job_id: str) -> Entry:
    """The job with this id. Raises `NotFound`, with the same words for a foreign one as for none."""
    entry = find(request, job_id)
    if entry is None:
        raise NotFound("job", job_id)
    return entry


def find(request: web.Request, job_id: str) -> Entry | None:
    """The job with this id, if it is there for the caller."""
    entry = request.app[CONTEXT].jobs.get(job_id)
    return entry if entry is not None and caller(request).sees(entry.job.owner) else None


def load_owned_batch(request: web.Request, batch_id: str) -> BatchEntry:
    """The batch with this id. Raises `NotFound`, with the same words for a foreign one as for none."""
    entry = request.app[CONTEXT].batches.get(batch_id)
    if entry is None or not caller(request).sees(entry.batch.owner):
        raise NotFound("batch", batch_id)
    return entry


def visible_owner(whoever: Caller) -> str | None:
    """Whose resources a list shows to a caller; None for everybody's."""
    return None if whoever.scope == "admin" else whoever.name


def owner_of(context: Context, stream: str) -> str | None:
    """Whose a stream of the log is; None for one that belongs to nobody."""
    if stream.startswith(job.PREFIX):
        entry = context.jobs.get(stream.removeprefix(job.PREFIX))
        return None if entry is None else entry.job.owner
    if stream.startswith(batch.PREFIX):
        whole = context.batches.get(stream.removeprefix(batch.PREFIX))
        return None if whole is None else whole.batch.owner
    return None
