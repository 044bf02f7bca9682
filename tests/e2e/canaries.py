"""Secrets that every service of these tests has, and the places where none of them may be found.

The service gets some with its settings, and some from its client: a key and a cookie with each request, a
jar and an address with a password at the start, a secret for the webhooks of each job. It gives others out:
signed links, a token for a stream. Each is looked for in the service's log, in every answer and every message
of a stream, in what receivers and origins are sent, on the command line and in the environment of the
engine's processes, and in every file of the data directory: the event log as its bytes and as its snapshots,
and also after a crash.
"""

import base64
import re
import sqlite3
import zlib
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import psutil

from tests.site.api import FRESH, SESSION_COOKIE

KEY = "umd_canaryKeyCanaryKeyCanaryKeyCanaryKeyCanaryKey"
COOKIE = "canary-cookie-7f"
JAR_COOKIE = "canary-jar-b8"
PASSWORD = "canary-password-3a"
WEBHOOK_SECRET = "whsec_" + base64.b64encode(b"canary-webhook-secret-000").decode()
JOB_SECRET = "whsec_" + base64.b64encode(b"canary-secret-of-one-job-").decode()
COOKIE_KEY = base64.b64encode(b"canary-key-of-the-cookies-32-byt").decode()
LINK_SECRET = "canary-link-secret-canary-link-secret"

SETTINGS = {"cookie_key": COOKIE_KEY, "webhook_secret": WEBHOOK_SECRET, "link_secret": LINK_SECRET}
HEADERS = {"X-API-Key": KEY, "Cookie": f"session={COOKIE}"}
JAR = "\n".join(
    (
        "# Netscape HTTP Cookie File",
        *(
            "\t".join(("127.0.0.1", "FALSE", "/", "FALSE", "0", *cookie))
            for cookie in (SESSION_COOKIE, ("tracking", JAR_COOKIE))
        ),
        "",
    )
)

COOKIES = (JAR_COOKIE, SESSION_COOKIE[1], FRESH)
"""What an origin is sent, for it has set them, and nobody else."""
NEVER = (KEY, COOKIE, PASSWORD, *(secret.removeprefix("whsec_") for secret in (WEBHOOK_SECRET, JOB_SECRET)))
GIVEN_MAX = 100
"""The links and tokens that are looked for: the newest."""

EVERY = (*NEVER, *COOKIES, *(text.removeprefix("whsec_") for text in SETTINGS.values()))

SERVE = ["-m", "umd", "serve"]
"""The arguments of the service's own process."""

_SIGNATURE = re.compile(rb"signature=([0-9a-f]{64})")


class Canaries:
    """The secrets of one service, and where it let them out."""

    def __init__(self, data_dir: Path, settings: Iterable[str]) -> None:
        """`settings` are the secrets among the settings; several stand in one, separated by commas."""
        self.leaks: dict[str, set[str]] = {}
        self._data_dir = data_dir
        each = [part.removeprefix("whsec_") for text in settings for part in text.split(",") if part]
        self._secrets = dict.fromkeys([*EVERY, *each])
        self._stored: set[str] = set()
        self.given: dict[str, None] = {}

    def plant(self, *secrets: str, stored: bool = False) -> None:
        """Look for these as well; `stored` are parts of a request that the log keeps for its download."""
        self._secrets.update(dict.fromkeys(secrets))
        self._stored.update(secrets if stored else ())

    def give(self, secret: str) -> None:
        """Look for what the service gave to its client, in all places but answers."""
        self.given[secret] = None
        while len(self.given) > GIVEN_MAX:
            del self.given[next(iter(self.given))]

    def answered(self, where: str, words: bytes) -> None:
        """What a client was told. The links in it are its own, and nobody else's."""
        self._look(where, words, self._secrets)
        for signature in _SIGNATURE.findall(words):
            self.give(signature.decode())

    def sent(self, where: str, words: str) -> None:
        """What an origin was sent: its own cookies, and the addresses that it was asked for, may be there."""
        own = self._stored.union(COOKIES)
        self._look(where, words.encode(), [one for one in self._everything() if one not in own])

    def logged(self, lines: Iterable[bytes]) -> None:
        self._look("the log", b"\n".join(lines), self._everything())

    def look_at_files(self) -> None:
        for path in _files(self._data_dir):
            name = str(path.relative_to(self._data_dir))
            allowed = self._stored if name.startswith("log/") else ()
            try:
                words = path.read_bytes()
            except FileNotFoundError:
                continue
            secrets = [one for one in self._everything() if one not in allowed]
            self._look(name, words, secrets)
            if path.name == "log.sqlite3":
                self._look(f"{name}, a snapshot", b"\n".join(_snapshots(path)), secrets)

    def look_at_processes(self, processes: Iterable[psutil.Process]) -> None:
        for process in processes:
            try:
                command = process.cmdline()
                if command[1:4] == SERVE:  # forked, and nothing is executed yet: it is the service's image
                    continue
                words = f"{command} {process.environ()}"
            except psutil.Error:
                continue
            self._look(f"the process {command[:4]}", words.encode(), self._everything())

    def take(self) -> dict[str, set[str]]:
        """What was found since the last time."""
        found, self.leaks = self.leaks, {}
        return found

    def _everything(self) -> list[str]:
        return [*self._secrets, *self.given]

    def _look(self, where: str, words: bytes, secrets: Iterable[str]) -> None:
        if found := {secret for secret in secrets if secret.encode() in words}:
            self.leaks.setdefault(where, set()).update(found)


def _snapshots(database: Path) -> Iterator[bytes]:
    """What the snapshots of a log say, as far as it can be read untouched: it may be damaged, or live."""
    address = f"{database.absolute().as_uri()}?immutable=1"
    with suppress(sqlite3.Error), closing(sqlite3.connect(address, uri=True)) as log:
        for (part,) in log.execute("SELECT data FROM snapshot_part"):
            with suppress(zlib.error):
                yield zlib.decompress(part)


def _files(root: Path) -> Iterator[Path]:
    return (path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
