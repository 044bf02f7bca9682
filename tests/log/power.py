"""What a power cut may leave of a log: its writes are recorded with strace(1), and cut at any point.

What was synced is there. Of what was written since, each write may be there, missing, or torn at a sector, in
any combination; a file's length and its name follow what was written to it.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random  # noqa: TID251  # seeded by the test
from typing import NamedTuple

SECTOR_BYTES = 512
FILES = ("log.sqlite3", "log.sqlite3-wal", "log.mark")
"""What a cut leaves; the index of the WAL is made anew, and a lock ends with its process."""

CALLS = "pwrite64,write,fsync,fdatasync,ftruncate,unlink"
_LINE = re.compile(
    r"^\d+ +(?:<\.\.\. )?(?P<call>\w+)(?: resumed>|\()(?P<arguments>.*?)"
    r"(?P<end> <unfinished \.\.\.>|\) += +(?P<result>-?\d+).*)$"
)
_WRITE = re.compile(r'^(?P<fd>\d+)<(?P<path>[^>]*)>, "(?P<data>[^"]*)"(?:, \d+(?:, (?P<offset>\d+))?)?')


class Call(NamedTuple):
    """A system call that has ended. `name` is the file's in the log's directory, or `ack`."""

    call: str
    name: str
    data: bytes = b""
    offset: int = 0


def record(directory: Path, rounds: int, synchronous: str = "FULL") -> list[Call]:
    """The calls of a process that appends, in the order in which they ended."""
    trace = directory / "trace"
    options = ("-f", "-y", "-xx", "-s", "1000000", "-e", f"trace={CALLS}", "-o", str(trace))
    program = (sys.executable, "-m", "tests.log.acked", str(directory / "log"), str(rounds), synchronous)
    subprocess.run(("strace", *options, *program), check=True, stdout=subprocess.DEVNULL)  # noqa: S607
    return list(_calls(trace.read_text("latin-1").splitlines()))


def _calls(lines: list[str]) -> Iterator[Call]:
    begun: dict[str, str] = {}
    for line in lines:
        found = _LINE.match(line)
        if found is None:
            continue
        process = line.split(" ", 1)[0]
        if found["end"].startswith(" <unfinished"):
            begun[process] = found["arguments"]
            continue
        arguments = begun.pop(process, "") + found["arguments"] if "resumed>" in line else found["arguments"]
        call = _call(found["call"], arguments, int(found["result"]))
        if call is not None:
            yield call


def _call(call: str, arguments: str, result: int) -> Call | None:
    if call == "write" and arguments.startswith("1<"):
        written = _WRITE.match(arguments)
        assert written is not None, arguments
        return Call("ack", "ack", _bytes(written["data"]))
    name = _name(arguments)
    if name not in FILES or result < 0:
        return None
    if call in ("pwrite64", "write"):
        written = _WRITE.match(arguments)
        assert written is not None, arguments[:100]
        return Call("write", name, _bytes(written["data"])[:result], int(written["offset"] or 0))
    if call == "ftruncate":
        return Call("truncate", name, offset=int(arguments.rpartition(", ")[2]))
    return Call("unlink" if call == "unlink" else "sync", name)


def _name(arguments: str) -> str:
    path = re.search(r'[<"]([^>"]*)[>"]', arguments)
    text = path[1] if path else ""
    return (_bytes(text).decode() if text.startswith("\\x") else text).rpartition("/")[2]


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


def acked(calls: list[Call]) -> list[tuple[str, int]]:
    """The stream and the position of each append that was answered."""
    lines = b"".join(call.data for call in calls if call.call == "ack").decode().splitlines()
    return [(line.split()[0], int(line.split()[1])) for line in lines]


def cut(calls: list[Call], directory: Path, random: Random) -> None:
    """Write into a directory what a power cut behind these calls may leave."""
    directory.mkdir()
    for name in FILES:
        own = [call for call in calls if call.name == name]
        if not own or own[-1].call == "unlink":
            continue
        synced = max((index for index, call in enumerate(own) if call.call == "sync"), default=-1)
        content = bytearray()
        for call in own[: synced + 1]:
            _apply(content, call)
        loose = own[synced + 1 :]
        random.shuffle(loose)
        for call in loose:
            _apply_perhaps(content, call, random)
        (directory / name).write_bytes(content)


def _apply_perhaps(content: bytearray, call: Call, random: Random) -> None:
    fate = random.choice(("there", "missing", "torn"))
    if fate == "there":
        _apply(content, call)
    elif fate == "torn" and call.call == "write":
        sectors = random.randrange(len(call.data) // SECTOR_BYTES + 1)
        _apply(content, call._replace(data=call.data[: sectors * SECTOR_BYTES]))


def _apply(content: bytearray, call: Call) -> None:
    if call.call == "write":
        missing = call.offset - len(content)
        content.extend(bytes(max(0, missing)))
        content[call.offset : call.offset + len(call.data)] = call.data
    elif call.call == "truncate":
        del content[call.offset :]
        content.extend(bytes(call.offset - len(content)))
    elif call.call == "unlink":
        content.clear()
