"""The guide to the API: every command in it runs, and is answered as it says."""

import asyncio
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.receiver import Receiver
from tests.e2e.service import ROOT, WAIT_SEC, Json, Service, running
from tests.site import Site
from umd.api.routes import ROUTES
from umd.clock import SECOND, SystemClock, rfc3339

GUIDE = (ROOT / "docs" / "guide.md").read_text()
STEPS = re.findall(r"```sh\n(curl .+?)```\n+```http\n(.+?)```", GUIDE, re.DOTALL)
"""Each command, and the answer below it."""

SERVICE, MEDIA, HOOK = "http://127.0.0.1:8080", "https://media.example", "https://hooks.example/in"
LATER = "2026-12-24T18:00:00Z"
"""What stands in the guide for the service, the site, the receiver of webhooks, and a time to come."""

DAY = 86_400 * SECOND
VARIES = {
    *("size_bytes", "downloaded_bytes", "total_bytes_downloaded", "storage_used_bytes", "uptime_seconds"),
    *("duration_sec", "average_download_time", "p95_queue_latency", "requests_per_minute", "total_lines"),
    *("position", "next", "version"),
}
"""The members that are not the same in each run, or will not be in the next release."""

NAMES = re.compile(r"(?<![0-9a-z])[0-9a-z]{26}(?![0-9a-z])|\b[\w-]{43}\b")
"""Ids and tokens: those of the guide stand for those that the service gives."""
PASSING = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z|(?<=expires=)\d+|(?<=key=)\w+|\b[0-9a-f]{64}\b")
"""Times, sums and signatures: shown as they may look."""


class Reader:
    """Who follows the guide, and puts in what is called otherwise here."""

    def __init__(self, here: dict[str, str]) -> None:
        self._here = here

    def typed(self, command: str) -> str:
        """A command of the guide as it has to be typed here."""
        for there, here in self._here.items():
            command = command.replace(there, here)
        return command

    def compare(self, shown: Json, said: Json, where: str) -> None:
        """What is shown has to be said. Members, and further items, may be left out of the guide."""
        if isinstance(shown, dict):
            assert isinstance(said, dict), where
            assert shown.keys() <= said.keys(), (where, shown.keys() - said.keys())
            for name, value in shown.items():
                self.compare(value, said[name], f"{where}/{name}")
        elif isinstance(shown, list):
            assert isinstance(said, list), where
            assert len(said) >= len(shown), where
            for number, value in enumerate(shown):
                self.compare(value, said[number], f"{where}/{number}")
        elif where.rpartition("/")[2] in VARIES:
            assert isinstance(said, str) == isinstance(shown, str), where
        elif isinstance(shown, str) and isinstance(said, str):
            self._learn(shown, said)
            assert self._read(said) == PASSING.sub("…", shown), where
        else:
            assert said == shown, where

    def missing(self, shown: str, said: str) -> str | None:
        """The first line not said in its turn. `…` stands for anything, and lines may be left out."""
        lines = iter(self._read(said).splitlines())
        for line in PASSING.sub("…", shown).splitlines():
            pattern = ".*".join(re.escape(part) for part in line.split("…"))
            if not any(re.fullmatch(pattern, one) for one in lines):
                return line
        return None

    def _read(self, said: str) -> str:
        """What was answered here in the words of the guide."""
        for there, here in self._here.items():
            said = said.replace(here, there)
        return PASSING.sub("…", said)

    def _learn(self, shown: str, said: str) -> None:
        """Take note of what the guide has a name for, and the service has now given another one."""
        if NAMES.sub("", self._read(said)) == NAMES.sub("", PASSING.sub("…", shown)):
            self._here.update(zip(NAMES.findall(shown), NAMES.findall(said), strict=True))


async def ask(command: str, enough: Callable[[str], bool]) -> str:
    """What curl prints, up to its end or until that is enough: a stream may have no end."""
    process = await asyncio.create_subprocess_exec(
        *("sh", "-c", "exec " + command.replace("curl ", "curl -sS --noproxy '*' ", 1)),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    said = b""
    async with asyncio.timeout(WAIT_SEC):
        while not enough(said.decode(errors="replace")) and (part := await process.stdout.read(2**16)):
            said += part
        if process.returncode is None:
            process.terminate()
        await process.communicate()
    return said.decode(errors="replace").replace("\r\n", "\n")


def asked(command: str) -> Iterator[str]:
    """The routes that a command goes to."""
    method = re.search(r" -X (\w+)", command)
    has_body = " -d " in command and " -iG " not in command
    wanted = method[1] if method else "POST" if has_body else "GET"
    path = re.search(re.escape(SERVICE) + r"([^\s'\"?]+)", command)
    assert path, command
    for route in ROUTES:
        pattern = re.sub(r"\{\w+(:[^}]*)?\}", r".+" if "{path" in route.path else r"[^/]+", route.path)
        if wanted in route.methods and re.fullmatch(pattern, path[1]):
            yield f"{wanted} {route.path}"


async def test_the_guide_goes_to_every_route() -> None:
    shown = {route for command, _ in STEPS for route in asked(command)}
    routes = {f"{method} {route.path}" for route in ROUTES for method in route.methods if method != "HEAD"}

    assert routes - shown == set()
    assert len(re.findall(r"```sh\ncurl", GUIDE)) == len(STEPS)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed: nobody runs its commands")
async def test_what_the_guide_shows_is_what_comes(tmp_path: Path, site: Site) -> None:
    async with Receiver() as receiver, running(tmp_path, drain_sec=0) as service:
        base, media = f"http://127.0.0.1:{service.port}", site.url("").rstrip("/")
        later = rfc3339(SystemClock().now() + DAY)
        reader = Reader({SERVICE: base, MEDIA: media, HOOK: receiver.url, LATER: later})
        for command, answer in STEPS:
            if "/deliveries" in command:
                await delivered(service, "batch_id" if "/batch/" in command else "request_id")
            await follow(reader, command, answer)


async def follow(reader: Reader, command: str, answer: str) -> None:
    """One step of the guide."""
    head, _, body = answer.partition("\n\n")
    is_json = body.startswith("{")
    endless = "/api/v1/events" in command
    said = await ask(reader.typed(command), lambda so_far: endless and not reader.missing(answer, so_far))
    said_head, _, said_body = said.partition("\n\n")
    assert said_head.splitlines()[0].strip() == head.splitlines()[0], (command, said)
    if is_json:
        reader.compare(json.loads(body), json.loads(said_body), command)
    assert reader.missing(head, said_head) is None, (command, said_head)
    assert is_json or reader.missing(body, said_body) is None, (command, said_body)


async def delivered(service: Service, whose: str) -> None:
    """Wait until a webhook of a download, or of a batch, has arrived, and that is in the log."""
    async with service.events("events?types=webhook.delivered", last=0) as events:
        async for event in events:
            if event.type == "webhook.delivered" and whose in event.data:
                return
