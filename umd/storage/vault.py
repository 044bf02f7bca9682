"""Seals what must not lie on the disk in clear: AES-256-GCM, with several keys while they are being changed.

What is sealed is bound to its context (whose it is, and its id): put in another place it cannot be opened.
"""

import base64
import hashlib
import os
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from umd.errors import SecretsUnavailable, Unsealable

NONCE_BYTES: Final = 12
"""Random, by NIST SP 800-38D good for 2^32 messages of one key."""

_PREFIX: Final = "sealed."


class Sealed(msgspec.Struct, frozen=True):
    """A sealed message; `key` names the key that it needs."""

    key: str
    nonce: bytes
    data: bytes


class Vault:
    """Seals with the first key, opens with all of them."""

    def __init__(self, keys: tuple[bytes, ...]) -> None:
        self._ciphers = {_name(key): AESGCM(key) for key in keys}
        self._first = _name(keys[0]) if keys else None

    @classmethod
    def of(cls, setting: str) -> "Vault":
        """The keys of `UMD_COOKIE_KEY`: base64 of 32 bytes each, in either alphabet."""
        keys = [key.strip().rstrip("=").translate(str.maketrans("-_", "+/")) for key in setting.split(",")]
        return cls(tuple(base64.b64decode(key + "=") for key in keys if key))

    @property
    def has_key(self) -> bool:
        """Whether anything can be sealed."""
        return self._first is not None

    def is_current(self, sealed: Sealed) -> bool:
        """Whether it was sealed with the first key."""
        return sealed.key == self._first

    def seal(self, plain: bytes, *context: str) -> Sealed:
        """Seal a message. Raises `SecretsUnavailable` where there is no key."""
        if self._first is None:
            raise SecretsUnavailable("This server keeps no secrets: its operator has not set UMD_COOKIE_KEY.")
        nonce = os.urandom(NONCE_BYTES)
        bound = _bound(self._first, context)
        return Sealed(self._first, nonce, self._ciphers[self._first].encrypt(nonce, plain, bound))

    def open(self, sealed: Sealed, *context: str) -> bytes:
        """Open a message. Raises `Unsealable`: another key, another context, or a changed byte."""
        cipher = self._ciphers.get(sealed.key)
        if cipher is None:
            raise Unsealable(f"The key {sealed.key} is not among those of UMD_COOKIE_KEY.")
        try:
            return cipher.decrypt(sealed.nonce, sealed.data, _bound(sealed.key, context))
        except (InvalidTag, ValueError):  # the second for a nonce of another length
            raise Unsealable("What was sealed has been changed, or belongs elsewhere.") from None

    def seal_text(self, plain: str, *context: str) -> str:
        """The same as one word, for a field of text."""
        return _PREFIX + base64.urlsafe_b64encode(
            msgspec.msgpack.encode(self.seal(plain.encode(), *context))
        ).decode().rstrip("=")

    def open_text(self, word: str, *context: str) -> str:
        """What `seal_text` has sealed. Raises `Unsealable`."""
        try:
            packed = base64.urlsafe_b64decode(word.removeprefix(_PREFIX) + "==")
            sealed = msgspec.msgpack.decode(packed, type=Sealed)
        except ValueError:
            raise Unsealable("This was never sealed.") from None
        return self.open(sealed, *context).decode()


def _name(key: bytes) -> str:
    return hashlib.sha256(b"umd key name\0" + key).hexdigest()[:8]


def _bound(key: str, context: tuple[str, ...]) -> bytes:
    return msgspec.json.encode([key, *context])
