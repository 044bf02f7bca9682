"""Errors as the wire shows them: `application/problem+json` (RFC 9457), and the one place for statuses."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import msgspec
import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from umd.api import answers
from umd.api.request_id import REQUEST_ID
from umd.domain import redaction
from umd.errors import Conflict, ExtractionFailed, FieldError, InvalidInput, LogFailed, UmdError

CONTENT_TYPE = "application/problem+json"
UNREADABLE = "UNKNOWN"
"""The method that aiohttp gives to a request that it could not read."""

INTERNAL_DETAIL = "The service failed on this request. Its log tells more under the request's id."

PROBLEM = web.RequestKey("problem", str)
"""The code of the problem that a request was answered with."""

_log = structlog.get_logger(__name__)


class Meaning(NamedTuple):
    """What a code stands for. `retry_after` is in seconds, for what passes by itself."""

    status: int
    title: str
    retry_after: int | None = None


MEANINGS: Mapping[str, Meaning] = MappingProxyType(
    {
        "malformed_request": Meaning(400, "The request is not valid HTTP"),
        "malformed_json": Meaning(400, "The body is not valid JSON"),
        "invalid_query": Meaning(400, "A query parameter is not valid"),
        "authentication_required": Meaning(401, "The resource needs an API key"),
        "invalid_api_key": Meaning(401, "The API key or the token is not valid"),
        "address_not_allowed": Meaning(403, "The address is not one that this server connects to"),
        "domain_not_allowed": Meaning(403, "The site is not one that this server connects to"),
        "forbidden": Meaning(403, "This is not allowed"),
        "link_expired": Meaning(403, "The time of the link is over"),
        "not_found": Meaning(404, "There is no such resource"),
        "batch_not_found": Meaning(404, "There is no such batch"),
        "job_not_found": Meaning(404, "There is no such job"),
        "cookies_not_found": Meaning(404, "There is no such cookie jar"),
        "delivery_not_found": Meaning(404, "There is no such delivery"),
        "file_not_found": Meaning(404, "There is no such file"),
        "method_not_allowed": Meaning(405, "The resource does not know this method"),
        "not_acceptable": Meaning(406, "The resource has no form that is accepted"),
        "request_timeout": Meaning(408, "The request took too long to arrive"),
        "invalid_state": Meaning(409, "The state of the resource does not allow this"),
        "file_expired": Meaning(410, "The file was deleted"),
        "precondition_failed": Meaning(412, "A precondition of the request is not met"),
        "body_too_large": Meaning(413, "The body is too large"),
        "uri_too_long": Meaning(414, "The address is too long"),
        "unsupported_media_type": Meaning(415, "The body has a type that is not taken here"),
        "range_not_satisfiable": Meaning(416, "The file has no such range"),
        "expectation_failed": Meaning(417, "The expectation cannot be met"),
        "misdirected_request": Meaning(421, "The service does not answer to this name"),
        "validation_error": Meaning(422, "A field of the request is not valid"),
        "idempotency_key_reused": Meaning(422, "The Idempotency-Key came with another body before"),
        "rate_limited": Meaning(429, "There were too many requests", 1),
        "headers_too_large": Meaning(431, "The headers are too large"),
        "internal": Meaning(500, "The service failed"),
        "browser_unavailable": Meaning(501, "Cookies of this browser cannot be had"),
        "secrets_unavailable": Meaning(503, "The server has no key to keep secrets with"),
        "queue_full": Meaning(503, "The service has as much to do as it can hold", 10),
        "log_read_only": Meaning(503, "The event log is damaged; nothing can be changed"),
        "shutting_down": Meaning(503, "The service is stopping", 5),
        "upstream_error": Meaning(502, "The site failed"),
        "upstream_timeout": Meaning(504, "The site did not answer in time"),
        "storage_full": Meaning(507, "There is no space left", 60),
    }
)
"""A code means one status everywhere, but for those of a site that does not tell what was asked of it."""

CODES = frozenset(MEANINGS)
"""Every code that an answer can have."""

_SHOWN_AS: Mapping[type[UmdError], str] = MappingProxyType(
    {Conflict: "invalid_state", LogFailed: "shutting_down"}
)
"""Errors whose own code says nothing to a client. After `LogFailed` the process ends, to replay the log."""

_REFUSED = Meaning(422, "The site does not tell this")
_NO_REFUSAL = frozenset(
    {"address_not_allowed", "domain_not_allowed", "cookies_not_found", "upstream_error", "storage_full"}
)
"""Of the codes of a site's answer (`umd.domain.faults`) those that mean here what they mean elsewhere."""

_ROUTER = MappingProxyType(
    {
        400: "malformed_request",
        404: "not_found",
        405: "method_not_allowed",
        413: "body_too_large",
        415: "unsupported_media_type",
        417: "expectation_failed",
    }
)
"""What aiohttp refuses by itself."""


