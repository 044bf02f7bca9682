"""What a webhook looks like, by Standard Webhooks (https://www.standardwebhooks.com): body and signatures."""

import binascii
from urllib.parse import urlsplit

import msgspec
from standardwebhooks import Webhook

from umd.clock import SECOND, Micros, instant, rfc3339
from umd.domain import redaction
from umd.domain.batch import Batch
from umd.domain.deliveries import Delivery
from umd.domain.events import DeletionReason, Fault, File, Metadata, Tally
from umd.domain.job import Job
from umd.domain.options import BatchKind

SECRET_PREFIX = "whsec_"  # noqa: S105  # what a secret begins with
SECRET_BYTES_MIN, SECRET_BYTES_MAX = 24, 64
"""The bounds of the specification."""

SECRETS_MAX = 2


class DownloadData(msgspec.Struct, frozen=True, kw_only=True):
    """What a webhook tells of a download. `status_url` is null where the service has no known address."""

    request_id: str
    url: str
    status: str
    attempt: int
    batch_id: str | None
    metadata: Metadata | None
    files: tuple[File, ...]
    error: Fault | None
    reason: DeletionReason | None
    created_at: str
    status_url: str | None


class BatchData(msgspec.Struct, frozen=True, kw_only=True):
    """What a webhook tells of a batch. The downloads tell of themselves, each by its own webhooks."""

    batch_id: str
    kind: BatchKind
    status: str
    title: str | None
    total_jobs: int
    completed_jobs: int
    failed_jobs: int
    cancelled_jobs: int
    skipped_jobs: int
    error: Fault | None
    created_at: str
    status_url: str | None


class DownloadWebhook(msgspec.Struct, frozen=True):
    """The body. `timestamp` is when it happened, however late it is told."""

    type: str
    timestamp: str
    data: DownloadData


class BatchWebhook(msgspec.Struct, frozen=True):
    """The same of a batch."""

    type: str
    timestamp: str
    data: BatchData


def body(job: Job, delivery: Delivery, base_url: str) -> bytes:
    """The body of a delivery, without secrets: the same for every attempt."""
    data = DownloadData(
        request_id=job.job_id,
        url=job.request.url,
        status=delivery.status,
        attempt=delivery.attempt,
        batch_id=job.batch_id,
        metadata=None if delivery.event == "download.started" else job.metadata,
        files=delivery.files,
        error=delivery.error,
        reason=delivery.reason,
        created_at=rfc3339(job.created_at),
        status_url=f"{base_url}/api/v1/download/{job.job_id}" if base_url else None,
    )
    return _encoded(DownloadWebhook(delivery.event, rfc3339(delivery.at), data))


def batch_body(batch: Batch, delivery: Delivery, base_url: str) -> bytes:
    """The same for a delivery of a batch."""
    tally = delivery.tally or Tally()
    data = BatchData(
        batch_id=batch.batch_id,
        kind=batch.order.kind,
        status=delivery.status,
        title=batch.title,
        total_jobs=tally.completed + tally.failed + tally.cancelled + tally.skipped,
        completed_jobs=tally.completed,
        failed_jobs=tally.failed,
        cancelled_jobs=tally.cancelled,
        skipped_jobs=tally.skipped,
        error=delivery.error,
        created_at=rfc3339(batch.created_at),
        status_url=f"{base_url}/api/v1/batch/{batch.batch_id}" if base_url else None,
    )
    return _encoded(BatchWebhook(delivery.event, rfc3339(delivery.at), data))


def _encoded(body: DownloadWebhook | BatchWebhook) -> bytes:
    return redaction.shown(msgspec.json.encode(body))


def headers(message_id: str, at: Micros, body: bytes, secrets: tuple[str, ...]) -> dict[str, str]:
    """The headers of one attempt. Two secrets, while they are being changed, give two signatures."""
    words = body.decode()
    signatures = [Webhook(secret).sign(message_id, instant(at), words) for secret in secrets]
    stamped = {"webhook-id": message_id, "webhook-timestamp": str(at // SECOND)}
    return stamped | ({"webhook-signature": " ".join(signatures)} if signatures else {})


def secrets_of(setting: str) -> tuple[str, ...]:
    """The secrets of `UMD_WEBHOOK_SECRET`. Raises `ValueError`, whose text never holds one."""
    secrets = tuple(word.strip() for word in setting.split(",") if word.strip())
    for secret in secrets:
        if problem := secret_problem(secret):
            raise ValueError(problem)
    if len(secrets) > SECRETS_MAX:
        raise ValueError(f"There are at most {SECRETS_MAX} secrets at once.")
    return secrets


def secret_problem(secret: str) -> str | None:
    """Say why this is no secret, or None."""
    try:
        size = len(binascii.a2b_base64(secret.removeprefix(SECRET_PREFIX) + "==", strict_mode=False))
    except ValueError:  # no base64, or not even ASCII
        size = 0
    if not secret.startswith(SECRET_PREFIX) or not SECRET_BYTES_MIN <= size <= SECRET_BYTES_MAX:
        return f"A secret is `{SECRET_PREFIX}` and base64 of {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} bytes."
    return None


def origin(url: str) -> tuple[str, int]:
    """Host and port of a URL."""
    parts = urlsplit(url)
    return (parts.hostname or "").rstrip("."), parts.port or (443 if parts.scheme == "https" else 80)
