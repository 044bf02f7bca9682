"""Imports go down the rows of the house only, and never in a circle."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "umd"

# The table of the rooms, as docs and design have it: a room may import rooms of lower rows, and itself.
ROWS: dict[str, int] = {
    "__main__": 7,
    "serve": 7,
    "app": 7,
    "cli": 7,
    "api": 6,
    "replay": 5,
    "actors": 5,
    "dispatcher": 4,
    "projections": 4,
    "log": 3,
    "engine": 3,
    "egress": 3,
    "storage": 3,
    "telemetry": 2,
    "live": 2,
    "watchdog": 2,
    "domain": 1,
    "settings": 0,
    "errors": 0,
    "clock": 0,
}
NEIGHBOURS = {
    ("__main__", "serve"),
    ("__main__", "cli"),
    ("dispatcher", "projections"),
    ("engine", "egress"),
    ("serve", "app"),
    ("settings", "errors"),
}
"""Pairs of one row, of which the first may import the second."""

ONLY_ROOM: dict[str, set[str]] = {
    "yt_dlp": {"engine"},
    "aiosqlite": {"log"},
    "sqlite3": {"log"},
    "aiohttp": {"api", "egress"},
    "prometheus_client": {"telemetry", "api"},
}
"""Libraries that belong to one room."""

MODULES = sorted(path for path in ROOT.rglob("*.py") if path != ROOT / "__init__.py")


def room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(path: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the room"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_imports_only_from_rows_below(path: Path) -> None:
    mine = room(path)
    for name in imported(path):
        package, _, rest = name.partition(".")
        if package == "umd" and rest and rest != "__version__":
            other = rest.split(".")[0]
            allowed = other == mine or ROWS[other] < ROWS[mine] or (mine, other) in NEIGHBOURS
            assert allowed, f"{mine} (row {ROWS[mine]}) imports {other} (row {ROWS[other]})"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_libraries_stay_in_their_rooms(path: Path) -> None:
    for name in imported(path):
        rooms = ONLY_ROOM.get(name.partition(".")[0])
        assert rooms is None or room(path) in rooms, f"{name} is not for {room(path)}"


def test_only_the_dispatcher_appends() -> None:
    """The log's `append` takes a command: no other module has one to give to it."""
    callers = {
        room(path)
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "append"
        and any(keyword.arg == "correlation" for keyword in node.keywords)
    }
    assert callers == {"dispatcher"}


def test_every_module_says_what_it_is_for() -> None:
    silent = [str(path) for path in MODULES if not ast.get_docstring(ast.parse(path.read_text()))]

    assert silent == []
