"""The addresses of the resources, as answers name them."""

import re
from urllib.parse import quote

from aiohttp import web

from umd.settings import Settings

PREFIX = "/api/v1"

HOST = re.compile(r"([A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{1,5})?")


def base_url(request: web.Request, settings: Settings) -> str:
    """What stands before a path: the operator's setting, else the host that the client asked for.

    It is empty, and the links are relative, where the client named no host or one that is none.
    """
    if settings.public_base_url:
        return settings.public_base_url
    host = request.headers.get("Host", "")
    return f"{request.scheme}://{host}" if HOST.fullmatch(host) else ""


def download(base: str, job_id: str) -> str:
    return f"{base}{PREFIX}/download/{job_id}"


def logs(base: str, job_id: str) -> str:
    return f"{base}{PREFIX}/download/{job_id}/logs"


def events(base: str, job_id: str) -> str:
    return f"{base}{PREFIX}/download/{job_id}/events"


def batch(base: str, batch_id: str) -> str:
    return f"{base}{PREFIX}/batch/{batch_id}"


def file(base: str, path: str) -> str:
    return f"{base}{PREFIX}/files/{quote(path)}"
