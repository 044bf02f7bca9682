"""Who may do what: keys with a name and a scope, and to whom a resource belongs.

A key's name is an owner. What was made with a key belongs to its name, so several keys of one name share it:
an old and a new one while keys are being changed, or a `write` key and the `read` key that looks on.
"""

import base64
import hashlib
import re
from hmac import compare_digest
from typing import Final, Literal

import msgspec

Scope = Literal["read", "write", "admin"]

SCOPES: Final[tuple[Scope, ...]] = ("read", "write", "admin")
"""Each may do what those before it may."""

ANONYMOUS: Final = "anonymous"
"""The owner of what was made without a key."""

KEY_BYTES: Final = 32
HASHED: Final = "sha256$"

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,50}")
_CLEAR = re.compile(r"[!-+\--~]{16,200}")
_HASH = re.compile(r"[0-9a-f]{64}")


class Key(msgspec.Struct, frozen=True):
    """A key as it is kept: never itself, only its hash."""

    name: str
    scope: Scope
    digest: bytes


class Caller(msgspec.Struct, frozen=True):
    """Whoever makes a request. Without a scope, only what everybody may see is open to it."""

    name: str
    scope: Scope | None
    verified: bool = False

    def may(self, scope: Scope) -> bool:
        """Whether what needs this scope is allowed."""
        return self.scope is not None and SCOPES.index(self.scope) >= SCOPES.index(scope)

    def sees(self, owner: str | None) -> bool:
        """Whether what belongs to `owner` is there for this caller; what belongs to nobody is the admin's."""
        return self.scope == "admin" or (self.scope is not None and self.name == owner)


NOBODY: Final = Caller(ANONYMOUS, None)


class Keyring:
    """The keys that are valid. Several of one name are valid at once."""

    def __init__(self, keys: tuple[Key, ...]) -> None:
        self._keys = keys

    def __len__(self) -> int:
        return len(self._keys)

    def caller(self, presented: str) -> Caller | None:
        """Whose key this is. Every key is looked at: the time tells nothing of which is right, or how far."""
        digest = hashed(presented)
        found = None
        for key in self._keys:
            if compare_digest(digest, key.digest):
                found = key
        return None if found is None else Caller(found.name, found.scope, verified=True)


def hashed(key: str) -> bytes:
    """The hash that is kept of a key. A key of 256 random bits needs no salt and no slow hash."""
    return hashlib.sha256(key.encode(errors="surrogateescape")).digest()


def new_key(random: bytes) -> str:
    """A key made of `KEY_BYTES` random bytes. Its beginning lets a scanner for leaked secrets find it."""
    return "umd_" + base64.urlsafe_b64encode(random).decode().rstrip("=")


def parse_keys(text: str) -> tuple[Key, ...]:
    """Keys as a setting names them. Raises `ValueError`, whose text never holds a key."""
    entries = [entry.strip() for entry in text.split(",") if entry.strip()]
    keys = tuple(_parsed(entry, number) for number, entry in enumerate(entries, start=1))
    if len({key.digest for key in keys}) < len(keys):
        raise ValueError("The same key stands there twice.")
    return keys


def _parsed(entry: str, number: int) -> Key:
    name, _, rest = entry.partition(":")
    scope, _, key = rest.partition(":")
    if not _NAME.fullmatch(name) or name == ANONYMOUS:
        raise ValueError(f"Key {number} has no name of 1 to 50 letters, digits, `_`, `.` or `-`.")
    known = next((each for each in SCOPES if each == scope), None)
    if known is None:
        raise ValueError(f"Key {number} has a scope that is none of read, write and admin.")
    if key.startswith(HASHED):
        if not _HASH.fullmatch(key.removeprefix(HASHED)):
            raise ValueError(f"Key {number}: behind sha256$ come 64 digits of 0-9 and a-f.")
        return Key(name, known, bytes.fromhex(key.removeprefix(HASHED)))
    if not _CLEAR.fullmatch(key):
        raise ValueError(f"Key {number} has not 16 to 200 visible ASCII characters without a comma.")
    return Key(name, known, hashed(key))
