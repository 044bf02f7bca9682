"""An engine at work on the local site, and what a test wants to know of its attempts."""

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec
import psutil
import pytest

from tests.conftest import COVERAGE
from tests.site import PLUGINS, Site
from tests.site.api import session_jar
from umd.domain.addresses import Address
from umd.domain.cookies import Copy
from umd.domain.destinations import rules_of
from umd.domain.events import Fault, Metadata, Progress
from umd.domain.options import DownloadRequest
from umd.egress.dialler import dial
from umd.egress.proxy import Egress
from umd.egress.resolver import SystemResolver
from umd.engine import ffmpeg, runner
from umd.engine.config import EngineConfig, configure, scratch_folder
from umd.engine.ffmpeg import Tools
from umd.engine.notices import Notice
from umd.engine.protocol import (
    AnyReport,
    Assignment,
    Attempt,
    Ended,
    Entered,
    Extracted,
    Finished,
    Said,
    Tick,
)
from umd.engine.sandbox import Level
from umd.errors import NotFound
from umd.settings import Settings

ROOT = Path(__file__).parent.parent.parent
WAIT_SEC = 60.0

R = TypeVar("R")


class Run:
    """An attempt whose reports are taken as they come."""

    def __init__(self, attempt: Attempt, folder: Path) -> None:
        self.attempt = attempt
        self.folder = folder
        self.reports: list[AnyReport] = []
        self.at: list[float] = []
        self._changed = asyncio.Event()
        self.following = asyncio.create_task(self._follow())

    async def ended(self) -> Ended:
        """When the stream of reports and the child have ended."""
        async with asyncio.timeout(WAIT_SEC):
            await self.following
            return await self.attempt.wait()

    async def told(self, look: Callable[[AnyReport], bool]) -> AnyReport:
        """The first report of this kind, as soon as it comes."""
        async with asyncio.timeout(WAIT_SEC):
            while True:
                found = next((one for one in self.reports if look(one)), None)
                if found is not None:
                    return found
                assert not self.following.done(), f"it ended without: {self.reports[-3:]}"
                self._changed.clear()
                await self._changed.wait()

    async def entered(self, phase: str, step: str | None = None) -> None:
        await self.told(
            lambda one: isinstance(one, Entered) and one.progress.phase == phase and one.step == step
        )

    def of(self, kind: type[R]) -> list[R]:
        return [one for one in self.reports if isinstance(one, kind)]

    @property
    def finished(self) -> Finished:
        assert isinstance(self.reports[-1], Finished), self.reports[-3:]
        return self.reports[-1]

    @property
    def fault(self) -> Fault:
        assert self.finished.fault is not None, self.finished
        return self.finished.fault

    @property
    def main(self) -> Path:
        assert self.finished.main is not None, self.finished
        return self.folder / self.finished.main

    @property
    def metadata(self) -> Metadata:
        return self.of(Extracted)[0].metadata

    @property
    def progress(self) -> list[Progress]:
        return [one.progress for one in self.reports if isinstance(one, Tick | Entered)]

    @property
    def phases(self) -> list[tuple[str, str | None]]:
        return [(one.progress.phase, one.step) for one in self.of(Entered)]

    @property
    def lines(self) -> list[str]:
        return [one.message for one in self.of(Said)]

    @property
    def files(self) -> set[str]:
        return {path.name for path in self.folder.iterdir() if not path.name.startswith(".")}

    async def _follow(self) -> None:
        try:
            async for report in self.attempt.reports():
                self.reports.append(report)
                self.at.append(asyncio.get_running_loop().time())
                self._changed.set()
        finally:
            self._changed.set()


