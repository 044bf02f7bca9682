"""The OpenAPI document and the pages that show it, from packaged files: nothing comes from another host."""

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

import msgspec
from aiohttp import web
from aiohttp.web_urldispatcher import AbstractRoute

from umd.api.answers import HEADERS
from umd.api.openapi import document
from umd.api.problems import HttpRefusal
from umd.api.routes import table
from umd.settings import Settings

ASSETS = Path(__file__).parent / "assets"
BASE_CSP = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self' data:; font-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
PAGES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "docs": ("swagger.html", f"{BASE_CSP}; style-src 'self'"),
        # ReDoc makes its style sheets while it runs, and searches in a worker that it makes itself.
        "redoc": ("redoc.html", f"{BASE_CSP}; style-src 'self' 'unsafe-inline'; worker-src blob:"),
    }
)
TYPES: Mapping[str, str] = MappingProxyType(
    {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".png": "image/png"}
)
SERVED = (
    "swagger-ui-bundle.js",
    "swagger-ui.css",
    "swagger-init.js",
    "redoc.standalone.js",
    "redoc-init.js",
    "favicon-32x32.png",
)
PATHS = ("/api/openapi.json", *(f"/api/{name}" for name in PAGES), "/api/docs/assets/{name}")
"""What is served here; the assets by name."""


def add_to(app: web.Application, settings: Settings) -> list[AbstractRoute]:
    """Serve the document and its pages; returns what was added."""
    body, etag = _encoded(settings)

    async def openapi(_request: web.Request) -> web.Response:
        answer = web.Response(body=body, headers={**HEADERS, "Cache-Control": "no-cache"})
        answer.etag = etag
        return answer

    document_path, *pages, assets = PATHS
    served = {document_path: openapi, **dict.fromkeys(pages, page), assets: asset}
    return [
        app.router.add_route(method, path, handler)
        for path, handler in served.items()
        for method in ("GET", "HEAD")
    ]


async def page(request: web.Request) -> web.StreamResponse:
    """Swagger UI or ReDoc."""
    name, csp = PAGES[request.path.rpartition("/")[2]]
    return _file(name, "text/html; charset=utf-8", {"Content-Security-Policy": csp})


async def asset(request: web.Request) -> web.StreamResponse:
    """One of the packaged files. Raises `HttpRefusal` for any other name."""
    name = request.match_info["name"]
    if name not in SERVED:
        raise HttpRefusal("not_found", "There is no such file.")
    return _file(name, TYPES[Path(name).suffix], {})


@cache
def _encoded(settings: Settings) -> tuple[bytes, str]:
    """The document, and the name of what it says."""
    body = msgspec.json.encode(document(settings.public_base_url, table(settings)))
    return body, hashlib.sha256(body).hexdigest()[:32]


def _file(name: str, content_type: str, headers: Mapping[str, str]) -> web.FileResponse:
    fixed = {
        "Content-Type": content_type,
        "Cache-Control": "no-cache",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }
    return web.FileResponse(ASSETS / name, headers={**fixed, **headers})
