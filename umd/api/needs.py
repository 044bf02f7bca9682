"""What a route asks of whoever calls it. Each entry in the table of routes says it: none can be forgotten."""

from collections.abc import Mapping
from typing import Literal

import msgspec
from aiohttp import web
from aiohttp.web_urldispatcher import AbstractRoute

from umd.domain.access import Scope


class Needs(msgspec.Struct, frozen=True, kw_only=True):
    """The scope (None: everybody), whether the path names what belongs to somebody, whether it is counted.

    `instead` is what else than a key opens it: a stream token, or a signed link.
    """

    scope: Scope | None
    owned: bool = False
    counted: bool = True
    instead: Literal["token", "link"] | None = None


PUBLIC = Needs(scope=None, counted=False)
READ = Needs(scope="read")
READ_OWN = Needs(scope="read", owned=True)
FOLLOW = Needs(scope="read", instead="token")
FOLLOW_OWN = Needs(scope="read", owned=True, instead="token")
FETCH_OWN = Needs(scope="read", owned=True, instead="link")
WRITE = Needs(scope="write")
WRITE_OWN = Needs(scope="write", owned=True)
ADMIN = Needs(scope="admin")

NO_ROUTE = Needs(scope=None)
"""For what the router does not find: it is counted, and needs nothing to be refused."""

NEEDS: web.AppKey[Mapping[AbstractRoute, Needs]] = web.AppKey("needs", Mapping)


def needs(request: web.Request) -> Needs:
    """What the route of this request needs."""
    return request.app[NEEDS].get(request.match_info.route, NO_ROUTE)
