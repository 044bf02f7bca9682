"""Puts a release of yt-dlp on the shelf, from a wheel or from the package index that pip is configured for.

Only wheels are taken, of yt-dlp and, where it goes with another one than is here, of yt-dlp-ejs: nothing
foreign runs while installing, and the rest of the environment stays as it is. An installation is checked in a
folder of its own before it becomes a release. Whether it works is not asked here: the service does that, in
its sandbox (`umd.engine.selftest`).

The service runs this as `python -m umd.engine.installing`, so that it can end it.
"""

import argparse
import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from importlib.metadata import distributions
from pathlib import Path

import msgspec

from umd.engine.capabilities import installed
from umd.engine.shelf import Shelf, Wish, own_version, version_in
from umd.errors import EngineError

INSTALL_SEC_MAX = 600
REASON_CHARACTERS_MAX = 300

_PIP = (
    *("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "--no-cache-dir"),
    *("--no-deps", "--only-binary=:all:", "--no-compile"),
)
_TAKEN = re.compile(r"(yt_dlp|yt_dlp_ejs)(-[^/]+\.dist-info)?")
_SOLVER = re.compile(r"yt-dlp-ejs\s*==\s*([0-9][0-9A-Za-z.]*)")


class Source(msgspec.Struct, frozen=True):
    """What to install: wheels, or a version, or else the newest one. A file has to have one of the hashes."""

    wheels: tuple[Path, ...] = ()
    version: str = ""
    hashes: tuple[str, ...] = ()


def install(shelf: Shelf, source: Source, wish_id: str, unless: frozenset[str] = frozenset()) -> str:
    """Install a release and wish for it, but for these; returns its version. Blocks. Raises `EngineError`.

    One that is here already is not installed again.
    """
    with shelf.locked():
        version = source.version
        if not version or version not in {own_version(), *shelf.installed()}:
            version = _install(shelf, source, unless)
        if version not in unless:
            shelf.want(Wish(version, wish_id))
    return version


async def install_newest(shelf: Shelf, wish_id: str, unless: Iterable[str]) -> str:
    """Install the newest release, but for these. What does it has ended on return. Raises `EngineError`."""
    unwanted = [f"--unless={version}" for version in unless]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "umd.engine.installing"),
        *(f"--place={shelf.place}", f"--id={wish_id}", *unwanted),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=_environment(),
        start_new_session=True,
    )
    try:
        told, complaint = await process.communicate()
    finally:
        with suppress(ProcessLookupError):  # pip with it
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    if process.returncode:
        raise EngineError(_last_words(complaint.decode(errors="replace")))
    return told.decode().strip()


def _install(shelf: Shelf, source: Source, unless: frozenset[str]) -> str:
    folder = shelf.prepared()
    try:
        _fetch(
            shelf, folder, source, [wheel.absolute().as_uri() for wheel in source.wheels] or [_named(source)]
        )
        version = version_in(folder)
        if version is None:
            raise EngineError("This is no yt-dlp: it does not say its version.")
        if version in {own_version(), *shelf.installed(), *unless}:
            return version
        _fetch_solver(shelf, folder, source)
        _tidy(folder)
        _compile(folder)
        shelf.put(folder, version)
        return version
    except OSError as error:
        raise EngineError(f"yt-dlp cannot be installed: {error}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _named(source: Source) -> str:
    if source.version:
        return f"yt-dlp=={source.version}"
    if source.hashes:
        raise EngineError("A hash belongs to a version or to a wheel: name one of them, too.")
    return "yt-dlp"


def _fetch(shelf: Shelf, folder: Path, source: Source, requirements: list[str]) -> None:
    """Have pip unpack what is required. What it needs for that lies below the shelf, too."""
    scratch = shelf.prepared()
    try:
        hashes = "".join(f" --hash=sha256:{digest}" for digest in source.hashes)
        (scratch / "requirements").write_text("".join(f"{one}{hashes}\n" for one in requirements), "utf-8")
        place = ["--target", str(folder), "--requirement", str(scratch / "requirements")]
        _run([*_PIP, *(["--no-index"] if source.wheels else []), *place], scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _fetch_solver(shelf: Shelf, folder: Path, source: Source) -> None:
    """The scripts that solve YouTube's challenges are a package of their own, which has to fit."""
    wanted = _wanted_solver(folder)
    if wanted is None or wanted in (installed("yt-dlp-ejs", str(folder)), installed("yt-dlp-ejs")):
        return
    if source.wheels:
        raise EngineError(f"This yt-dlp goes with yt-dlp-ejs {wanted}: give its wheel, too.")
    _fetch(shelf, folder, source, [f"yt-dlp-ejs=={wanted}"])


def _wanted_solver(folder: Path) -> str | None:
    for distribution in distributions(name="yt-dlp", path=[str(folder)]):
        for requirement in distribution.requires or ():
            if found := _SOLVER.match(requirement):
                return found[1]
    return None


def _tidy(folder: Path) -> None:
    """Keep the packages alone: whatever else a wheel brings would stand before the environment's own."""
    for entry in folder.iterdir():
        if not _TAKEN.fullmatch(entry.name):
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink()


def _compile(folder: Path) -> None:
    """Once, for all: a child may not write here, and would compile again each time."""
    _run(["-m", "compileall", "-q", str(folder)], folder)


def _run(arguments: list[str], scratch: Path) -> None:
    try:
        done = subprocess.run(
            [sys.executable, "-P", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=INSTALL_SEC_MAX,
            env={**_environment(), "TMPDIR": str(scratch)},
            cwd=scratch,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise EngineError(f"{arguments[1]} did not end within {INSTALL_SEC_MAX} s.") from error
    if done.returncode:
        raise EngineError(f"{arguments[1]} failed: {_last_words(done.stderr or done.stdout)}")


def _environment() -> dict[str, str]:
    """The service's own, for pip may be configured there, but without umd's settings, which hold secrets."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("UMD_")}
    return {**kept, "PYTHONPATH": os.pathsep.join(os.path.abspath(entry) for entry in sys.path)}


def _last_words(text: str) -> str:
    errors = [line.strip() for line in text.splitlines() if line.strip()] or ["it did not say why"]
    told = [line for line in errors if line.startswith("ERROR")] or errors
    return told[-1].removeprefix("ERROR:").strip()[:REASON_CHARACTERS_MAX]


def main() -> int:
    """Install the newest release; print its version, or why there is none."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--place", type=Path, required=True, help="the folder of the releases")
    parser.add_argument("--id", required=True, help="the name of the wish")
    parser.add_argument("--unless", action="append", default=[], help="a release that is not wanted")
    arguments = parser.parse_args()
    try:
        version = install(Shelf(arguments.place), Source(), arguments.id, frozenset(arguments.unless))
    except (EngineError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{version}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
