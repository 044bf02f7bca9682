"""What a request carries, made into types: strictly, or not at all."""

import asyncio
import json
from collections.abc import Iterator
from functools import cache
from itertools import islice
from typing import Any, TypeVar, get_origin

import msgspec
from aiohttp import web

from umd.api.problems import HttpRefusal
from umd.errors import FieldError, InvalidInput

BODY_BYTES_MAX = 1_048_576
BODY_WAIT_SEC = 30
ERRORS_MAX = 20
DEPTH_MAX = 16
CONTAINERS_MAX = 10_000
"""Arrays and objects in one body, as far as brackets tell: they take more room than what they hold."""

T = TypeVar("T", bound=msgspec.Struct)


class NoQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """For a resource that takes no query parameters."""


async def read_body(request: web.Request, into: type[T]) -> T:
    """The JSON body. Raises `HttpRefusal`, and `InvalidInput` with each field that does not fit its type."""
    _require_json(request)
    return convert_body(_parsed(await received(request)), into)


def convert_body(value: object, into: type[T]) -> T:
    """A body's value. Raises `InvalidInput` with each field that does not fit its type."""
    try:
        return msgspec.convert(value, into)
    except msgspec.ValidationError as error:
        raise InvalidInput(*_faults(value, into, error)) from None


def read_query(request: web.Request, into: type[T]) -> T:
    """The query parameters; a list may come as several or with commas. Raises `HttpRefusal`."""
    values: dict[str, object] = {}
    for name in request.query:
        given = request.query.getall(name)
        if name in _lists(into):
            values[name] = [item for text in given for item in text.split(",")]
        elif len(given) > 1:
            raise HttpRefusal("invalid_query", f"The parameter {name[:100]!r} came more than once.")
        else:
            values[name] = given[0]
    try:
        return msgspec.convert(values, into, strict=False)
    except msgspec.ValidationError as error:
        faults = _faults(values, into, error, strict=False)
        told = "; ".join(f"{fault.pointer.removeprefix('/')}: {fault.message}" for fault in faults)
        raise HttpRefusal("invalid_query", told) from None


@cache
def _lists(into: type[msgspec.Struct]) -> frozenset[str]:
    return frozenset(field.name for field in msgspec.structs.fields(into) if get_origin(field.type) is tuple)


def _require_json(request: web.Request) -> None:
    if request.content_type != "application/json" or (request.charset or "utf-8").lower() != "utf-8":
        raise HttpRefusal("unsupported_media_type", "The body has to be application/json in UTF-8.")
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise HttpRefusal("unsupported_media_type", "The body has to come without a Content-Encoding.")


async def received(request: web.Request) -> bytes:
    """The body as it came, whole. Raises `HttpRefusal`."""
    if (request.content_length or 0) > BODY_BYTES_MAX:
        raise HttpRefusal("body_too_large", f"A body has at most {BODY_BYTES_MAX:,} bytes.")
    try:
        async with asyncio.timeout(BODY_WAIT_SEC):
            return await request.read()
    except TimeoutError:
        raise HttpRefusal("request_timeout", f"The body did not come within {BODY_WAIT_SEC} s.") from None
    except web.RequestPayloadError:
        raise HttpRefusal("malformed_request", "The body breaks off, or its chunks are not valid.") from None


def _parsed(body: bytes) -> object:
    """The JSON value. Two readers, for each is strict where the other is not.

    msgspec refuses what is no UTF-8, lone surrogates and NaN; the standard library lets duplicate names
    be seen.
    """
    if body.count(b"[") + body.count(b"{") > CONTAINERS_MAX:
        raise HttpRefusal("malformed_json", f"There are more than {CONTAINERS_MAX:,} arrays and objects.")
    try:
        deep = _is_deep(msgspec.json.decode(body))
        value: object = None if deep else json.loads(body, object_pairs_hook=_members)
    except RecursionError:
        deep, value = True, None
    except ValueError as error:
        raise HttpRefusal("malformed_json", f"{_shortened(str(error))}.") from None
    if deep:
        raise HttpRefusal("malformed_json", f"The JSON is nested deeper than {DEPTH_MAX}.")
    return value


def _is_deep(value: object) -> bool:
    """Whether containers stand in each other deeper than `DEPTH_MAX`."""
    level = [value]
    for _ in range(DEPTH_MAX + 1):
        level = [
            inner
            for outer in level
            if isinstance(outer, (dict, list))
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return bool(level)


def _members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("An object has the same name twice")
    return members


def _faults(
    value: object, into: type[msgspec.Struct], first: msgspec.ValidationError, *, strict: bool = True
) -> list[FieldError]:
    """Every field that does not fit, each with its pointer, up to a limit."""
    found = (
        list(islice(_field_faults(value, into, strict=strict), ERRORS_MAX)) if isinstance(value, dict) else []
    )
    return found or [FieldError("", f"{_shortened(str(first))}.")]


def _field_faults(
    members: dict[str, object], into: type[msgspec.Struct], *, strict: bool
) -> Iterator[FieldError]:
    fields = {field.encode_name: field for field in msgspec.structs.fields(into)}
    for name, value in members.items():
        if name not in fields:
            yield FieldError(_pointer(name), "There is no such field.")
        elif (fault := _fault(value, fields[name].type, strict=strict)) is not None:
            message, _, path = fault.partition(" - at `$")
            yield FieldError(_pointer(name) + _inner(path.rstrip("`")), f"{message}.")
    for name, field in fields.items():
        if field.required and name not in members:
            yield FieldError(_pointer(name), "This field is required.")


def _fault(value: object, kind: Any, *, strict: bool) -> str | None:  # noqa: ANN401  # any type of a field
    try:
        msgspec.convert(value, kind, strict=strict)
    except msgspec.ValidationError as error:
        return _shortened(str(error))
    return None


def _pointer(name: str) -> str:
    """A member's name as a JSON pointer (RFC 6901)."""
    return "/" + name[:100].replace("~", "~0").replace("/", "~1")


def _inner(path: str) -> str:
    """msgspec's path below a field, `[0].name`, as the rest of a JSON pointer."""
    return path.replace("[", "/").replace("]", "").replace(".", "/")


def _shortened(message: str) -> str:
    """A message of msgspec's, which repeats what was sent, however long that is."""
    return message if len(message) <= 300 else f"{message[:297]}..."  # noqa: PLR2004
