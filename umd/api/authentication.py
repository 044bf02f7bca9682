"""Who makes a request: by a key, a stream token or a signed link, or nobody that is known.

This finds out and refuses nothing: what nobody vouches for is first counted (`rate_limit`), then refused
where the route needs more (`authorization`).
"""

from typing import NamedTuple

from aiohttp import web
from aiohttp.typedefs import Handler

from umd.api.context import CONTEXT, Context
from umd.api.decoding import read_query
from umd.api.file_links import LinkQuery
from umd.api.needs import needs
from umd.api.problems import HttpRefusal
from umd.domain.access import NOBODY, Caller

KEY_HEADER = "X-API-Key"
CHALLENGE = 'Bearer realm="umd"'


class Identity(NamedTuple):
    """The caller, by what it is known, and why it is not where what it came with is not valid."""

    caller: Caller
    by: str
    fault: HttpRefusal | None = None


IDENTITY: web.RequestKey[Identity] = web.RequestKey("identity", Identity)


@web.middleware
async def authentication(request: web.Request, handler: Handler) -> web.StreamResponse:
    request[IDENTITY] = _identify(request, request.app[CONTEXT])
    return await handler(request)


def caller(request: web.Request) -> Caller:
    """Whoever makes the request."""
    return request[IDENTITY].caller


def carries_secret(request: web.Request) -> bool:
    """Whether somebody who reads the request could make another like it."""
    return (
        KEY_HEADER in request.headers
        or "Authorization" in request.headers
        or not {"token", "signature"}.isdisjoint(request.query)
    )


def _identify(request: web.Request, context: Context) -> Identity:
    gate = context.gate
    presented = _presented(request)
    if presented is not None and gate.keys:
        found = gate.keys.caller(presented)
        return Identity(found, "key") if found else _unknown("This is no valid API key.")
    instead = needs(request).instead
    if instead == "token" and "token" in request.query:
        return _by_token(request, context)
    if instead == "link" and "signature" in request.query:
        return _by_link(request, context)
    if gate.is_open:
        return Identity(gate.anonymous, "nothing")
    told = f"An API key is needed: {KEY_HEADER}, or Authorization: Bearer."
    challenge = {"WWW-Authenticate": CHALLENGE}
    return Identity(NOBODY, "nothing", HttpRefusal("authentication_required", told, challenge))


def _presented(request: web.Request) -> str | None:
    """The key in the headers; one that comes twice is none that is valid."""
    named = request.headers.getall(KEY_HEADER, ())
    if named:
        return named[0] if len(named) == 1 else ""
    bearers = request.headers.getall("Authorization", ())
    if not bearers:
        return None
    scheme, _, key = bearers[0].partition(" ")
    return key.strip() if len(bearers) == 1 and scheme.lower() == "bearer" else ""


def _by_token(request: web.Request, context: Context) -> Identity:
    token = request.query["token"]
    found = context.gate.tokens.redeem(token, request.path)
    if found is None:
        return _unknown("This token is not valid here, or not any more.")
    return Identity(found, "key" if found.verified else "nothing")


def _by_link(request: web.Request, context: Context) -> Identity:
    """The link vouches for one file: its caller is taken for the owner of that one, and may only read."""
    try:
        query = read_query(request, LinkQuery)
    except HttpRefusal as fault:
        return Identity(NOBODY, "nothing", fault)
    path = request.match_info["path"]
    stored = context.files.get(path)
    job_id = "" if stored is None else stored.job_id
    verdict = context.gate.links.verdict(query, path, job_id, context.clock.now())
    entry = context.jobs.get(job_id)
    if verdict == "valid" and entry is not None:
        return Identity(Caller(entry.job.owner, "read"), "link")
    if verdict == "expired":
        return Identity(NOBODY, "nothing", HttpRefusal("link_expired", "The time of this link is over."))
    return Identity(NOBODY, "nothing", HttpRefusal("forbidden", "This link is none that the service made."))


def _unknown(detail: str) -> Identity:
    challenge = {"WWW-Authenticate": f'{CHALLENGE}, error="invalid_token"'}
    return Identity(NOBODY, "nothing", HttpRefusal("invalid_api_key", detail, challenge))
