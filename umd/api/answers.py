"""JSON answers: never cached, never taken for anything else."""

from collections.abc import Mapping
from types import MappingProxyType

import msgspec
from aiohttp import web

HEADERS: Mapping[str, str] = MappingProxyType(
    {"Content-Type": "application/json", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
)


def encoded(body: bytes, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """An answer whose JSON is made already."""
    return web.Response(body=body, status=status, headers={**HEADERS, **(headers or {})})


def answer(
    value: msgspec.Struct, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """An answer that shows a value."""
    return encoded(msgspec.json.encode(value), status=status, headers=headers)
