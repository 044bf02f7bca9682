"""The cookie jars: store, list, show, forget. What is in them is never shown."""

import asyncio
import re
from hashlib import blake2b
from typing import Annotated, Literal

import msgspec
from aiohttp import BodyPartReader, MultipartReader, StreamReader, web
from aiohttp.base_protocol import BaseProtocol

from umd.api import answers, idempotency, links
from umd.api.authentication import caller
from umd.api.context import CONTEXT, Context
from umd.api.decoding import BODY_BYTES_MAX, NoQuery, convert_body, read_body, read_query, received
from umd.api.problems import HttpRefusal
from umd.clock import rfc3339
from umd.domain import cookies as netscape
from umd.errors import (
    BrowserUnavailable,
    EngineError,
    FieldError,
    IdempotencyKeyReused,
    InvalidInput,
    NotFound,
)
from umd.storage.cookies import Jar, is_over

PARTS_MAX = 5
_FLAGS = ("true", "false")
_ID = re.compile(r"[0-9a-z]{26}")

Browser = Literal["brave", "chrome", "chromium", "edge", "firefox", "opera", "safari", "vivaldi", "whale"]


class CookiesUploadRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A jar in Netscape's format, or the browser on the server that it is to be taken from.

    `update` asks for what sites change to be written back.
    """

    name: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,50}(?!\n)$")]
    cookies: str | None = None
    browser: Browser | None = None
    profile: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._ -]{0,99}(?!\n)$")] | None = None
    update: bool = False


class CookieResponse(msgspec.Struct, frozen=True):
    """What is known of a jar. `expires_at` is null where a cookie lasts a session.

    `updated_at` is when a site's changes were written back last, if `update` asks for that.
    """

    cookie_id: str
    name: str
    domains: tuple[str, ...]
    browser: str | None
    status: Literal["active", "expired"]
    created_at: str
    expires_at: str | None
    update: bool
    updated_at: str | None


class CookieList(msgspec.Struct, frozen=True):
    """All jars of the caller, oldest first; there is never a next page."""

    items: list[CookieResponse]
    next: None


class DeleteResponse(msgspec.Struct, frozen=True):
    """That something is gone."""

    id: str
    resource_type: str
    status: Literal["deleted"]
    message: str
    timestamp: str


async def store(request: web.Request) -> web.Response:
    """Store a jar. With an `Idempotency-Key`, a repeat meets the jar of the first time."""
    context = request.app[CONTEXT]
    read_query(request, NoQuery)
    body = await _upload(request)
    whose, key = caller(request).name, idempotency.key_of(request)
    fingerprint = None if key is None else blake2b(msgspec.json.encode(body), digest_size=16).hexdigest()
    cookies_id = context.clock.new_id() if key is None else idempotency.keyed_id(f"cookies\0{whose}", key)
    jar = context.cookies.get(cookies_id)
    if jar is None:
        jar = await _stored(context, body, cookies_id, whose, fingerprint)
    if jar.body_hash != fingerprint:
        raise IdempotencyKeyReused("This Idempotency-Key was used with another request.")
    location = f"{links.base_url(request, context.settings)}/api/v1/auth/cookies/{cookies_id}"
    return answers.answer(_shown(context, jar), status=201, headers={"Location": location})


async def history(request: web.Request) -> web.Response:
    """The caller's jars."""
    context = request.app[CONTEXT]
    read_query(request, NoQuery)
    jars = [jar for jar in context.cookies.all() if _sees(request, jar)]
    return answers.answer(CookieList([_shown(context, jar) for jar in jars], None))


async def show(request: web.Request) -> web.Response:
    """One jar."""
    read_query(request, NoQuery)
    return answers.answer(_shown(request.app[CONTEXT], _find(request)))


async def delete(request: web.Request) -> web.Response:
    """Forget a jar. Downloads that need it and have not begun fail; those that run keep their copy."""
    context = request.app[CONTEXT]
    read_query(request, NoQuery)
    jar = _find(request)
    await asyncio.to_thread(context.cookies.remove, jar.cookies_id)
    now = rfc3339(context.clock.now())
    return answers.answer(
        DeleteResponse(jar.cookies_id, "cookies", "deleted", "The cookie jar is forgotten.", now)
    )


