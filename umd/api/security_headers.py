"""What every answer tells a browser not to do. What a handler has said is stricter or fitter, and kept."""

from collections.abc import Mapping
from types import MappingProxyType

from aiohttp import web

from umd.api.peers import PEER

HSTS_SEC = 31_536_000

HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "X-XSS-Protection": "0",
        "Referrer-Policy": "no-referrer",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    }
)


def secure(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Put the headers on an answer."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    peer = request.get(PEER)
    if peer is not None and peer.scheme == "https":
        response.headers["Strict-Transport-Security"] = f"max-age={HSTS_SEC}"
