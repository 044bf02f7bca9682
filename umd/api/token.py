"""A token for an event stream, for clients that cannot send a header."""

from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from aiohttp import web

from umd.api import answers
from umd.api.authentication import caller
from umd.api.context import CONTEXT
from umd.api.decoding import NoQuery, read_body, read_query
from umd.api.links import PREFIX
from umd.api.needs import NEEDS
from umd.api.rate_limit import counted_as
from umd.clock import rfc3339
from umd.errors import FieldError, InvalidInput

EVERYTHING = f"{PREFIX}/events"


class TokenRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The stream that the token is to open: its `events_url`, or the path of it."""

    path: Annotated[str, msgspec.Meta(min_length=1, max_length=2_048)] = EVERYTHING


class TokenResponse(msgspec.Struct, frozen=True):
    """The token, for `?token=`; it opens this stream, once, until then."""

    token: str
    path: str
    expires_at: str


async def issue(request: web.Request) -> web.Response:
    """Make a token for one stream. Whether that is there for the caller is looked at when it is opened."""
    read_query(request, NoQuery)
    context = request.app[CONTEXT]
    path = _path((await read_body(request, TokenRequest)).path, context.settings.public_base_url)
    if not _is_stream(request.app, path):
        raise InvalidInput(FieldError("/path", "This is not the address of an event stream."))
    token, expires = context.gate.tokens.issue(path, caller(request), counted_as(request))
    return answers.answer(TokenResponse(token, path, rfc3339(expires)), status=201)


def _path(address: str, base_url: str) -> str:
    """The path as the service knows it: a proxy may have it below another one."""
    try:
        return urlsplit(address.removeprefix(base_url)).path
    except ValueError:
        return ""


def _is_stream(app: web.Application, path: str) -> bool:
    """Whether the table of routes has a stream there that a token opens."""
    resources = [route.resource for route, needs in app[NEEDS].items() if needs.instead == "token"]
    infos = [resource.get_info() for resource in resources if resource is not None]
    return any(
        info["pattern"].fullmatch(path) if "pattern" in info else info["path"] == path for info in infos
    )
