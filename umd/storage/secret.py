"""A random secret that the service keeps for itself, in a file that only it can read."""

import os
from pathlib import Path

SECRET_BYTES = 32


def keep(path: Path) -> bytes:
    """The secret in this file; the file is made where there is none. Raises `OSError`.

    A file that is shorter than a secret was cut off while it was made, and is made anew: what was signed
    with it has not reached anybody.
    """
    try:
        secret = path.read_bytes()
    except FileNotFoundError:
        return _make(path)
    if len(secret) < SECRET_BYTES:
        return _make(path)
    path.chmod(0o600)
    return secret


def _make(path: Path) -> bytes:
    secret = os.urandom(SECRET_BYTES)
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secret)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    return secret
