"""Every resource in one table, which the router, the OpenAPI document and the tests of the docs share."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace

import msgspec
from aiohttp import web

from umd.api import (
    batch,
    batch_views,
    cookies,
    deliveries,
    download,
    events,
    files,
    health,
    job_logs,
    log,
    metrics,
    probe_views,
    probes,
    stats,
    token,
    views,
)
from umd.api.decoding import NoQuery
from umd.api.file_links import LinkQuery
from umd.api.needs import (
    ADMIN,
    FETCH_OWN,
    FOLLOW,
    FOLLOW_OWN,
    PUBLIC,
    READ,
    READ_OWN,
    WRITE,
    WRITE_OWN,
    Needs,
)
from umd.api.past import PastQuery
from umd.domain.options import (
    BatchDownloadRequest,
    ChannelDownloadRequest,
    DownloadRequest,
    PlaylistDownloadRequest,
)
from umd.settings import Settings

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Type = type[msgspec.Struct]

STREAM = "text/event-stream"


@dataclass(frozen=True)
class Route:
    """One method of one resource.

    `needs` is what it asks of its caller; `umd.api.owned` is how its handler keeps to `owned`.
    `answer` is the JSON that success brings, or a media type where it is none. `query` is None where the
    handler makes its own sense of the parameters. What can be had with GET answers HEAD, too, unless it is
    a stream.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    answer: Type | str
    needs: Needs
    status: int = 200
    body: Type | None = None
    query: Type | None = NoQuery
    others: Mapping[int, str] = field(default_factory=dict)
    """Further statuses that are no problems, and what they mean; 204 and 304 have no body."""

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that the router is told of."""
        asks = self.method == "GET" and self.answer != STREAM
        return ("GET", "HEAD") if asks else (self.method,)


ROUTES: tuple[Route, ...] = (
    Route(
        "POST",
        "/api/v1/download",
        download.submit,
        "Accept one download",
        views.DownloadResponse,
        WRITE,
        status=202,
        body=DownloadRequest,
    ),
    Route(
        "GET",
        "/api/v1/download",
        download.history,
        "List the downloads, newest first",
        views.DownloadList,
        READ,
        query=download.HistoryQuery,
    ),
    Route(
        "GET",
        "/api/v1/download/{id}",
        download.show,
        "Show a download, as it is or as it was",
        views.DownloadResponse,
        READ_OWN,
        query=PastQuery,
    ),
    Route(
        "DELETE",
        "/api/v1/download/{id}",
        download.cancel,
        "Cancel a download",
        views.CancelResponse,
        WRITE_OWN,
        others={202: "Accepted; the processes still run."},
    ),
    Route(
        "POST",
        "/api/v1/download/{id}/retry",
        download.retry,
        "Put a failed or cancelled download back into the queue",
        views.DownloadResponse,
        WRITE_OWN,
        status=202,
    ),
    Route(
        "POST",
        "/api/v1/download/{id}/pause",
        download.pause,
        "Let a download rest",
        views.DownloadResponse,
        WRITE_OWN,
    ),
    Route(
        "POST",
        "/api/v1/download/{id}/resume",
        download.resume,
        "Go on with a download",
        views.DownloadResponse,
        WRITE_OWN,
    ),
    Route(
        "PUT",
        "/api/v1/download/{id}/deletion",
        download.schedule_deletion,
        "Let the files of a download go at another time",
        views.DownloadResponse,
        WRITE_OWN,
        body=download.DeletionRequest,
    ),
    Route(
        "DELETE",
        "/api/v1/download/{id}/deletion",
        download.cancel_deletion,
        "Let the files of a download stay",
        views.DownloadResponse,
        WRITE_OWN,
    ),
    Route(
        "GET",
        "/api/v1/download/{id}/logs",
        job_logs.logs,
        "Show the log lines of a download",
        views.LogsResponse,
        READ_OWN,
        query=job_logs.LogsQuery,
    ),
    Route(
        "GET",
        "/api/v1/download/{id}/deliveries",
        deliveries.history,
        "Show the webhooks of a download",
        deliveries.DeliveriesResponse,
        READ_OWN,
    ),
    Route(
        "POST",
        "/api/v1/download/{id}/deliveries/{delivery_id}/redeliver",
        deliveries.redeliver,
        "Deliver a webhook again",
        deliveries.DeliveryResponse,
        WRITE_OWN,
        status=202,
    ),
    Route(
        "GET",
        "/api/v1/download/{id}/events",
        events.job_events,
        "Follow a download",
        STREAM,
        FOLLOW_OWN,
        query=events.JobEventsQuery,
        others={204: "The job has ended, and nothing follows: do not connect again."},
    ),
    Route(
        "GET",
        "/api/v1/events",
        events.all_events,
        "Follow everything",
        STREAM,
        FOLLOW,
        query=events.AllEventsQuery,
    ),
    Route(
        "POST",
        "/api/v1/auth/cookies",
        cookies.store,
        "Store a cookie jar",
        cookies.CookieResponse,
        WRITE,
        status=201,
        body=cookies.CookiesUploadRequest,
    ),
    Route("GET", "/api/v1/auth/cookies", cookies.history, "List the cookie jars", cookies.CookieList, READ),
    Route(
        "GET",
        "/api/v1/auth/cookies/{id}",
        cookies.show,
        "Show a cookie jar",
        cookies.CookieResponse,
        READ_OWN,
    ),
    Route(
        "DELETE",
        "/api/v1/auth/cookies/{id}",
        cookies.delete,
        "Forget a cookie jar",
        cookies.DeleteResponse,
        WRITE_OWN,
    ),
    Route(
        "POST",
        "/api/v1/batch/download",
        batch.submit_batch,
        "Accept one download for each address",
        batch_views.BatchDownloadResponse,
        WRITE,
        status=202,
        body=BatchDownloadRequest,
    ),
    Route(
        "POST",
        "/api/v1/playlist/download",
        batch.submit_playlist,
        "Accept one download for each selected item of a playlist",
        batch_views.BatchDownloadResponse,
        WRITE,
        status=202,
        body=PlaylistDownloadRequest,
    ),
    Route(
        "POST",
        "/api/v1/channel/download",
        batch.submit_channel,
        "Accept one download for each video of a channel that passes the filters",
        batch_views.BatchDownloadResponse,
        WRITE,
        status=202,
        body=ChannelDownloadRequest,
    ),
    Route(
        "GET",
        "/api/v1/batch",
        batch.history,
        "List the batches, newest first",
        batch_views.BatchList,
        READ,
        query=batch.BatchesQuery,
    ),
    Route(
        "GET",
        "/api/v1/batch/{id}",
        batch.show,
        "Show a batch and each of its downloads",
        batch_views.BatchDownloadResponse,
        READ_OWN,
        query=PastQuery,
    ),
    Route("DELETE", "/api/v1/batch/{id}", batch.cancel, "Cancel a batch", views.CancelResponse, WRITE_OWN),
    Route(
        "POST",
        "/api/v1/batch/{id}/retry",
        batch.retry,
        "Try again what failed or was cancelled",
        batch_views.BatchDownloadResponse,
        WRITE_OWN,
        status=202,
    ),
    Route(
        "GET",
        "/api/v1/batch/{id}/deliveries",
        deliveries.batch_history,
        "Show the webhooks of a batch",
        deliveries.BatchDeliveriesResponse,
        READ_OWN,
    ),
    Route(
        "POST",
        "/api/v1/batch/{id}/deliveries/{delivery_id}/redeliver",
        deliveries.batch_redeliver,
        "Deliver a batch's webhook again",
        deliveries.DeliveryResponse,
        WRITE_OWN,
        status=202,
    ),
    Route(
        "GET",
        "/api/v1/batch/{id}/events",
        events.batch_events,
        "Follow a batch and its downloads",
        STREAM,
        FOLLOW_OWN,
        query=None,
    ),
    Route(
        "GET",
        "/api/v1/formats",
        probes.formats,
        "Show the formats of one item",
        probe_views.FormatsResponse,
        READ,
        query=probes.ProbeQuery,
    ),
    Route(
        "GET",
        "/api/v1/metadata",
        probes.metadata,
        "Show all that is known of one item, or of a list as a whole",
        probe_views.MetadataResponse,
        READ,
        query=probes.MetadataQuery,
    ),
    Route(
        "GET",
        "/api/v1/playlist/preview",
        probes.preview,
        "Show a page of a list without downloading anything",
        probe_views.PlaylistPreviewResponse,
        READ,
        query=probes.PreviewQuery,
    ),
    Route(
        "GET",
        "/api/v1/channel/info",
        probes.channel,
        "Show a page of a channel's videos, filtered and sorted",
        probe_views.ChannelInfoResponse,
        READ,
        query=probes.ChannelQuery,
    ),
    Route(
        "POST",
        "/api/v1/auth/token",
        token.issue,
        "Make a token that opens one event stream",
        token.TokenResponse,
        READ,
        status=201,
        body=token.TokenRequest,
    ),
    Route(
        "GET", "/api/v1/log", log.rows, "Show rows of the event log", log.LogPage, ADMIN, query=log.LogQuery
    ),
    Route(
        "GET",
        "/api/v1/files/{path:.+}",
        files.fetch,
        "Fetch a file, whole or in part",
        "application/octet-stream",
        FETCH_OWN,
        query=LinkQuery,
        others={206: "The part that `Range` asks for.", 304: "Not changed."},
    ),
    Route(
        "GET",
        "/api/v1/health",
        health.health,
        "Show how every component is",
        health.HealthResponse,
        PUBLIC,
        query=None,
        others={503: "A component is unhealthy."},
    ),
    Route(
        "GET",
        "/api/v1/health/live",
        health.live,
        "Say that the service lives",
        health.ProbeResponse,
        PUBLIC,
        query=None,
    ),
    Route(
        "GET",
        "/api/v1/health/ready",
        health.ready,
        "Say whether it takes work",
        health.ProbeResponse,
        PUBLIC,
        query=None,
        others={503: "Not yet, or not any more."},
    ),
    Route("GET", "/api/v1/metrics", metrics.metrics, "Read the metrics", "text/plain", PUBLIC, query=None),
    Route("GET", "/api/v1/stats", stats.stats, "Show the service's numbers", stats.StatsResponse, READ),
)


def table(settings: Settings) -> tuple[Route, ...]:
    """The routes as the operator wants them: metrics are public, or need a key as everything else."""
    if not settings.metrics_require_key:
        return ROUTES
    return tuple(
        replace(route, needs=READ) if route.handler is metrics.metrics else route for route in ROUTES
    )
