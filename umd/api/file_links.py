"""Links to files that need no key: signed, for one file of one job, and valid for a short time.

What is signed is the method, the job, the path and the end of validity, with a secret whose version stands in
the link. HMAC-SHA256 tells no one how to sign another. A secret that is taken away ends its links at once.
"""

import hashlib
import hmac
import re
from collections.abc import Sequence
from typing import Literal
from urllib.parse import urlencode

import msgspec

from umd.api import links
from umd.clock import SECOND, Micros

Verdict = Literal["valid", "expired", "wrong"]

STEP_SEC = 60
"""Links of one minute end together, so that the same answer is given twice in a row."""

_VERSION_DIGITS = 8


class LinkQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a signed link carries: its end in seconds since 1970, the secret's version, the signature."""

    expires: str = ""
    key: str = ""
    signature: str = ""


class FileLinks:
    """Signs links with the first secret, and takes those that any of them has signed."""

    def __init__(self, secrets: Sequence[bytes], valid_sec: int) -> None:
        self._secrets = {_version(secret): secret for secret in secrets}
        self._signing = _version(secrets[0])
        self._valid_sec = valid_sec

    def url(self, base: str, path: str, job_id: str, now: Micros) -> str:
        """The address of a file, signed."""
        expires = str(now // SECOND // STEP_SEC * STEP_SEC + self._valid_sec)
        signature = _signature(self._secrets[self._signing], self._signing, job_id, path, expires)
        query = urlencode({"expires": expires, "key": self._signing, "signature": signature})
        return f"{links.file(base, path)}?{query}"

    def verdict(self, query: LinkQuery, path: str, job_id: str, now: Micros) -> Verdict:
        """Whether a link is one of ours for this very file, and its time is not over."""
        secret = self._secrets.get(query.key)
        if secret is None or not re.fullmatch(r"[0-9]{1,12}", query.expires):
            return "wrong"
        expected = _signature(secret, query.key, job_id, path, query.expires)
        if not hmac.compare_digest(expected.encode(), query.signature.encode(errors="replace")):
            return "wrong"
        return "valid" if now < int(query.expires) * SECOND else "expired"


def _version(secret: bytes) -> str:
    return hashlib.sha256(b"umd-link-version\0" + secret).hexdigest()[:_VERSION_DIGITS]


def _signature(secret: bytes, version: str, job_id: str, path: str, expires: str) -> str:
    """GET means HEAD, too. No field holds a line break, so no two contents are signed alike."""
    text = f"umd-link\n{version}\nGET\n{job_id}\n{expires}\n{path}"
    return hmac.new(secret, text.encode(errors="surrogateescape"), hashlib.sha256).hexdigest()
