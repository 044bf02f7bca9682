"""Which release of yt-dlp is in use, and what the downloads that ended on it say of it."""

from collections import deque
from collections.abc import Sequence

import msgspec

from umd.domain import engine as rules
from umd.domain.engine import JUDGED_MAX, Release, Tally
from umd.domain.events import (
    AnyEngineEvent,
    EngineEvent,
    EngineUpdated,
    EngineUpdateFailed,
    JobCompleted,
    JobFailed,
)
from umd.log import Fact
from umd.projections.jobs import Jobs


class Judgement(msgspec.Struct, frozen=True):
    """All that is known, as a snapshot keeps it."""

    release: Release
    position: int
    answered: str
    before: Tally
    after: Tally | None
    recent: tuple[bool, ...]


class Releases:
    """The fold of the engine's stream, and of the ends of downloads. Folds after `Jobs`.

    As everything is counted over the log, a restart changes no verdict.
    """

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self.release: Release = rules.NOTHING_KNOWN
        self.position = 0
        """Of the stream's last row."""
        self.answered = ""
        """The correlation of the last row that somebody had asked for."""
        self._before = Tally()
        self._after: Tally | None = None
        self._recent: deque[bool] = deque(maxlen=JUDGED_MAX)

    @property
    def correlation(self) -> str:
        """Of a row that nobody has asked for."""
        return ""

    def apply(self, facts: Sequence[Fact]) -> None:
        """Follow the log."""
        for fact in facts:
            if fact.record.stream == rules.STREAM:
                self.position = fact.record.position
                self.answered = fact.record.correlation or self.answered
                if isinstance(fact.event, EngineEvent):
                    self._evolve(fact.event)
            # By type, as in `umd.projections.archive`.
            elif type(fact.event) is JobCompleted or type(fact.event) is JobFailed:
                self._judge(fact.record.stream, fact.event)

    def put_by(self) -> Judgement:
        """What is known now."""
        recent = tuple(self._recent)
        return Judgement(self.release, self.position, self.answered, self._before, self._after, recent)

    def fill(self, kept: Judgement) -> None:
        """Take in what was put by."""
        self.release, self.position, self.answered = kept.release, kept.position, kept.answered
        self._before, self._after = kept.before, kept.after
        self._recent.extend(kept.recent)

    @property
    def verdict(self) -> Tally | None:
        """What is held against the current release, where it is to be given up; else None."""
        after = self._after
        return after if after is not None and rules.is_worse(after, self._before) else None

    def _evolve(self, event: AnyEngineEvent) -> None:
        self.release = rules.evolve(self.release, event)
        if isinstance(event, EngineUpdateFailed):
            return
        self._before = Tally(len(self._recent), sum(self._recent))
        self._after = Tally() if isinstance(event, EngineUpdated) else None
        self._recent.clear()

    def _judge(self, stream: str, event: JobCompleted | JobFailed) -> None:
        entry = self._jobs.get(stream.removeprefix("job-"))
        is_fault = isinstance(event, JobFailed)
        if isinstance(event, JobFailed) and event.error.code not in rules.BLAMED:
            return
        current = self.release.current
        if entry is None or (current is not None and entry.job.ytdlp_version != current):
            return
        self._recent.append(is_fault)
        if self._after is not None and self._after.judged < JUDGED_MAX:
            self._after = Tally(self._after.judged + 1, self._after.faults + is_fault)
