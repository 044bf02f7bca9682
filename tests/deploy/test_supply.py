"""T32: what is installed is what is locked, as wheels with known hashes, and nothing changes by itself."""

import re
import tomllib
from pathlib import Path

import pytest

from umd.settings import Settings

ROOT = Path(__file__).parent.parent.parent
LOCKS = ("requirements.lock", "requirements-dev.lock", "requirements-ffmpeg.lock")
HELD = ("--no-deps", "--require-hashes", "--only-binary=:all:")

_ENTRY = re.compile(r"^(?=\S)(?!#)(.+?)((?:\\\n +--hash=\S+ ?)+)$", re.MULTILINE)


def locked(lock: str) -> list[tuple[str, str, list[str]]]:
    """The name, version and hashes of each package; one may be there for several platforms."""
    found = []
    for requirement, hashes in _ENTRY.findall((ROOT / lock).read_text()):
        name, version = requirement.partition(";")[0].strip().split("==")
        found.append((name, version, re.findall(r"--hash=(\S+)", hashes)))
    return found


@pytest.mark.parametrize("lock", LOCKS)
def test_t32_whatever_is_locked_has_one_version_and_its_hashes(lock: str) -> None:
    text = (ROOT / lock).read_text()
    named = re.findall(r"^[A-Za-z0-9].*$", text, re.MULTILINE)

    assert len(locked(lock)) == len(named) > 0
    for _, version, hashes in locked(lock):
        assert re.fullmatch(r"[0-9][0-9A-Za-z.!+]*", version)
        assert hashes
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", one) for one in hashes)
    assert not re.search(r"^\s*(-e|-r|--(extra-)?index-url|--find-links|.*@ )", text, re.MULTILINE)


def test_t32_whatever_is_asked_for_is_locked_and_tests_run_with_the_same() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    run = {(name, version) for name, version, _ in locked("requirements.lock")}
    asked = [re.match(r"([\w-]+)(?:==([\w.]+))?", one) for one in project["dependencies"]]

    assert run <= {(name, version) for name, version, _ in locked("requirements-dev.lock")}
    assert {one[1] for one in asked if one} <= {name for name, _ in run}
    assert {(one[1], one[2]) for one in asked if one and one[2]} <= run
    assert None not in asked


@pytest.mark.parametrize("path", ["Dockerfile", "Makefile", ".github/workflows/ci.yml", "railway.toml"])
def test_t32_whatever_installs_takes_wheels_with_known_hashes_alone(path: str) -> None:
    text = re.sub(r"\\\n\s*", "", (ROOT / path).read_text())
    installs = re.findall(r"^.*pip install.*$", text, re.MULTILINE)

    assert bool(installs) == (path in ("Dockerfile", "Makefile"))
    for line in installs:
        assert all(option in line for option in HELD), line


def test_t32_the_image_is_built_from_the_lock() -> None:
    text = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text())

    assert re.findall(r"-r (\S+)", text) == ["/src/requirements.lock"]
    assert "COPY requirements.lock /src/\n" in text
    assert not re.search(r"curl|wget|ADD http|git clone|npm ", text)


def test_t32_nothing_is_updated_by_itself_unless_the_operator_asks() -> None:
    assert Settings().engine_update_hours == 0