async def _stored(
    context: Context, body: CookiesUploadRequest, cookies_id: str, whose: str, fingerprint: str | None
) -> Jar:
    """The jar, or the one that another request has stored under its id meanwhile."""
    if (body.cookies is None) == (body.browser is None):
        raise InvalidInput(FieldError("/cookies", "Either `cookies` or `browser` is required."))
    now = context.clock.now()
    cookies = netscape.parse(body.cookies if body.cookies is not None else await _taken(context, body))
    jar = Jar(
        cookies_id=cookies_id,
        owner=whose,
        name=body.name,
        domains=netscape.domains(cookies),
        created_at=now,
        expires_at=netscape.expires_at(cookies),
        browser=body.browser,
        body_hash=fingerprint,
        update=body.update,
    )
    if is_over(jar, now):
        raise InvalidInput(FieldError("/cookies", "Every cookie of this jar has expired."))
    await asyncio.to_thread(context.cookies.sweep, now)
    return await asyncio.to_thread(context.cookies.add, jar, cookies)


async def _taken(context: Context, body: CookiesUploadRequest) -> str:
    """The cookies of a profile that the operator has named."""
    profiles = dict(item.split("=") for item in context.settings.browser_profiles.split(",") if item)
    directory = profiles.get(body.browser or "")
    if directory is None:
        raise BrowserUnavailable(
            f"The operator has named no profile of {body.browser} in UMD_BROWSER_PROFILES."
        )
    try:
        return await context.browser(body.browser or "", f"{directory}/{body.profile or ''}")
    except EngineError as error:
        raise BrowserUnavailable(str(error)) from None


async def _upload(request: web.Request) -> CookiesUploadRequest:
    if request.content_type != "multipart/form-data":
        return await read_body(request, CookiesUploadRequest)
    body = await received(request)
    try:
        fields = await _parts(request, body)
    except ValueError:
        raise HttpRefusal("malformed_request", "The body is no valid multipart/form-data.") from None
    if "file" in fields:
        fields.setdefault("cookies", fields.pop("file"))
    if (told := fields.get("update")) in _FLAGS:
        fields["update"] = told == "true"
    return convert_body(fields, CookiesUploadRequest)


async def _parts(request: web.Request, body: bytes) -> dict[str, object]:
    """The fields of a form, in memory: aiohttp's own reader would put a file onto the disk."""
    fields: dict[str, object] = {}
    loop = asyncio.get_running_loop()
    stream = StreamReader(BaseProtocol(loop), BODY_BYTES_MAX, loop=loop)
    stream.feed_data(body)
    stream.feed_eof()
    reader = MultipartReader(request.headers, stream)
    while (part := await reader.next()) is not None:
        if not isinstance(part, BodyPartReader) or not part.name or part.name in fields:
            raise ValueError("a part without a name, with many parts, or that comes twice")
        if len(fields) == PARTS_MAX:
            raise ValueError("too many parts")
        fields[part.name] = (await _read(part)).decode()
    return fields


async def _read(part: BodyPartReader) -> bytes:
    data = bytearray()
    while chunk := await part.read_chunk():
        data += chunk
        if len(data) > netscape.JAR_BYTES_MAX:
            raise HttpRefusal("body_too_large", f"A jar has at most {netscape.JAR_BYTES_MAX:,} bytes.")
    return bytes(data)


def _find(request: web.Request) -> Jar:
    named = request.match_info["id"]
    jar = request.app[CONTEXT].cookies.get(named) if _ID.fullmatch(named) else None
    if jar is None or not _sees(request, jar):
        raise NotFound("cookies", named[:64])
    return jar


def _sees(request: web.Request, jar: Jar) -> bool:
    return caller(request).sees(jar.owner)


def _shown(context: Context, jar: Jar) -> CookieResponse:
    return CookieResponse(
        jar.cookies_id,
        jar.name,
        jar.domains,
        jar.browser,
        "expired" if is_over(jar, context.clock.now()) else "active",
        rfc3339(jar.created_at),
        None if jar.expires_at is None else rfc3339(jar.expires_at),
        jar.update,
        None if jar.updated_at is None else rfc3339(jar.updated_at),
    )
