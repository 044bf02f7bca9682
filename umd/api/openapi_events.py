"""What the OpenAPI document says of events: those that a stream sends, and those that webhooks tell."""

from collections.abc import Mapping
from typing import Any, TypeAlias, get_args

import msgspec

from umd.api import examples
from umd.domain.events import AnyJobEvent, Event, Progress
from umd.domain.options import WebhookEvent
from umd.domain.webhooks import BatchWebhook, DownloadWebhook

Json: TypeAlias = dict[str, Any]

REF = "#/components/schemas/{name}"

STREAM_DESCRIPTION = """\
Server-Sent Events. First `snapshot`, the resource as its GET answers it, then what follows, each `data:` one
line of JSON. Durable events carry `id:`, their position in the event log: with `Last-Event-ID` the stream
goes on behind it, without a gap and without a repeat. A position that the log does not have is answered with
`reset` and a snapshot. `job.progress` is a tick without `id:`, at most 4 a second. A comment comes as a
heartbeat; the server ends a stream after a while, and the client resumes.

`data:` has the members of the schema that `x-events` names for its type, and `type`, `at`, and `request_id`
or `batch_id`. The types: """

WEBHOOKS: Mapping[WebhookEvent, tuple[str, type[msgspec.Struct]]] = {
    "download.started": ("The first attempt of a download has begun", DownloadWebhook),
    "download.completed": ("The result of a download is whole", DownloadWebhook),
    "download.failed": ("A download is given up", DownloadWebhook),
    "download.cancelled": ("A download is cancelled, and none of its processes is left", DownloadWebhook),
    "download.files_deleted": ("The files of a download are gone", DownloadWebhook),
    "batch.completed": ("All downloads of a batch have ended; `status` says how the batch did", BatchWebhook),
}
"""For each webhook what it says, and what its body is."""

SPOKEN = tuple(dict.fromkeys([*get_args(Event), *(body for _, body in WEBHOOKS.values())]))
"""The types that the document needs the schemas of."""

_HEADERS: Mapping[str, str] = {
    "webhook-id": "The same for every attempt: keep those that you have seen.",
    "webhook-timestamp": "When this attempt was made, in seconds since 1970.",
    "webhook-signature": "`v1,` and base64 of HMAC-SHA256 over id, timestamp and body, joined by dots; "
    "two while a secret is being changed. Missing where there is no secret.",
}


def of_stream(path: str) -> Json:
    """The types that a stream sends, each with the schema of its data."""
    kinds = get_args(AnyJobEvent if path.startswith("/api/v1/download/") else Event)
    durable = {str(kind.__struct_config__.tag): _ref(kind) for kind in kinds}
    return durable | {"job.progress": _ref(Progress)}


def webhooks() -> Json:
    """The `webhooks` of the document: what a receiver is sent, and what its answer means."""
    return {event: {"post": _webhook(event, *told)} for event, told in WEBHOOKS.items()}


def _webhook(event: WebhookEvent, summary: str, body: type[msgspec.Struct]) -> Json:
    content: Json = {"schema": {"allOf": [_ref(body), {"properties": {"type": {"const": event}}}]}}
    example = examples.EXAMPLES[body]
    if example["type"] == event:
        content["example"] = example
    return {
        "operationId": f"webhook_{event.replace('.', '_')}",
        "summary": summary,
        "description": "By Standard Webhooks 1.0; goes to the `webhook_url` of the request.",
        "tags": ["webhooks"],
        "security": [],
        "parameters": [_header(name, told) for name, told in _HEADERS.items()],
        "requestBody": {"required": True, "content": {"application/json": content}},
        "responses": {
            "2XX": {"description": "Delivered."},
            "410": {"description": "Not wanted: this and all further webhooks of the request are disabled."},
            "default": {"description": "Tried again after the waits of `UMD_WEBHOOK_SCHEDULE_SEC`."},
        },
    }


def _header(name: str, description: str) -> Json:
    return {
        "name": name,
        "in": "header",
        "required": name != "webhook-signature",
        "description": description,
        "schema": {"type": "string"},
    }


def _ref(kind: type[msgspec.Struct]) -> Json:
    return {"$ref": REF.format(name=kind.__name__)}
