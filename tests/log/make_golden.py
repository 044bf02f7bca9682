"""The golden logs: a log of each release with every type of row, as text, which later releases must read.

Beside each lies a golden base: what stands for rows that are pruned, which has to be read as long.

    python -m tests.log.make_golden

writes the one of this release. Until the release is out it is made anew whenever a type comes or changes;
afterwards it stays as it is for ever.
"""

import asyncio
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec
from msgspec import NODEFAULT, inspect

from tests.log.worlds import AT
from tests.random_histories import History
from umd import __version__
from umd.clock import instant
from umd.domain.commands import Command
from umd.domain.events import Event
from umd.log.codec import facts
from umd.log.sqlite import SqliteLog
from umd.projections.models import Models

GOLDEN = Path(__file__).parent / "golden"
SCHEMA = "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL"
ROWS = """
SELECT format('INSERT INTO log VALUES (%d, %Q, %d, %Q, %Q, %d, %d, %Q, %s, CAST(%Q AS BLOB), %s);',
    position, stream, version, kind, type, schema_version, at, correlation, quote(causation),
    CAST(data AS TEXT), quote(hash))
FROM log ORDER BY position
"""

FLOOR = "SELECT format('INSERT INTO floor VALUES (%d);', position) FROM floor"
WRITER = "SELECT format('INSERT INTO writer VALUES (%d);', epoch) FROM writer"


def write(path: Path) -> None:
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(append_everything(Path(directory)))
        path.write_text("\n".join(dump(Path(directory) / "log.sqlite3")) + "\n", "utf-8")


async def append_everything(directory: Path) -> None:
    log = SqliteLog(directory)
    await log.start()
    events = [sample for member in get_args(Event) for sample in samples(member)]
    commands = [sample for member in get_args(Command) for sample in samples(member)]
    for number, command in enumerate(commands):
        own = events if number == 0 else []
        await log.append(f"job-{number}", 0, command, own, at=AT + number, correlation="request-ü")
    await log.stop()


def dump(database: Path) -> Iterator[str]:
    """The database as SQL in which the JSON can be read."""
    connection = sqlite3.connect(database)
    [version] = connection.execute("PRAGMA user_version").fetchone()
    yield f"PRAGMA auto_vacuum = INCREMENTAL;\nPRAGMA user_version = {version};"
    yield from (f"{sql};" for (sql,) in connection.execute(SCHEMA))
    yield from (line for (line,) in connection.execute(WRITER))
    yield from (line for (line,) in connection.execute(FLOOR))
    yield from (line for (line,) in connection.execute(ROWS))
    connection.close()


def write_base(path: Path) -> None:
    """The sections of a snapshot, each item a line."""
    models = Models()
    models.apply(facts(History(5).go_on(150).records))
    with path.open("wb") as file:
        for section, items in models.capture().items():
            file.writelines(msgspec.json.encode((section, item)) + b"\n" for item in items)


def samples(member: type) -> Iterator[Any]:
    """A message with its defaults, and one with every field set."""
    for every_field in (False, True):
        yield _sample(inspect.type_info(member), every_field)


def _sample(info: inspect.Type, every_field: bool) -> Any:  # noqa: ANN401  # whatever the type asks for
    match info:
        case inspect.StructType():
            fields = (field for field in info.fields if every_field or field.default is NODEFAULT)
            return info.cls(**{field.name: _sample(field.type, every_field) for field in fields})
        case inspect.UnionType(types=types):
            return _sample(next(t for t in types if not isinstance(t, inspect.NoneType)), every_field)
        case inspect.Metadata(type=inner):
            return _sample(inner, every_field)
        case inspect.LiteralType(values=values):
            return values[-1]
        case inspect.VarTupleType(item_type=item):
            return (_sample(item, every_field),)
        case inspect.IntType():
            return max(2, info.ge or 0)
        case inspect.StrType():
            return "en" if info.pattern else "Grüße"
        case inspect.FloatType():
            return 12.5
        case inspect.BoolType():
            return True
        case inspect.DateTimeType():
            return instant(AT)
        case _:
            raise TypeError(info)


if __name__ == "__main__":
    write(GOLDEN / f"{__version__}.sql")
    write_base(GOLDEN / f"{__version__}.base.jsonl")
