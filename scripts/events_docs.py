"""Writes `docs/events.md` from the types of the events; a test holds it to them."""

import inspect
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeAlias, get_args

import msgspec

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from umd.domain.events import Event, Progress  # noqa: E402  # the path has to be known first

Schema: TypeAlias = dict[str, Any]

REF = "#/$defs/{name}"
INTRODUCTION = """# Events

What happens is written into the event log as one of these events before anything is answered. The same
events are what an [event stream](api.md#events) sends, what `GET /api/v1/log`, `umd log` and `umd replay`
show, and what every state is folded from. [log.md](log.md) tells how they are stored.

An event stream puts `at` (RFC 3339) and `request_id` or `batch_id` in front of the members below; a row of
the log has them in `data`, beside `type`, `at`, `stream` and `position`. Secrets are blanked wherever events
are shown. A member with a default may be missing in what an older release has written.
"""
TICK = "A tick: at most 4 a second, without `id:`, never stored."


def markdown() -> str:
    """The page of documentation."""
    kinds = get_args(Event)
    _, parts = msgspec.json.schema_components([*kinds, Progress], ref_template=REF)
    events = {
        str(kind.__struct_config__.tag): (_told(kind), _members(parts[kind.__name__])) for kind in kinds
    }
    events["job.progress"] = (TICK, _members(parts["Progress"]))
    named = {kind.__name__ for kind in kinds}
    shared = {name: part for name, part in sorted(parts.items()) if name not in named}
    sections = [INTRODUCTION]
    sections += [f"## `{name}`\n\n{told}\n{members}" for name, (told, members) in events.items()]
    sections.append("# What events are made of\n")
    sections += [f"## {name}\n\n{_part(part)}" for name, part in shared.items()]
    return "\n".join(sections)


def _told(kind: type) -> str:
    """What the type says of itself, in JSON's words."""
    return inspect.cleandoc(kind.__doc__ or "").replace("None", "null")


def _members(schema: Schema) -> str:
    """The table of them: each with its type, and its default where it may be missing."""
    rows = [
        f"| `{name}` | {_type(member)} | {_default(member)} |"
        for name, member in schema["properties"].items()
        if name != "type"
    ]
    return "\n".join(["", "| member | is | default |", "|---|---|---|", *rows, ""]) if rows else ""


def _part(schema: Schema) -> str:
    told = schema.get("description", "").replace("None", "null")
    return f"{told}\n{_members(schema)}" if "properties" in schema else f"{told}\n\n{_type(schema)}\n"


def _default(schema: Schema) -> str:
    return f"`{msgspec.json.encode(schema['default']).decode()}`" if "default" in schema else ""


def _type(schema: Schema) -> str:
    """A schema in a few words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"])
    if "enum" in schema:
        return _listed(schema["enum"])
    if "const" in schema:
        return _listed([schema["const"]])
    if schema["type"] == "array":
        return f"list of {_type(schema['items'])}"
    return str(schema["type"])


def _listed(values: Iterable[object]) -> str:
    return ", ".join("null" if value is None else f"`{value}`" for value in values)


if __name__ == "__main__":
    (ROOT / "docs" / "events.md").write_text(markdown())
