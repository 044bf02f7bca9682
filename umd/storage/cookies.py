"""The cookie jars below the data directory: one sealed file each, which only the service's user can read.

Nothing of a jar is an event: the log is for ever, and a jar is to be forgotten when it is deleted.
"""

import os
import threading
from pathlib import Path

import msgspec
import structlog
from msgspec.structs import replace

from umd.clock import Micros
from umd.domain import cookies as netscape
from umd.domain.cookies import Cookie, Copy
from umd.errors import FieldError, InvalidInput, InvalidState, NotFound, Unsealable
from umd.storage.erase import erase
from umd.storage.vault import Sealed, Vault

JARS_MAX = 1_000
JARS_OF_ONE_MAX = 100

_log = structlog.get_logger(__name__)


class Jar(msgspec.Struct, frozen=True, kw_only=True):
    """What may be told of a jar: everything but what is in it."""

    cookies_id: str
    owner: str
    name: str
    domains: tuple[str, ...]
    created_at: Micros
    expires_at: Micros | None = None
    browser: str | None = None
    body_hash: str | None = None
    update: bool = False
    """Whether what sites change is written back."""
    updated_at: Micros | None = None
    version: int = 1


class _Content(msgspec.Struct, frozen=True):
    jar: Jar
    cookies: tuple[Cookie, ...]


class _File(msgspec.Struct, frozen=True):
    """A jar's file. The owner stands in it in clear, and is bound to what is sealed."""

    owner: str
    sealed: Sealed
    version: int = 1


class CookieStore:
    """All jars. What they are is known in memory, what is in them is read when it is needed.

    `prepare`, `add`, `copy`, `update`, `remove` and `sweep` block on the disk: call them in a thread.
    """

    def __init__(self, root: Path, vault: Vault) -> None:
        self._folder = root / "cookies"
        self._vault = vault
        self._jars: dict[str, Jar] = {}
        self._changing = threading.Lock()

    def prepare(self) -> None:
        """Know the jars of earlier runs, and seal those of an older key anew, so that it can be given up."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for stray in self._folder.glob("*.new"):
            erase(stray)
        unreadable = 0
        for path in sorted(self._folder.glob("*.json")):
            try:
                content, is_current = self._read(path)
            except Unsealable:
                unreadable += 1
                continue
            self._jars[content.jar.cookies_id] = content.jar
            if not is_current:
                self._write(content)
        if unreadable:
            _log.warning("cookies.unreadable", jars=unreadable, hint="UMD_COOKIE_KEY lacks their key")

    def all(self) -> list[Jar]:
        """Every jar, oldest first."""
        return sorted(self._jars.values(), key=lambda jar: (jar.created_at, jar.cookies_id))

    def get(self, cookies_id: str) -> Jar | None:
        """The jar with this id."""
        return self._jars.get(cookies_id)

    def require(self, cookies_id: str | None, owner: str, at: Micros) -> None:
        """Hold a request to the jars that its owner has. Raises `InvalidInput`."""
        if cookies_id is None:
            return
        jar = self._jars.get(cookies_id)
        if jar is None or jar.owner != owner:
            raise InvalidInput(FieldError("/cookies_id", "There is no such cookie jar."))
        if is_over(jar, at):
            raise InvalidInput(FieldError("/cookies_id", "Every cookie of this jar has expired."))

    def add(self, jar: Jar, cookies: tuple[Cookie, ...]) -> Jar:
        """Store a jar, durably, unless there is one of its id; returns the one that there is.

        Raises `SecretsUnavailable` and, for one too many, `InvalidState`.
        """
        with self._changing:
            there = self._jars.get(jar.cookies_id)
            if there is not None:
                return there
            owned = sum(other.owner == jar.owner for other in self._jars.values())
            if owned >= JARS_OF_ONE_MAX or len(self._jars) >= JARS_MAX:
                raise InvalidState(f"There are {owned} cookie jars already: delete one first.")
            self._write(_Content(jar, cookies))
            self._jars[jar.cookies_id] = jar
            return jar

    def check(self, cookies_id: str, owner: str, at: Micros) -> None:
        """See that the owner has this jar. Raises `NotFound` where it is not there, not his, or expired."""
        jar = self._jars.get(cookies_id)
        if jar is None or jar.owner != owner or is_over(jar, at):
            raise NotFound("cookies", cookies_id)

    def copy(self, cookies_id: str, owner: str, at: Micros) -> Copy:
        """A jar's living cookies, for a worker's eyes only.

        Raises `NotFound` as `check` does, and for one that cannot be opened.
        """
        self.check(cookies_id, owner, at)
        try:
            content, _ = self._read(self._path(cookies_id))
        except (Unsealable, OSError):
            _log.exception("cookies.unreadable", cookies_id=cookies_id)
            raise NotFound("cookies", cookies_id) from None
        return Copy(netscape.render(content.cookies, at), content.jar.update)

    def update(self, cookies_id: str, owner: str, text: str, at: Micros) -> None:
        """Store what came back of a copy as the jar's next version, durably, if the jar asks for that.

        Only cookies of the jar's own domains are taken. A jar that is gone meanwhile stays gone, and nothing
        takes the place of living cookies but living cookies. Of two copies the one that comes later counts.
        """
        with self._changing:
            jar = self._jars.get(cookies_id)
            if jar is None or jar.owner != owner or not jar.update:
                return
            cookies = netscape.updated(text, jar.domains)
            if not cookies:
                return
            expires_at = netscape.expires_at(cookies)
            fresh = replace(jar, expires_at=expires_at, updated_at=at, version=jar.version + 1)
            if not is_over(fresh, at):
                self._write(_Content(fresh, cookies))
                self._jars[cookies_id] = fresh

    def remove(self, cookies_id: str) -> None:
        """Forget a jar, bytes included; one that is gone already is no error."""
        with self._changing:
            self._jars.pop(cookies_id, None)
            erase(self._path(cookies_id))
            _sync(self._folder)

    def sweep(self, at: Micros) -> None:
        """Forget the jars whose last cookie has expired."""
        for jar in self.all():
            if is_over(jar, at):
                self.remove(jar.cookies_id)

    def _path(self, cookies_id: str) -> Path:
        return self._folder / f"{cookies_id}.json"

    def _read(self, path: Path) -> tuple[_Content, bool]:
        try:
            file = msgspec.json.decode(path.read_bytes(), type=_File)
        except msgspec.DecodeError:
            raise Unsealable(f"{path.name} is no jar.") from None
        plain = self._vault.open(file.sealed, "cookies", file.owner, path.stem)
        return msgspec.json.decode(plain, type=_Content), self._vault.is_current(file.sealed)

    def _write(self, content: _Content) -> None:
        jar = content.jar
        sealed = self._vault.seal(msgspec.json.encode(content), "cookies", jar.owner, jar.cookies_id)
        path = self._path(jar.cookies_id)
        fresh = path.with_suffix(".new")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(_File(jar.owner, sealed)))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        _sync(self._folder)


def is_over(jar: Jar, at: Micros) -> bool:
    """Whether every cookie of a jar has expired."""
    return jar.expires_at is not None and jar.expires_at <= at


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
