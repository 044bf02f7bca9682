"""`Idempotency-Key`: the same key and body meet the resource of the first time.

https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/
"""

import re
from hashlib import blake2b

import msgspec
from aiohttp import web

from umd.api.problems import HttpRefusal
from umd.clock import encode_id

_KEY = re.compile(r"[\x21-\x7e]{1,255}")


def key_of(request: web.Request) -> str | None:
    """The key that a request carries, if it does. Raises `HttpRefusal` for what is none."""
    keys = request.headers.getall("Idempotency-Key", ())
    if not keys:
        return None
    if len(keys) > 1 or not _KEY.fullmatch(keys[0]):
        raise HttpRefusal(
            "malformed_request", "An Idempotency-Key has 1 to 255 visible ASCII characters, and comes once."
        )
    return keys[0]


def keyed_id(whose: str, key: str) -> str:
    """The id of the resource that a key stands for. No table of keys is needed: its stream is the entry."""
    return encode_id(blake2b(f"{whose}\0{key}".encode(), digest_size=16).digest())


def fingerprint(body: msgspec.Struct, kind: str = "") -> str:
    """A hash of what the client asked for. Defaults are left out, so that a release may add fields.

    `kind` tells requests for different things apart that may have the same fields.
    """
    asked = {
        field.name: value
        for field in msgspec.structs.fields(body)
        if (value := getattr(body, field.name)) != field.default
    }
    encoded = msgspec.json.encode(asked, order="deterministic")
    return blake2b(encoded, digest_size=16, person=kind.encode()).hexdigest()
