"""Every release reads what every release before it has written."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.log.make_golden import GOLDEN
from tests.log.worlds import SqliteWorld, Witness
from umd.log import Record, Unknown
from umd.log.codec import COMMANDS, EVENTS, decode_command
from umd.projections.models import Models

BASES = sorted(GOLDEN.glob("*.base.jsonl"))
LOGS = sorted(GOLDEN.glob("*.sql"), key=lambda path: [int(number) for number in path.stem.split(".")])


def load(golden: Path, disk: SqliteWorld) -> None:
    disk.directory.mkdir()
    disk.execute(golden.read_text("utf-8"))


async def facts_of(golden: Path, disk: SqliteWorld) -> Witness:
    load(golden, disk)
    witness = Witness()
    await disk.open(witness)
    return witness


@pytest.mark.parametrize("golden", LOGS, ids=lambda path: path.stem)
async def test_a_golden_log_is_read_whole(golden: Path, disk: SqliteWorld) -> None:
    witness = await facts_of(golden, disk)

    for fact in witness.facts:
        message = fact.event or decode_command(fact.record)
        assert not isinstance(message, Unknown), fact.record
        if newest(fact.record):
            kept = msgspec.json.decode(msgspec.json.encode(message))
            assert without_news(kept, msgspec.json.decode(fact.record.data)), fact.record


async def test_the_newest_golden_log_has_every_type_of_row(disk: SqliteWorld) -> None:
    witness = await facts_of(LOGS[-1], disk)

    stored = {(record.type, record.schema_version) for record in witness.records}
    hint = "write it anew with `python -m tests.log.make_golden`"
    assert (EVENTS.versions | COMMANDS.versions).items() <= stored, hint


@pytest.mark.parametrize("golden", BASES, ids=lambda path: path.stem)
def test_a_golden_base_is_read_whole(golden: Path) -> None:
    """What stands for pruned rows cannot be folded anew: it is all that is left of them."""
    stored: dict[str, list[Any]] = {}
    for section, item in map(msgspec.json.decode, golden.read_bytes().splitlines()):
        stored.setdefault(section, []).append(item)
    models = Models()

    for section, items in stored.items():
        read = models.read(section, b"\n".join(map(msgspec.json.encode, items)))
        assert without_news(msgspec.json.decode(msgspec.json.encode(read)), items)
        models.fill(section, read)

    assert len(models.jobs.in_creation_order()) == len(stored["jobs"]) > 0
    assert stored.keys() >= {name for name, items in models.capture().items() if list(items)}


def newest(record: Record) -> bool:
    return (EVENTS.versions | COMMANDS.versions)[record.type] == record.schema_version


def without_news(kept: Any, stored: Any) -> bool:  # noqa: ANN401  # JSON
    """Whether everything stored was kept as it is; fields that came later do not matter."""
    if isinstance(stored, dict):
        return all(key in kept and without_news(kept[key], value) for key, value in stored.items())
    if isinstance(stored, list):
        return len(kept) == len(stored) and all(map(without_news, kept, stored))
    return bool(kept == stored)
