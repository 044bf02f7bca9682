"""The service's hold on one zygote process, and on each child that was forked from it."""

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import AsyncIterator, Callable, Sequence

import msgspec

from umd.engine import child, control, leftovers
from umd.engine.awake import awake
from umd.engine.config import EngineConfig
from umd.engine.inbox import Inbox
from umd.engine.protocol import Assignment, Ended
from umd.engine.sandbox import Confinement
from umd.errors import EngineError

READY_SEC_MAX = 60.0
FORK_SEC_MAX = 10.0
EXIT_SEC_MAX = 3.0
GONE_SEC = 1.0
"""How long the zygote may take to tell that a killed child is gone."""

LOOK_SEC = 0.01
"""How often the processes of a child are looked for, once its zygote is gone and cannot tell."""


class LinkLost(EngineError):
    """The zygote is gone."""


class ForkedChild:
    """The leash of a forked child. Implements `umd.engine.attempt.Leash`."""

    def __init__(self, link: "Link", number: int, life: int, inbox: Inbox) -> None:
        loop = asyncio.get_running_loop()
        self.number = number
        self.ended: asyncio.Future[Ended] = loop.create_future()
        self.started: asyncio.Future[int] = loop.create_future()
        # Whoever waited for it may have been cancelled meanwhile.
        self.started.add_done_callback(lambda future: future.cancelled() or future.exception())
        self._link = link
        self._inbox = inbox
        self._life: int | None = life
        self._killed: asyncio.Future[None] = loop.create_future()
        self._watching: asyncio.Task[None] | None = None

    async def signal(self, signum: int) -> None:
        """By way of the zygote, which alone knows that the number is still this child's."""
        if self._link.alive:
            await self._link.send(control.Signal(self.number, signum))

    def kill(self) -> None:
        """The kernel kills the whole group when this end closes, whatever state it and the zygote are in."""
        if self._life is not None:
            os.close(self._life)
            self._life = None
            self._killed.set_result(None)
            self._watch()

    def end(self, ended: Ended) -> None:
        """No process is left."""
        if not self.ended.done():
            self.ended.set_result(ended)
        self.kill()

    def refuse(self, error: EngineError) -> None:
        """There will be no process."""
        if not self.started.done():
            self.started.set_exception(error)

    def outlive(self) -> None:
        """The zygote is gone. A child that runs goes on, and its end is seen by other signs."""
        self.refuse(LinkLost("The zygote ended before the child began."))
        self._watch()

    def _watch(self) -> None:
        """See to it that the end is noticed without the zygote's word."""
        began = self.started.done() and self.started.exception() is None
        if began and self._watching is None and not self.ended.done():
            self._watching = asyncio.create_task(self._until_gone(self.started.result()))

    async def _until_gone(self, pid: int) -> None:
        """Wait until it ends by itself, which ends its report pipe, or is killed; then empty its group."""
        await asyncio.wait({self._inbox.ended, self._killed}, return_when=asyncio.FIRST_COMPLETED)
        if self._link.alive:
            # It will say so, with the exit status, unless something is wrong with it as well.
            await asyncio.wait({self.ended}, timeout=GONE_SEC)
        self.kill()
        while not self.ended.done():
            if not await asyncio.to_thread(leftovers.kill_group, self._link.config.mark, pid):
                self.end(Ended(_reaped(pid)))
            await asyncio.sleep(LOOK_SEC)


