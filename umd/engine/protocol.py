"""What the service and its worker processes say to each other.

The service sends one `Assignment`; the child answers with reports, one JSON object a line on a descriptor
of its own. The end of that stream is the end of the child. These types are also the port that
`umd.actors.job` uses, so that nothing above this room knows how a download is done.
"""

from collections.abc import AsyncIterator
from typing import Protocol

import msgspec

from umd.domain.events import Fault, ListedItem, LogLevel, Metadata, Progress
from umd.domain.options import MediaOptions

LINE_BYTES_MAX = 1_048_576


class Task(msgspec.Struct, frozen=True, tag_field="is"):
    """What a child is to do with the address."""


class Download(Task, frozen=True, tag="download"):
    """Bring the one item there into the directory: `Tick`, `Extracted`, `Entered`, `Said`."""


class Listing(Task, frozen=True, tag="listing"):
    """Read the list there, lazily and at most so far: `Listed`. A single item is a list of one."""

    items_max: int


AnyTask = Download | Listing


class Assignment(msgspec.Struct, frozen=True):
    """One attempt: what to fetch, and the directory that the child may write to.

    `cookies` is the attempt's own copy of a jar, in Netscape's format; it comes and goes in memory only.
    """

    job_id: str
    attempt: int
    url: str
    options: MediaOptions
    directory: str
    cookies: str = ""
    task: AnyTask = Download()


class Report(msgspec.Struct, frozen=True, tag_field="is"):
    """Anything that a child has to say."""


class Tick(Report, frozen=True, tag="tick"):
    """Progress of the moment: at most four a second for a job. Never stored."""

    progress: Progress


class Extracted(Report, frozen=True, tag="extracted"):
    """The site told what the item is."""

    metadata: Metadata


class Entered(Report, frozen=True, tag="entered"):
    """The attempt came into another phase; `step` names a postprocessor."""

    progress: Progress
    step: str | None = None


class Said(Report, frozen=True, tag="said"):
    """A log line of yt-dlp's, without its terminal colours."""

    level: LogLevel
    message: str


class Listed(Report, frozen=True, tag="listed"):
    """Some more items of a list, in the site's order; `left_out` of them have no address that can be used."""

    items: tuple[ListedItem, ...]
    title: str | None = None
    left_out: int = 0


class Finished(Report, frozen=True, tag="finished"):
    """The last report: the work is done and lies in the directory, or `fault` says why not.

    `main` names the file in the directory that is the media itself, where yt-dlp told it.
    """

    fault: Fault | None = None
    main: str | None = None


AnyReport = Tick | Extracted | Entered | Said | Listed | Finished


class Ended(msgspec.Struct, frozen=True):
    """How a child ended: its exit status (negative: the signal), and the processor seconds that it used.

    Both with all that it started and waited for. None where whoever could know it had died before.
    `refusal` is why its way out was closed to it, where it was.
    """

    status: int | None
    cpu_sec: float | None = None
    refusal: Fault | None = None


class Attempt(Protocol):
    """A running child with all of its processes."""

    def reports(self) -> AsyncIterator[AnyReport]:
        """The reports in order, until the child has ended. Ticks may be left out when the reader is slow."""

    async def stop(self) -> Ended:
        """End the whole process group: INT, then TERM, then KILL, within five seconds.

        Returns when no process of it is left. May be called more than once, and after the end. Raises
        `EngineError` if a process is still there after the five seconds.
        """

    async def interrupt(self) -> None:
        """Ask the whole group to end (INT): a live recording is finished and kept, everything else ends."""

    async def wait(self) -> Ended:
        """How the child ended, when it has."""


class Engine(Protocol):
    """Starts attempts. `run` raises `EngineError` where no child can be had."""

    @property
    def ytdlp_version(self) -> str: ...

    async def run(self, assignment: Assignment) -> Attempt: ...


class ListingFailed(Exception):
    """A list could not be read to its end. What came before stands."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault
