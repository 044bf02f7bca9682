"""Compression of JSON and other text. Never of a stream, whose events would wait, nor of media."""

from aiohttp import web
from aiohttp.typedefs import Handler

BYTES_MIN = 1_024

COMPRESSED = frozenset(
    {
        "application/json",
        "application/problem+json",
        "application/openmetrics-text",
        "text/plain",
        "text/html",
    }
)


@web.middleware
async def compression(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Compress an answer that lies in memory whole; files and streams do not."""
    response = await handler(request)
    if isinstance(response, web.Response) and response.content_type in COMPRESSED:
        response.headers.add("Vary", "Accept-Encoding")
        if _length(response) >= BYTES_MIN:
            response.enable_compression()
    return response


def _length(response: web.Response) -> int:
    return len(response.body) if isinstance(response.body, bytes) else 0