def meaning_of_site(code: str) -> Meaning:
    """What a code means where a site was asked, and did not tell."""
    return MEANINGS[code] if code in _NO_REFUSAL else _REFUSED


class HttpRefusal(Exception):
    """A request that HTTP's own rules turn down, with one of `CODES`.

    `retry_after`, in seconds, is for a code whose wait is not always the same.
    """

    def __init__(
        self,
        code: str,
        detail: str,
        headers: Mapping[str, str] | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(detail)
        self.code = code
        self.headers = headers
        self.retry_after = retry_after


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """The body of an error. `instance` is the path that was asked for, where it could be read.

    `retryable` and `hint` are told where a site was asked: whether trying again makes sense, and what to do.
    """

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    instance: str | None = None
    errors: tuple[FieldError, ...] | None = None
    retry_after: int | None = None
    retryable: bool | None = None
    hint: str | None = None


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except Exception as error:  # the edge of a request: whatever it was, it is answered as a problem
        if isinstance(error, web.HTTPException) and error.status < 400:  # noqa: PLR2004  # not an error
            raise
        if request.writer.output_size > 0:  # a stream has begun: all that is left is to cut it off
            _note_cut(error)
            raise ConnectionResetError from error
        return explain(request, error)


def explain(request: web.BaseRequest, error: Exception) -> web.Response:
    """The answer to a request that ended with this error."""
    match error:
        case HttpRefusal():
            return problem(
                request, error.code, str(error), headers=error.headers, retry_after=error.retry_after
            )
        case InvalidInput():
            return problem(request, error.code, str(error), errors=error.errors)
        case ExtractionFailed():
            return _explain_site(request, error)
        case UmdError():
            return _explain_own(request, error)
        case web.HTTPException() if error.status in _ROUTER:
            allow = error.headers.get("Allow")
            headers = {"Allow": allow} if allow else None
            return problem(request, _ROUTER[error.status], _detail(error), headers=headers)
    _log.error("http.bug", exc_info=error)
    return problem(request, "internal", INTERNAL_DETAIL)


def problem(
    request: web.BaseRequest,
    code: str,
    detail: str,
    *,
    errors: tuple[FieldError, ...] | None = None,
    headers: Mapping[str, str] | None = None,
    retry_after: int | None = None,
) -> web.Response:
    """A problem of one of the `CODES`; `retry_after` is the code's own, where none is given."""
    meaning = MEANINGS[code]
    meaning = meaning._replace(retry_after=retry_after or meaning.retry_after)
    body = _problem(request, code, meaning, detail)
    shown = None if errors is None else tuple(_shown(error) for error in errors)
    return _answer(msgspec.structs.replace(body, errors=shown), headers)


def _problem(request: web.BaseRequest, code: str, meaning: Meaning, detail: str) -> Problem:
    request[PROBLEM] = code
    return Problem(
        f"urn:umd:problem:{code}",
        meaning.title,
        meaning.status,
        redaction.text(_text(detail)),
        code,
        request[REQUEST_ID],
        None if request.method == UNREADABLE else _text(request.rel_url.raw_path),
        retry_after=meaning.retry_after,
    )


def _answer(body: Problem, headers: Mapping[str, str] | None = None) -> web.Response:
    extra = {"Content-Type": CONTENT_TYPE, **(headers or {})}
    if body.retry_after is not None:
        extra["Retry-After"] = str(body.retry_after)
    return answers.encoded(msgspec.json.encode(body), status=body.status, headers=extra)


def _explain_own(request: web.BaseRequest, error: UmdError) -> web.Response:
    code = _SHOWN_AS.get(type(error), error.code)
    if code not in CODES or code == "internal":
        _log.error("http.failed", exc_info=error)
        return problem(request, "internal", INTERNAL_DETAIL)
    if MEANINGS[code].status == 503:  # noqa: PLR2004
        _log.warning("http.unavailable", reason=str(error))
    return problem(request, code, str(error))


def _explain_site(request: web.BaseRequest, error: ExtractionFailed) -> web.Response:
    """The code is that of a download which failed for the same reason, with all that its error tells."""
    meaning = meaning_of_site(error.code)
    meaning = meaning._replace(retry_after=error.retry_after_sec or meaning.retry_after)
    body = _problem(request, error.code, meaning, str(error))
    return _answer(
        msgspec.structs.replace(body, retryable=error.retryable, hint=redaction.text(error.hint) or None)
    )


def _detail(error: web.HTTPException) -> str:
    return f"{MEANINGS[_ROUTER[error.status]].title}."


def _note_cut(error: Exception) -> None:
    if not isinstance(error, ConnectionError):
        _log.error("http.stream_broken", exc_info=error)


def _shown(error: FieldError) -> FieldError:
    """An error of a field repeats what was sent."""
    return FieldError(error.pointer, redaction.text(error.message))


def _text(text: str) -> str:
    """Text as JSON can carry it: bytes that were no UTF-8 have come as lone surrogates."""
    return text.encode(errors="backslashreplace").decode()
