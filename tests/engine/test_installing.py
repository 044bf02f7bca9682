"""Wheels of yt-dlp become releases, by pip itself and without a network."""

import hashlib
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.engine import releases
from tests.engine.releases import NEW
from umd.engine.installing import Source, install
from umd.engine.shelf import Shelf, Wish, own_version
from umd.errors import EngineError

OTHER_SOLVER = (
    "Metadata-Version: 2.1\nName: yt-dlp\nVersion: 1\nProvides-Extra: default\n"
    "Requires-Dist: yt-dlp-ejs==99.0; extra == 'default'\n"
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return releases.wheel(tmp_path_factory.mktemp("wheels"), NEW, {"requests/__init__.py": "", "evil.py": ""})


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "engines")


@pytest.fixture(autouse=True)
def _no_index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_wheel_becomes_a_release_of_yt_dlp_alone_and_is_wished_for(shelf: Shelf, wheel: Path) -> None:
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()

    assert install(shelf, Source((wheel,), hashes=(digest,)), "wish-1") == NEW

    assert names(shelf.place / NEW) == {"yt_dlp", f"yt_dlp-{NEW}.dist-info"}
    assert list((shelf.place / NEW / "yt_dlp" / "__pycache__").glob("version.*.pyc"))
    assert names(shelf.place) == {".lock", "wanted", NEW}
    assert shelf.wish == Wish(NEW, "wish-1")
    # It is here now: no pip is needed, which would find no index.
    assert install(shelf, Source(version=NEW), "wish-2") == NEW
    assert install(shelf, Source(version=own_version()), "wish-3") == own_version()


def test_a_file_with_another_hash_is_not_taken(shelf: Shelf, wheel: Path) -> None:
    with pytest.raises(EngineError, match="pip failed"):
        install(shelf, Source((wheel,), hashes=("0" * 64,)), "wish-1")

    assert names(shelf.place) == {".lock"}


def test_where_no_release_can_be_had_it_is_said(shelf: Shelf) -> None:
    with pytest.raises(EngineError, match="No matching distribution found for yt-dlp==2027"):
        install(shelf, Source(version="2027.03.04"), "wish-1")

    assert names(shelf.place) == {".lock"}


def test_a_hash_without_what_it_belongs_to_is_refused(shelf: Shelf) -> None:
    with pytest.raises(EngineError, match="A hash belongs to"):
        install(shelf, Source(hashes=("0" * 64,)), "wish-1")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"yt_dlp/version.py": "__version__ = '../../etc'\n"}, "This is no yt-dlp"),
        ({"yt_dlp-1.dist-info/METADATA": OTHER_SOLVER}, "goes with yt-dlp-ejs 99.0"),
        ({"yt_dlp/a.py": "("}, "compileall failed"),
    ],
    ids=["a version that is a path", "another solver", "no Python"],
)
def test_a_wheel_that_is_no_release_leaves_nothing(
    shelf: Shelf, tmp_path: Path, changes: dict[str, str], reason: str
) -> None:
    with pytest.raises(EngineError, match=reason):
        install(shelf, Source((small(tmp_path, changes),)), "wish-1")

    assert names(shelf.place) == {".lock"}


def test_a_killed_installation_is_no_release_and_is_in_nobodys_way(shelf: Shelf, tmp_path: Path) -> None:
    """It is killed at its worst: all is unpacked and checked, and on the way to its place."""
    wheel = small(tmp_path, {})
    program = f"""
import os, signal
from pathlib import Path
from umd.engine import installing
from umd.engine.shelf import Shelf
os.sync = lambda: os.kill(os.getpid(), signal.SIGKILL)
installing.install(Shelf(Path({str(shelf.place)!r})), installing.Source((Path({str(wheel)!r}),)), "wish-1")
"""
    killed = subprocess.run([sys.executable, "-c", program], check=False)

    assert killed.returncode == -signal.SIGKILL
    assert shelf.installed() == []
    assert shelf.wish is None
    with shelf.locked():
        assert names(shelf.place) == {".lock"}


def small(folder: Path, changes: dict[str, str]) -> Path:
    """A wheel that says that it is a release, and has nothing in it."""
    files = {
        "yt_dlp/version.py": f"__version__ = '{NEW}'\n",
        "yt_dlp-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: yt-dlp\nVersion: 1\n",
        "yt_dlp-1.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "yt_dlp-1.dist-info/RECORD": "",
        **changes,
    }
    path = folder / "yt_dlp-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for inside, text in files.items():
            archive.writestr(inside, text)
    return path
