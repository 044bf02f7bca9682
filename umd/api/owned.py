"""The one way from an id in a request to what it names: what belongs to another caller is not there."""

from aiohttp import web

from umd.api.authentication import caller
from umd.api.context import CONTEXT, Context
from umd.domain.access import Caller
from umd.domain.job import PREFIX
from umd.errors import NotFound
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


def visible_owner(whoever: Caller) -> str | None:
    """Whose resources a list shows to a caller; None for everybody's."""
    return None if whoever.scope == "admin" else whoever.name


def owner_of(context: Context, stream: str) -> str | None:
    """Whose a stream of the log is; None for one that belongs to nobody."""
    entry = context.jobs.get(stream.removeprefix(PREFIX)) if stream.startswith(PREFIX) else None
    return None if entry is None else entry.job.owner