@contextlib.contextmanager
def unmeasured() -> Iterator[None]:
    """No coverage of the processes that are started meanwhile: to measure them takes half as long again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(COVERAGE, raising=False)
        yield


class Rig:
    """An engine over a data directory of its own. Whatever a test leaves running is ended with it."""

    def __init__(
        self,
        site: Site,
        root: Path,
        mode: str,
        tools: Tools | None = None,
        *,
        sandbox: Level = "netns",
        sandbox_least: Level = "proxy",
        measured: bool = False,
        **settings: Any,  # noqa: ANN401 - any setting
    ) -> None:
        self.site = site
        self.root = root
        self.mode = mode
        self.notices: list[Notice] = []
        self.settings = Settings(
            data_dir=str(root), ytdlp_plugin_dir=str(PLUGINS), allow_addresses="127.0.0.1/32", **settings
        )
        self.tools = tools or ffmpeg.find(scratch_folder(self.settings))
        self._measured = measured and COVERAGE in os.environ
        config = configure(self.settings, self.tools)
        self.config = msgspec.structs.replace(
            config,
            sandbox=sandbox,
            sandbox_least=sandbox_least,
            writable=(str(ROOT),) if self._measured else (),
        )
        self.ports: set[int] = set()
        """Of this process, from which a connection was made for a child."""
        self.egress = Egress(rules_of(self.settings), SystemResolver(), dial=self._dial)
        self.engine = runner.create(self.config, mode, self.egress, self._note)
        self._number = 0
        self._noticed = asyncio.Event()

    async def __aenter__(self) -> Self:
        with contextlib.nullcontext() if self._measured else unmeasured():
            await self.engine.start()
            await self.engine.warm()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.engine.stop()
        await self.egress.stop()
        assert marked(self.config) == []

    async def _dial(self, addresses: Sequence[Address], port: int) -> socket.socket:
        connection = await dial(addresses, port)
        self.ports.add(connection.getsockname()[1])
        return connection

    def _note(self, notice: Notice) -> None:
        self.notices.append(notice)
        self._noticed.set()

    def folder(self) -> Path:
        self._number += 1
        folder = self.root / "temp" / f"job-{self._number}"
        folder.mkdir(parents=True)
        return folder

    async def begin(self, path: str, **options: Any) -> Run:  # noqa: ANN401 - any option
        """Start an attempt, in `folder` if named; without `embed_metadata`, unless a test wants it."""
        folder: Path = options.pop("folder", None) or self.folder()
        cookies: str = options.pop("cookies", "")
        url = path if path.startswith("http") else self.site.url(path)
        request = DownloadRequest(url=url, **{"embed_metadata": False, **options})
        assignment = Assignment(folder.name, 1, url, request, str(folder), cookies)
        return Run(await self.engine.run(assignment), folder)

    async def download(self, path: str, **options: Any) -> Run:  # noqa: ANN401 - any option
        """Start an attempt and wait for its end."""
        run = await self.begin(path, **options)
        await run.ended()
        return run

    def probe(self, path: Path) -> Any:  # noqa: ANN401 - ffprobe's JSON
        """What ffprobe finds in a file."""
        command = [str(self.tools.ffprobe), "-v", "error", "-show_format", "-show_streams", "-show_chapters"]
        done = subprocess.run([*command, "-of", "json", str(path)], capture_output=True, check=True)
        return json.loads(done.stdout)

    def subtitle(self, path: Path, number: int) -> str:
        """The text of an embedded subtitle, counted from 0."""
        command = [str(self.tools.ffmpeg), "-v", "error", "-i", str(path), "-map", f"0:s:{number}"]
        done = subprocess.run([*command, "-f", "srt", "-"], capture_output=True, check=True)
        return done.stdout.decode()

    def codecs(self, path: Path) -> set[str]:
        return {stream["codec_name"] for stream in self.probe(path)["streams"]}

    async def happened(self, what: str) -> Notice:
        """The first notice of this kind, as soon as it comes."""
        async with asyncio.timeout(WAIT_SEC):
            while not self.noticed(what):
                self._noticed.clear()
                await self._noticed.wait()
        return self.noticed(what)[0]

    def noticed(self, what: str) -> list[Notice]:
        return [notice for notice in self.notices if notice.what == what]


def marked(config: EngineConfig) -> list[int]:
    """The processes of a run that are alive, wherever they are, by what an operator can see of them."""
    return [process.pid for process in psutil.process_iter() if _bears(process, config.mark)]


def _bears(process: psutil.Process, mark: str) -> bool:
    with contextlib.suppress(psutil.Error):
        found = process.environ().get("UMD_ENGINE", "")
        return bool(found == mark or found.startswith(mark + ".")) and process.status() != "zombie"
    return False


def is_alive(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return bool(psutil.Process(pid).status() != "zombie")
    return False


class Calls:
    """A named pipe in a job's folder, by which the programs of `stubborn_tools` say that they have begun."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "calls"
        os.mkfifo(self._path)
        self._pids: dict[str, int] = {}

    async def pid_of(self, name: str) -> int:
        """The process id of `ffmpeg` or of the `daemon` that it made, as soon as it calls."""
        # Open for writing as well: without a writer it would be at its end.
        pipe = os.open(self._path, os.O_RDWR | os.O_NONBLOCK)
        try:
            async with asyncio.timeout(WAIT_SEC):
                while name not in self._pids:
                    await _readable(pipe)
                    for line in os.read(pipe, 4_096).decode().splitlines():
                        self._pids[line.split()[0]] = int(line.split()[1])
        finally:
            os.close(pipe)
        return self._pids[name]


