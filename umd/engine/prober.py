"""Has a site asked in a child for what somebody wants to see at once: one item, or a list."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec

from umd.domain.events import Metadata
from umd.domain.faults import fault
from umd.domain.options import MediaOptions
from umd.engine.errand import Errands
from umd.engine.protocol import (
    AnyReport,
    AnyTask,
    Extracted,
    Listed,
    Listing,
    ListingFailed,
    Probe,
    Probed,
    Told,
)

PROBE_BYTES_MAX = 67_108_864
"""All that a probe may draw: pages and manifests, no media."""


class Item(msgspec.Struct, frozen=True):
    """All that is known of an item. `info` is the JSON of yt-dlp's own words, where it was asked for."""

    metadata: Metadata
    probed: Probed
    info: msgspec.Raw | None = None
    info_left_out: tuple[str, ...] = ()


class EngineProber:
    """Asks sites. The one who calls has slots and a deadline: cancelling leaves no process behind."""

    def __init__(self, errands: Errands, sec_max: float) -> None:
        self._errands = errands
        self._sec_max = sec_max

    async def item(self, url: str, cookies_id: str | None, owner: str, *, raw: bool) -> Item:
        """One item. Raises `ListingFailed`."""
        metadata: Metadata | None = None
        probed: Probed | None = None
        told: list[Told] = []
        async with aclosing(self._run(url, cookies_id, owner, Probe(raw))) as reports:
            async for report in reports:
                match report:
                    case Extracted():
                        metadata = report.metadata
                    case Probed():
                        probed = report
                    case Told():
                        told.append(report)
                    case _:
                        pass
        if metadata is None or probed is None:
            raise ListingFailed(fault("worker_crashed", "The process that read the site said nothing."))
        info = msgspec.Raw("".join(one.text for one in told).encode()) if told else None
        return Item(metadata, probed, info, told[0].left_out if told else ())

    async def listing(
        self, url: str, cookies_id: str | None, owner: str, items_max: int
    ) -> AsyncGenerator[Listed, None]:
        """A list, page by page. Raises `ListingFailed`. To be closed when it is not read to its end."""
        async with aclosing(self._run(url, cookies_id, owner, Listing(items_max))) as reports:
            async for report in reports:
                if isinstance(report, Listed):
                    yield report

    def _run(
        self, url: str, cookies_id: str | None, owner: str, task: AnyTask
    ) -> AsyncGenerator[AnyReport, None]:
        options = MediaOptions(cookies_id=cookies_id, max_filesize=PROBE_BYTES_MAX, embed_metadata=False)
        return self._errands.run(url, options, owner, task, self._sec_max)
