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


class Probe(Task, frozen=True, tag="probe"):
    """Learn all about the one item there, and download nothing: `Extracted`, `Probed`, `Told`.

    An address that turns out to be a list of many tells of the list. `raw` asks for `Told`.
    """

    raw: bool = False


class SelfTest(Task, frozen=True, tag="self_test"):
    """Look whether the yt-dlp that is imported is this release, whole, and takes what umd asks of it."""

    version: str


AnyTask = Download | Listing | Probe | SelfTest


class Assignment(msgspec.Struct, frozen=True):
    """One attempt: what to fetch, and the directory that the child may write to.

    `cookies` is the attempt's own copy of a jar, in Netscape's format; it comes and goes in memory only.
    `hand_back` asks for `CookiesChanged` where the work ends well.
    `ytdlp_version` is the release that the attempt was recorded with; empty takes whichever is in use.
    """

    job_id: str
    attempt: int
    url: str
    options: MediaOptions
    directory: str
    cookies: str = ""
    task: AnyTask = Download()
    hand_back: bool = False
    ytdlp_version: str = ""


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


class About(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a list says of itself. `count` is what the site claims."""

    id: str | None = None
    title: str | None = None
    description: str | None = None
    uploader: str | None = None
    uploader_id: str | None = None
    channel: str | None = None
    channel_id: str | None = None
    subscriber_count: int | None = None
    count: int | None = None
    extractor: str | None = None


class Listed(Report, frozen=True, tag="listed"):
    """Some more items of a list, in the site's order; `left_out` of them have no address that can be used.

    The first report of a list, and no other, tells what it is `about`; that of a single item does not.
    """

    items: tuple[ListedItem, ...]
    title: str | None = None
    left_out: int = 0
    about: About | None = None


class Format(msgspec.Struct, frozen=True):
    """One of the forms in which a site offers an item. A codec is `none` where there is no such stream."""

    format_id: str
    ext: str | None
    container: str | None
    resolution: str | None
    width: int | None
    height: int | None
    fps: float | None
    vcodec: str | None
    acodec: str | None
    filesize: int | None
    filesize_approx: int | None
    tbr: float | None
    vbr: float | None
    abr: float | None
    asr: int | None
    format_note: str | None
    quality: float | None
    protocol: str | None
    language: str | None
    dynamic_range: str | None


class Thumbnail(msgspec.Struct, frozen=True):
    """A picture of an item."""

    url: str
    id: str | None
    width: int | None
    height: int | None


Tracks = dict[str, tuple[str, ...]]
"""The formats that there are for each language."""


class Probed(Report, frozen=True, tag="probed"):
    """What an item can be had as, from the worst to the best; `chosen` are the formats of a plain download.

    `many` is set for a list of more than one item, of which all else is empty.
    """

    formats: tuple[Format, ...] = ()
    chosen: str | None = None
    thumbnails: tuple[Thumbnail, ...] = ()
    subtitles: Tracks = {}
    automatic_captions: Tracks = {}
    many: About | None = None


class Told(Report, frozen=True, tag="told"):
    """A piece of the JSON of all that yt-dlp knows of an item; for `left_out` there was no room."""

    text: str
    left_out: tuple[str, ...] = ()


class CookiesChanged(Report, frozen=True, tag="cookies_changed"):
    """What sites have made of the jar, whole and in Netscape's format. It is neither shown nor logged."""

    cookies: str


class Finished(Report, frozen=True, tag="finished"):
    """The last report: the work is done and lies in the directory, or `fault` says why not.

    `main` names the file in the directory that is the media itself, where yt-dlp told it.
    """

    fault: Fault | None = None
    main: str | None = None


AnyReport = Tick | Extracted | Entered | Said | Listed | Probed | Told | CookiesChanged | Finished


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
    """Starts attempts.

    `run` raises `EngineError` where no child can be had, and `ReleaseChanged` where the release that the
    attempt was recorded with is in use no more.
    """

    @property
    def ytdlp_version(self) -> str: ...

    async def run(self, assignment: Assignment) -> Attempt: ...


class ListingFailed(Exception):
    """A list could not be read to its end. What came before stands."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault
