"""Writes `docs/settings.md` and `.env.example` from the settings themselves; a test holds them to it."""

import sys
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from umd.settings import PREFIX, Settings  # noqa: E402  # the path has to be known first

Kind: TypeAlias = Any
"""A type as `msgspec.inspect` describes it."""

INTRODUCTION = """# Settings

Environment variables, read once at start. A bad value, or a `UMD_` name that is not here, stops the start
with one line on stderr and exit code 2; an empty value is as if absent, but switches a rate limit
off. `python -m umd config` prints what holds and where it came from. `PORT` wins over `UMD_PORT`. Where a
platform sets them, `RAILWAY_VOLUME_MOUNT_PATH` is the default of `UMD_DATA_DIR`, and `RAILWAY_PUBLIC_DOMAIN`,
with https, that of `UMD_PUBLIC_BASE_URL`.

| variable | default | allowed | meaning |
|---|---|---|---|
"""


def rows() -> list[tuple[str, str, str, str]]:
    """Name, default, allowed values and meaning of every setting."""
    information = msgspec.inspect.type_info(Settings)
    assert isinstance(information, msgspec.inspect.StructType)  # it is a struct
    return [
        (PREFIX + field.name.upper(), _default(field.default), _allowed(field.type), _meaning(field.type))
        for field in information.fields
    ]


def markdown() -> str:
    """The page of documentation."""
    lines = [
        f"| `{name}` | {f'`{default}`' if default else 'empty'} | {allowed} | {meaning} |"
        for name, default, allowed, meaning in rows()
    ]
    return INTRODUCTION + "\n".join(lines) + "\n"


def example() -> str:
    """A file to copy to `.env`, with every default."""
    lines = [f"# {meaning}\n# {name}={default}\n" for name, default, _, meaning in rows()]
    return "# Every setting of umd with its default. Take away the # of what you change.\n\n" + "\n".join(
        lines
    )


def _default(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _meaning(kind: Kind) -> str:
    return str(kind.extra_json_schema["description"])


def _allowed(kind: Kind) -> str:
    inner = kind.type if isinstance(kind, msgspec.inspect.Metadata) else kind
    if isinstance(inner, msgspec.inspect.IntType):
        return f"{inner.ge:,} to {inner.le:,}"
    if isinstance(inner, msgspec.inspect.LiteralType):
        return ", ".join(f"`{value}`" for value in inner.values)
    if isinstance(inner, msgspec.inspect.BoolType):
        return "`true`, `false`"
    if isinstance(inner, msgspec.inspect.UnionType):
        return ", ".join(_allowed(each) for each in inner.types)
    return "text"


if __name__ == "__main__":
    (ROOT / "docs" / "settings.md").write_text(markdown())
    (ROOT / ".env.example").write_text(example())