class Link:
    """One zygote. `on_lost` is called once, if it ends without having been closed."""

    def __init__(self, config: EngineConfig, on_lost: Callable[[], None]) -> None:
        self.config = config
        self.alive = False
        self.ytdlp_version = ""
        self.pid: int | None = None
        self._on_lost = on_lost
        self._process: asyncio.subprocess.Process | None = None
        self._control, self._far_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.setblocking(False)
        loop = asyncio.get_running_loop()
        self._confined: asyncio.Future[Confinement] = loop.create_future()
        self._ready: asyncio.Future[control.Ready] = loop.create_future()
        self._children: dict[int, ForkedChild] = {}
        self._left = asyncio.Event()
        """Set whenever a child has gone."""
        self._sending = asyncio.Lock()

    async def open(self) -> Confinement:
        """Start the zygote; what its children will be shut off by. Raises `EngineError`."""
        async with self._starting():
            await self._start()
            await self.send(control.Setup(self.config))
            return await self._confined

    async def warm(self) -> None:
        """Wait until children can be forked. Raises `EngineError`."""
        async with self._starting():
            self.ytdlp_version = (await self._ready).ytdlp_version

    @contextlib.asynccontextmanager
    async def _starting(self) -> AsyncIterator[None]:
        """Whatever keeps the zygote from starting ends it."""
        try:
            async with awake(READY_SEC_MAX):
                yield
        except BaseException as error:
            await self.close()
            if isinstance(error, OSError | TimeoutError | EngineError):
                kind = LinkLost if isinstance(error, LinkLost) else EngineError
                raise kind(f"The zygote did not start: {error}") from error
            raise

    async def fork(self, assignment: Assignment, forked: ForkedChild, ends: child.Ends) -> None:
        """Have a child forked, and give it its ends. Raises `EngineError`; whoever asked then kills it."""
        self._children[forked.number] = forked
        try:
            order = control.Fork(forked.number, msgspec.Raw(msgspec.json.encode(assignment)))
            await self.send(order, msgspec.structs.astuple(ends))
            async with awake(FORK_SEC_MAX):
                await asyncio.shield(forked.started)
        except TimeoutError as error:
            if self._process is not None:
                self._process.kill()
            raise EngineError("The zygote does not answer, and was ended.") from error

    async def send(self, message: control.Message, descriptors: Sequence[int] = ()) -> None:
        """Send a message, when there is room for it. Raises `LinkLost`."""
        async with self._sending:
            while True:
                try:
                    return control.send(self._control, message, descriptors)
                except BlockingIOError:
                    await self._writable()
                except OSError as error:
                    raise LinkLost("The zygote is gone.") from error

    async def retire(self) -> None:
        """End the zygote when its last child has ended."""
        while self._children:
            self._left.clear()
            await self._left.wait()
        await self.close()

    async def close(self) -> None:
        """End the zygote, and with it all children of its own; complete on return, and may be repeated."""
        self.alive = False
        self._hang_up()
        if self._process is not None:
            try:
                async with asyncio.timeout(EXIT_SEC_MAX):
                    await self._process.wait()
            except TimeoutError:
                self._process.kill()
                await self._process.wait()

    async def _start(self) -> None:
        try:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "umd.engine.zygote"),
                stdin=self._far_end.fileno(),
                stdout=asyncio.subprocess.DEVNULL,
                env=child.worker_environment(self.config),
                cwd=self.config.scratch,
                start_new_session=True,
            )
        finally:
            self._far_end.close()
        self.pid = self._process.pid
        self.alive = True
        asyncio.get_running_loop().add_reader(self._control, self._take)

    async def _writable(self) -> None:
        loop, writable = asyncio.get_running_loop(), asyncio.Event()
        loop.add_writer(self._control, writable.set)
        try:
            await writable.wait()
        finally:
            loop.remove_writer(self._control)

    def _take(self) -> None:
        try:
            news = control.receive_news(self._control)
        except BlockingIOError:
            return
        except OSError:
            news = None
        match news:
            case control.Confined(confinement):
                self._confined.set_result(confinement)
            case control.Ready() as ready:
                self._ready.set_result(ready)
            case control.NotReady(reason):
                self.alive = False
                self._give_up(EngineError(reason))
            case control.Forked(number, pid):
                self._forked(number, pid)
            case control.NotForked(number, reason):
                self._release(number).refuse(EngineError(f"No process can be made: {reason}"))
            case control.Gone(number, status, cpu_sec):
                self._release(number).end(Ended(status, cpu_sec))
            case None:
                self._lose()

    def _release(self, number: int) -> ForkedChild:
        self._left.set()
        return self._children.pop(number)

    def _forked(self, number: int, pid: int) -> None:
        started = self._children[number].started
        if not started.done():
            started.set_result(pid)

    def _lose(self) -> None:
        """The zygote has closed its end, which is to say that it is dead."""
        was_alive, self.alive = self.alive, False
        self._hang_up()
        if not self._ready.done():
            self._give_up(LinkLost("it ended while it warmed up."))
        elif was_alive:
            self._on_lost()

    def _give_up(self, error: EngineError) -> None:
        for awaited in (self._confined, self._ready):
            if not awaited.done():
                awaited.set_exception(error)
                awaited.exception()  # that nobody waits for it is no fault

    def _hang_up(self) -> None:
        if self._control.fileno() < 0:
            return
        asyncio.get_running_loop().remove_reader(self._control)
        self._control.close()
        children, self._children = self._children, {}
        self._left.set()
        for one in children.values():
            one.outlive()


def _reaped(pid: int) -> int | None:
    """The exit status, where orphans come to the service itself (as process 1 of a container)."""
    try:
        found, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return None
    return os.waitstatus_to_exitcode(status) if found else None