class OneJar:
    """The one jar that its owner has, with the site's session; notes what came back."""

    def __init__(self, owner: str, *, hand_back: bool = False) -> None:
        self.back: list[str] = []
        self._owner = owner
        self._hand_back = hand_back

    async def copy(self, cookies_id: str | None, owner: str) -> Copy:
        if cookies_id is None:
            return Copy()
        if (cookies_id, owner) != ("mine", self._owner):
            raise NotFound("cookies", cookies_id)
        return Copy(session_jar(), self._hand_back)

    async def put_back(self, cookies_id: str | None, owner: str, netscape: str) -> None:
        assert (cookies_id, owner) == ("mine", self._owner)
        self.back.append(netscape)


async def _readable(descriptor: int) -> None:
    loop, readable = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(descriptor, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(descriptor)


def stubborn_tools(real: Tools, folder: Path) -> Tools:
    """An ffmpeg that says its version, but otherwise hangs, deaf to signals, with a child outside its group.

    Both say by way of `Calls` that they have begun.
    """
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "ffmpeg"
    program.write_text(_STUBBORN.format(python=sys.executable, real=real.ffmpeg))
    program.chmod(0o755)
    (folder / "ffprobe").symlink_to(str(real.ffprobe))
    return Tools(str(folder), str(program), str(real.ffprobe), "stubborn", real.ffprobe_version)


def talking_tools(real: Tools, folder: Path) -> Tools:
    """An ffmpeg that writes its arguments into `argv.txt` where it works, then does what it is told."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "ffmpeg"
    program.write_text(_TALKING.format(python=sys.executable, real=real.ffmpeg))
    program.chmod(0o755)
    (folder / "ffprobe").symlink_to(str(real.ffprobe))
    return Tools(str(folder), str(program), str(real.ffprobe), "talking", real.ffprobe_version)


_TALKING = """#!{python}
import os, sys
with open("argv.txt", "a") as file:
    file.write(" ".join(sys.argv) + "\\n")
os.execv({real!r}, sys.argv)
"""

_STUBBORN = """#!{python}
import os, signal, sys
if "-bsfs" in sys.argv or "-version" in sys.argv:
    os.execv({real!r}, sys.argv)
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
name = "ffmpeg"
if os.fork() == 0:
    os.setsid()
    name = "daemon"
    if os.fork():
        os._exit(0)
with open("calls", "w") as calls:
    calls.write(f"{{name}} {{os.getpid()}}\\n")
while True:
    signal.pause()
"""
