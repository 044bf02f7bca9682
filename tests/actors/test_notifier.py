"""Webhooks in virtual time: three days pass at once."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.actors.world import World, running
from tests.domain.builders import LIMITS
from tests.virtual import run_virtual
from umd.actors import notifier as module
from umd.actors.notifier import Notifier, Terms
from umd.actors.subjects import Subjects
from umd.domain import commands as c
from umd.domain.job import Job, State
from umd.domain.options import BatchDownloadRequest, DownloadRequest
from umd.errors import Unanswered
from umd.log.memory import MemoryLog
from umd.storage.vault import Vault

HOOK = "https://hooks.test/in"
SCHEDULE = (0, 5, 300, 1_800)


@dataclass
class Receiver:
    """Answers as its script says, after a while, and notes what came."""

    answer: Callable[[str, int], int | None] = lambda _url, _count: 204
    seconds: dict[str, float] = field(default_factory=dict)
    got: list[tuple[str, str, float]] = field(default_factory=list)
    open: int = 0
    open_max: int = 0

    async def post(self, url: str, body: bytes, headers: dict[str, str]) -> int:
        self.open += 1
        self.open_max = max(self.open_max, self.open)
        try:
            await asyncio.sleep(self.seconds.get(url, 0))
            self.got.append((url, headers["webhook-id"], asyncio.get_running_loop().time()))
            status = self.answer(url, len(self.got))
        finally:
            self.open -= 1
        if status is None:
            raise Unanswered("nobody there")
        return status


@asynccontextmanager
async def notifying(
    root: Path, receiver: Receiver, log: MemoryLog | None = None, **terms: object
) -> AsyncIterator[World]:
    async with attending(root, receiver, log, **terms) as (world, _notifier):
        yield world


@asynccontextmanager
async def attending(
    root: Path, receiver: Receiver, log: MemoryLog | None = None, **terms: object
) -> AsyncIterator[tuple[World, Notifier]]:
    async with running(root, log=log) as world:
        said = Terms(schedule_sec=SCHEDULE, **terms)  # type: ignore[arg-type]  # the tests know them
        notifier = Notifier(
            Subjects(world.dispatcher, world.jobs, world.batches),
            world.clock,
            receiver,
            Vault(()),
            lambda: said,
        )
        world.log.follow(notifier.apply)
        await notifier.start()
        try:
            yield world, notifier
        finally:
            await notifier.stop()


async def submit(world: World, hook: str = HOOK, *events: str) -> str:
    job_id = world.clock.new_id()
    request = DownloadRequest(
        url="https://example.com/a",
        webhook_url=hook,
        webhook_events=events or ("download.completed",),  # type: ignore[arg-type]  # names of events
    )
    await world.dispatcher.execute(c.SubmitDownload(job_id, request=request, limits=LIMITS, owner="me"))
    return job_id


async def settled(world: World, job_id: str) -> Job:
    """The job, when all that it had to tell has arrived or been given up."""
    entry = await world.jobs.when(
        job_id,
        lambda job: bool(job.deliveries) and all(one.state != "pending" for one in job.deliveries),
    )
    return entry.job


def test_what_happens_is_told_once_and_recorded(tmp_path: Path) -> None:
    async def main() -> None:
        receiver = Receiver()
        async with notifying(tmp_path, receiver) as world:
            job = await settled(world, await submit(world))

            assert [(one.event, one.state, one.last_status) for one in job.deliveries] == [
                ("download.completed", "delivered", 204)
            ]
            assert [got[:2] for got in receiver.got] == [(HOOK, f"msg_{job.job_id}_1")]
            assert "webhook.delivered" in world.types(job.job_id)

    run_virtual(main())


def test_a_failing_receiver_is_tried_by_the_schedule_and_then_given_up(tmp_path: Path) -> None:
    async def main() -> None:
        receiver = Receiver(answer=lambda _url, count: (500, 302, None, 503)[count - 1])
        async with notifying(tmp_path, receiver) as world:
            job = await settled(world, await submit(world))

            [delivery] = job.deliveries
            assert (delivery.state, delivery.attempts, delivery.last_status) == ("exhausted", 4, 503)
            waits = [b[2] - a[2] for a, b in zip(receiver.got, receiver.got[1:], strict=False)]
            for wait, planned in zip(waits, SCHEDULE[1:], strict=True):
                assert planned * 0.9 <= wait <= planned * 1.1 + 0.01
            assert len({got[1] for got in receiver.got}) == 1

    run_virtual(main())


def test_a_restart_in_the_middle_forgets_none(tmp_path: Path) -> None:
    async def main() -> None:
        log = MemoryLog()
        down = Receiver(answer=lambda _url, _count: None)
        async with notifying(tmp_path, down, log) as world:
            job_id = await submit(world)
            await world.jobs.when(job_id, lambda job: any(one.attempts == 2 for one in job.deliveries))

        up = Receiver()
        async with notifying(tmp_path, up, MemoryLog(log.records)) as world:
            job = await settled(world, job_id)

        assert (len(down.got), len(up.got)) == (2, 1)
        assert (job.deliveries[0].state, job.deliveries[0].attempts) == ("delivered", 3)
        assert up.got[0][1] == down.got[0][1]

    run_virtual(main())


def test_a_batch_tells_its_end_also_after_a_restart_in_the_middle(tmp_path: Path) -> None:
    async def main() -> None:
        log = MemoryLog()
        down = Receiver(answer=lambda _url, _count: None)
        async with notifying(tmp_path, down, log) as world:
            request = BatchDownloadRequest(
                urls=("https://example.com/a", "https://example.com/b"),
                webhook_url=HOOK,
                webhook_events=("batch.completed",),
            )
            batch_id = await world.submit_batch(request)
            await world.batches.when(batch_id, lambda batch: any(one.attempts for one in batch.deliveries))

        up = Receiver()
        async with notifying(tmp_path, up, MemoryLog(log.records)) as world:
            entry = await world.batches.when(
                batch_id, lambda batch: all(one.state != "pending" for one in batch.deliveries)
            )

        [delivery] = entry.batch.deliveries
        assert (delivery.event, delivery.state, delivery.attempts) == ("batch.completed", "delivered", 2)
        assert [got[1] for got in (*down.got, *up.got)] == [f"msg_batch_{batch_id}_1"] * 2

    run_virtual(main())


def test_a_stop_cuts_an_attempt_off_and_it_is_made_again(tmp_path: Path) -> None:
    async def main() -> None:
        log = MemoryLog()
        slow = Receiver(seconds={HOOK: 60})
        async with notifying(tmp_path, slow, log) as world:
            job_id = await submit(world)
            await world.until(job_id, State.COMPLETED)
            await asyncio.sleep(1)
            assert slow.open == 1

        async with notifying(tmp_path, Receiver(), MemoryLog(log.records)) as world:
            assert (await settled(world, job_id)).deliveries[0].attempts == 1

    run_virtual(main())


def test_a_gone_receiver_and_the_service_itself_are_not_called(tmp_path: Path) -> None:
    async def main() -> None:
        receiver = Receiver(answer=lambda _url, _count: 410)
        own = frozenset({("umd.test", 443)})
        async with notifying(tmp_path, receiver, own=own) as world:
            gone = await settled(world, await submit(world, HOOK, "download.started", "download.completed"))
            itself = await settled(world, await submit(world, "https://umd.test/api/v1/download"))

            assert {one.state for one in gone.deliveries} == {"disabled"}
            assert len([got for got in receiver.got if got[0] == HOOK]) <= 2
            assert itself.deliveries[0].state == "exhausted"
            assert "own" in str(itself.deliveries[0].last_error)
            assert {got[0] for got in receiver.got} == {HOOK}

    run_virtual(main())


def test_a_bug_fails_its_own_delivery_and_no_other(tmp_path: Path) -> None:
    async def main() -> None:
        broken = "https://broken.test/in"

        def answer(url: str, _count: int) -> int:
            if url == broken:
                raise ZeroDivisionError
            return 200

        async with notifying(tmp_path, Receiver(answer=answer)) as world:
            failed, good = await submit(world, broken), await submit(world)

            assert (await settled(world, good)).deliveries[0].state == "delivered"
            [delivery] = (await settled(world, failed)).deliveries
            assert (delivery.state, delivery.attempts) == ("exhausted", len(SCHEDULE))
            assert "ZeroDivisionError" in str(delivery.last_error)

    run_virtual(main())


def test_a_slow_receiver_never_delays_another(tmp_path: Path) -> None:
    async def main() -> None:
        hang = "https://slow.test/in"
        receiver = Receiver(
            answer=lambda url, _count: None if url == hang else 200, seconds={hang: 15, HOOK: 0.01}
        )
        async with notifying(tmp_path, receiver) as world:
            slow = [await submit(world, hang) for _ in range(100)]
            for job_id in slow:
                await world.until(job_id, State.COMPLETED)
            before = asyncio.get_running_loop().time()
            quick = [await settled(world, await submit(world)) for _ in range(20)]

            assert all(job.deliveries[0].state == "delivered" for job in quick)
            assert asyncio.get_running_loop().time() - before < 5
            assert receiver.open_max <= module.OF_ONE_HOST_MAX + 1

    run_virtual(main())


def test_many_hosts_share_what_may_run_at_once(tmp_path: Path) -> None:
    async def main() -> None:
        hooks = [f"https://h{number}.test/in" for number in range(40)]
        receiver = Receiver(seconds=dict.fromkeys(hooks, 1.0))
        async with notifying(tmp_path, receiver) as world:
            jobs = [await submit(world, hook) for hook in hooks]
            for job_id in jobs:
                await settled(world, job_id)

            assert receiver.open_max <= module.AT_ONCE_MAX
            assert len(receiver.got) == 40

    run_virtual(main())


def test_what_has_yet_to_arrive_can_be_counted(tmp_path: Path) -> None:
    async def main() -> None:
        receiver = Receiver(seconds={HOOK: 60})
        async with attending(tmp_path, receiver) as (world, notifier):
            jobs = [await submit(world) for _ in range(module.OF_ONE_HOST_MAX + 2)]
            for job_id in jobs:
                await world.until(job_id, State.COMPLETED)
            await asyncio.sleep(1)  # of virtual time, in which the attempts begin

            assert (notifier.pending, notifier.in_flight) == (len(jobs), module.OF_ONE_HOST_MAX)
            for job_id in jobs:
                await settled(world, job_id)
            assert notifier.pending == 0

    run_virtual(main())
