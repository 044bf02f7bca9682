"""Delivers webhooks: what the folds of jobs and batches say is due, until it has arrived or is given up.

Every attempt is recorded before the next is thought of, so a restart forgets none. An attempt whose record
a crash has eaten is made again under the same `webhook-id`.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from typing import Protocol

import msgspec
import structlog
from msgspec.structs import replace

from umd.actors.actor import Actor
from umd.actors.subjects import Outcome, Subject, Subjects
from umd.clock import SECOND, Clock, Micros, instant
from umd.domain import deliveries, webhooks
from umd.domain.deliveries import Delivery, DeliveryState
from umd.errors import StorageFull, Unanswered, Unsealable
from umd.log import Fact
from umd.storage.vault import Vault

AT_ONCE_MAX = 32
OF_ONE_HOST_MAX = 4
SILENT_MAX = 10_000
"""Of how many hosts it is remembered that they did not answer, and get one attempt at a time."""

STOP_WAIT_SEC = 3.0
SPACE_WAIT_SEC = 1.0
GONE = 410

Key = tuple[str, int]
"""The stream of a job or a batch, and the number of its delivery."""

_log = structlog.get_logger(__name__)


class Sender(Protocol):
    """The way out. One attempt: returns the status of the answer, or raises `Unanswered`."""

    async def post(self, url: str, body: bytes, headers: dict[str, str]) -> int: ...


class Terms(msgspec.Struct, frozen=True):
    """What the settings say. `own` are the origins of the service itself, which it does not call."""

    schedule_sec: tuple[int, ...]
    secrets: tuple[str, ...] = ()
    base_url: str = ""
    own: frozenset[tuple[str, int]] = frozenset()


class Notifier(Actor[None]):
    """Makes the attempts: some at once, few to one host, and one at a time to a host that did not answer.

    It follows the log, and what it knows is a fold of it; a change wakes it.
    """

    def __init__(
        self,
        subjects: Subjects,
        clock: Clock,
        sender: Sender,
        vault: Vault,
        terms: Callable[[], Terms],
    ) -> None:
        super().__init__("notifier")
        self._subjects = subjects
        self._clock = clock
        self._sender = sender
        self._vault = vault
        self._terms = terms
        self._due: list[tuple[Micros, Key]] = []
        self._lanes: dict[str, deque[Key]] = {}
        self._held: set[Key] = set()
        self._running: Counter[str] = Counter()
        self._silent: set[str] = set()
        self._changed = asyncio.Event()
        self._closed = False

    def apply(self, facts: Sequence[Fact]) -> None:
        """Follow the log: take note of what is due of the jobs and batches that were touched."""
        for stream in {fact.record.stream for fact in facts}:
            subject = self._subjects.get(stream)
            if subject is not None:
                self._note(subject)

    @property
    def pending(self) -> int:
        """Deliveries that have yet to arrive or to be given up."""
        keys = {key for _, key in self._due} | self._held
        return sum(
            _is_pending(self._subjects.require(stream).deliveries[number - 1]) for stream, number in keys
        )

    @property
    def in_flight(self) -> int:
        """Attempts that are being made."""
        return self._running.total()

    async def run(self) -> None:
        """Wait until a delivery is due, start an attempt, again."""
        self._due, self._lanes, self._held, self._running = [], {}, set(), Counter()
        for subject in self._subjects.all():
            self._note(subject)
        async with asyncio.TaskGroup() as tasks:
            while not self._closed:
                self._changed.clear()
                self._admit_due()
                for host, key in self._admissible():
                    tasks.create_task(self._carry(host, key), name=f"{self.name}/{host}")
                await self._wait()

    async def stop(self) -> None:
        """Start no more, let those under way end for a moment, and cut off the rest: they are made again."""
        self._closed = True
        self._changed.set()
        if self._task is not None and not self._task.done():
            await asyncio.wait([self._task], timeout=STOP_WAIT_SEC)
        await super().stop()

    # What is due

    def _note(self, subject: Subject) -> None:
        for delivery in deliveries.due(subject.deliveries):
            heappush(self._due, (self._due_at(subject, delivery), (subject.stream, delivery.number)))
            self._changed.set()

    def _due_at(self, subject: Subject, delivery: Delivery) -> Micros:
        if delivery.tries:
            return delivery.due_at
        first = deliveries.wait(_id(subject, delivery), 0, self._terms().schedule_sec) or 0
        return delivery.due_at + first

    def _admit_due(self) -> None:
        """Move what is due into the lane of its host; what is there already, or is done, falls out."""
        now = self._clock.now()
        while self._due and self._due[0][0] <= now:
            due_at, key = heappop(self._due)
            subject = self._subjects.require(key[0])
            delivery = subject.deliveries[key[1] - 1]
            if key in self._held or not _is_pending(delivery) or self._due_at(subject, delivery) != due_at:
                continue
            self._held.add(key)
            host, _ = webhooks.origin(subject.options.webhook_url or "")
            self._lanes.setdefault(host, deque()).append(key)

    def _admissible(self) -> list[tuple[str, Key]]:
        """What may start now: first for the hosts that least is under way to."""
        found: list[tuple[str, Key]] = []
        free = AT_ONCE_MAX - self._running.total()
        while free > len(found):
            ready = [host for host in self._lanes if self._running[host] < self._room(host)]
            if not ready:
                break
            ready.sort(key=lambda host: self._running[host])
            for host in ready[: free - len(found)]:
                found.append((host, self._lanes[host].popleft()))
                self._running[host] += 1
                if not self._lanes[host]:
                    del self._lanes[host]
        return found

    def _room(self, host: str) -> int:
        return 1 if host in self._silent else OF_ONE_HOST_MAX

    async def _wait(self) -> None:
        timeout = None if not self._due else max(0, self._due[0][0] - self._clock.now()) / SECOND
        try:
            async with asyncio.timeout(timeout):
                await self._changed.wait()
        except TimeoutError:
            return

    # One attempt

    async def _carry(self, host: str, key: Key) -> None:
        try:
            await self._attempt(host, *key)
        finally:
            self._held.discard(key)
            self._running[host] -= 1
            if not self._running[host]:
                del self._running[host]
            self._note(self._subjects.require(key[0]))
            self._changed.set()

    async def _attempt(self, host: str, stream: str, number: int) -> None:
        subject = self._subjects.require(stream)
        delivery = subject.deliveries[number - 1]
        if not _is_pending(delivery):
            return
        began = asyncio.get_running_loop().time()
        status, reason = None, ""
        try:
            status = await self._post(subject, delivery)
            self._silent.discard(host)
        except (Unanswered, Unsealable) as failure:
            reason = str(failure)
            if isinstance(failure, Unanswered) and len(self._silent) < SILENT_MAX:
                self._silent.add(host)
        except Exception as error:  # noqa: BLE001  # a bug fails this delivery and no other
            _log.exception("webhook.bug", stream=stream)
            reason = f"umd failed on this webhook: {type(error).__name__}."
        took_ms = round((asyncio.get_running_loop().time() - began) * 1_000)
        await self._record(subject, self._outcome(subject, delivery, status, reason, took_ms))
        _log.info("webhook.attempt", stream=stream, event_type=delivery.event, status=status, reason=reason)

    async def _post(self, subject: Subject, delivery: Delivery) -> int:
        terms, url = self._terms(), subject.options.webhook_url or ""
        if webhooks.origin(url) in terms.own:
            raise Unanswered("The address is this service's own.")
        sealed = subject.options.webhook_secret
        own = None if sealed is None else (self._vault.open_text(sealed, "webhook", subject.owner),)
        body = subject.body(delivery, terms.base_url)
        signed = webhooks.headers(_id(subject, delivery), self._clock.now(), body, own or terms.secrets)
        return await self._sender.post(url, body, signed)

    def _outcome(
        self, subject: Subject, delivery: Delivery, status: int | None, reason: str, took_ms: int
    ) -> Outcome:
        outcome = Outcome(delivery.number, delivery.attempts + 1, status, took_ms)
        if status is not None and 200 <= status < 300:  # noqa: PLR2004  # what HTTP calls successful
            return outcome
        wait = deliveries.wait(_id(subject, delivery), delivery.tries + 1, self._terms().schedule_sec)
        return replace(
            outcome,
            reason=reason or f"The receiver answered {status}.",
            retry_at=None if wait is None else instant(self._clock.now() + wait),
            gone=status == GONE,
        )

    async def _record(self, subject: Subject, outcome: Outcome) -> None:
        """Record what came of an attempt; while the volume is full, wait for space."""
        while True:
            try:
                await self._subjects.record(subject, outcome)
                return
            except StorageFull:
                await asyncio.sleep(SPACE_WAIT_SEC)


def _id(subject: Subject, delivery: Delivery) -> str:
    return deliveries.delivery_id(subject.name, delivery.number)


def _is_pending(delivery: Delivery) -> bool:
    return delivery.state is DeliveryState.PENDING
