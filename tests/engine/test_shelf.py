"""The releases below the data directory: what is there, what a start begins with, and what goes."""

from pathlib import Path

import pytest

from umd.engine import shelf as shelves
from umd.engine.shelf import Shelf, Wish, own_version
from umd.errors import EngineError


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "engines")


def put(shelf: Shelf, version: str) -> None:
    with shelf.locked():
        folder = shelf.prepared()
        (folder / "yt_dlp").mkdir()
        (folder / "yt_dlp" / "version.py").write_text(f"__version__ = '{version}'\n")
        shelf.put(folder, version)


def test_a_new_service_begins_with_its_own_release(shelf: Shelf) -> None:
    assert (shelf.first(), shelf.installed(), shelf.wish, shelf.checked) == ("", [], None, 0)
    assert shelf.path(own_version()) == ""


def test_the_chosen_release_is_what_a_start_begins_with(shelf: Shelf) -> None:
    put(shelf, "2027.01.02")
    shelf.choose("2027.01.02")

    assert shelf.first() == shelf.path("2027.01.02") == str(shelf.place / "2027.01.02")
    shelf.choose(own_version())
    assert shelf.first() == ""


@pytest.mark.parametrize("damage", ["file", "empty file", "folder", "version"])
def test_in_doubt_a_start_begins_with_its_own_release(shelf: Shelf, damage: str) -> None:
    put(shelf, "2027.01.02")
    shelf.choose("2027.01.02")
    if damage == "file":
        (shelf.place / "current").write_text('{"version": "../../etc", "own": "1"}')
    elif damage == "empty file":
        (shelf.place / "current").write_text("")
    elif damage == "folder":
        (shelf.place / "2027.01.02").rename(shelf.place / "away")
    else:
        (shelf.place / "2027.01.02" / "yt_dlp" / "version.py").write_text("__version__ = '2027.01.03'\n")

    assert shelf.first() == ""


def test_a_newer_umd_brings_its_own_release(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    put(shelf, "2027.01.02")
    shelf.choose("2027.01.02")

    monkeypatch.setattr(shelves, "own_version", lambda: "2027.02.01")
    assert shelf.first() == ""
    monkeypatch.setattr(shelves, "own_version", lambda: "2027.01.01")
    assert shelf.first()


@pytest.mark.parametrize("version", ["../engines", "/etc", "", ".new-1", "2027.01.03", "2027.01.02/yt_dlp"])
def test_what_is_no_release_has_no_path(shelf: Shelf, version: str) -> None:
    put(shelf, "2027.01.02")

    with pytest.raises(EngineError, match="is not installed"):
        shelf.path(version)


def test_a_wish_stays_until_it_is_forgotten_and_a_newer_one_is_not_forgotten_with_it(shelf: Shelf) -> None:
    first, second = Wish("2027.01.02", "a"), Wish("2027.01.09", "b")
    shelf.want(first)
    assert shelf.wish == first

    shelf.want(second)
    shelf.forget(first)
    assert shelf.wish == second
    shelf.forget(second)
    assert shelf.wish is None


def test_surplus_releases_go_but_not_while_somebody_installs(shelf: Shelf) -> None:
    for version in ("2027.01.02", "2027.01.09", "2027.01.16"):
        put(shelf, version)

    with shelf.locked():
        assert shelf.prune({"2027.01.16"}) == []
        assert len(shelf.installed()) == 3
    assert shelf.prune({"2027.01.16", own_version()}) == ["2027.01.02", "2027.01.09"]
    assert {path.name for path in shelf.place.iterdir()} == {".lock", "2027.01.16"}


def test_only_one_installs_at_a_time(shelf: Shelf) -> None:
    with shelf.locked(), pytest.raises(EngineError, match="Another process"), Shelf(shelf.place).locked():
        pass


def test_what_a_kill_left_half_done_is_no_release_and_goes(shelf: Shelf) -> None:
    put(shelf, "2027.01.02")
    with shelf.locked():
        for name in (".new-x", ".old-2027.01.09"):
            (shelf.place / name / "yt_dlp").mkdir(parents=True)
            (shelf.place / name / "yt_dlp" / "version.py").write_text("__version__ = '2027.01.09'\n")

    assert shelf.installed() == ["2027.01.02"]
    with shelf.locked():
        assert {path.name for path in shelf.place.iterdir()} == {".lock", "2027.01.02"}
