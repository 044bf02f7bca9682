"""Which waiting job may start next: by priority, then by age, with each site in a lane of its own."""

from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count

from umd.clock import Micros
from umd.domain import urls
from umd.domain.job import State
from umd.projections.jobs import Entry

Ticket = tuple[int, int, int, str, str]
"""Lower starts first: negated priority, position at which the job was accepted, number, job id, site."""


class Queue:
    """The waiting jobs. Those that wait for a retry come into their lane when they are due."""

    def __init__(self) -> None:
        self._tickets = count(1)
        self._waiting: dict[str, Ticket] = {}
        self._lanes: dict[str, list[Ticket]] = {}
        self._delayed: list[tuple[Micros, Ticket]] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def note(self, entry: Entry) -> None:
        """Take in a job's newest state: it waits, or it does not."""
        job = entry.job
        if job.state is not State.QUEUED:
            self._waiting.pop(job.job_id, None)
            return
        site = urls.site(job.request.url)
        ticket = (-job.request.priority, entry.created_position, next(self._tickets), job.job_id, site)
        self._waiting[job.job_id] = ticket
        if job.retry_at is None:
            self._enter_lane(ticket)
        else:
            heappush(self._delayed, (job.retry_at, ticket))

    def next(self, now: Micros, has_room: Callable[[str], bool]) -> tuple[str, str] | None:
        """Take the first job (its id and its site) whose site has room, or None."""
        self._admit_due(now)
        fronts = [lane[0] for site, lane in self._swept_lanes() if has_room(site)]
        if not fronts:
            return None
        ticket = min(fronts)
        *_, job_id, site = ticket
        heappop(self._lanes[site])
        del self._waiting[job_id]
        return job_id, site

    def next_due(self, now: Micros) -> Micros | None:
        """When the next retry comes due; those that are due have come into their lanes."""
        self._admit_due(now)
        while self._delayed and not self._valid(self._delayed[0][1]):
            heappop(self._delayed)
        return self._delayed[0][0] if self._delayed else None

    def _admit_due(self, now: Micros) -> None:
        while self._delayed and self._delayed[0][0] <= now:
            ticket = heappop(self._delayed)[1]
            if self._valid(ticket):
                self._enter_lane(ticket)

    def _enter_lane(self, ticket: Ticket) -> None:
        heappush(self._lanes.setdefault(ticket[-1], []), ticket)

    def _swept_lanes(self) -> list[tuple[str, list[Ticket]]]:
        """The lanes with a waiting job in front; tickets that are no longer valid fall out on the way."""
        for site, lane in list(self._lanes.items()):
            while lane and not self._valid(lane[0]):
                heappop(lane)
            if not lane:
                del self._lanes[site]
        return list(self._lanes.items())

    def _valid(self, ticket: Ticket) -> bool:
        """A job's newest ticket is its only valid one."""
        return self._waiting.get(ticket[3]) == ticket
