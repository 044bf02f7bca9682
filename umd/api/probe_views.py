"""What a client sees of a site before it downloads anything."""

from collections.abc import Sequence

import msgspec

from umd.actors.catalogue import Catalogue
from umd.domain.events import ListedItem, Metadata
from umd.engine.prober import Item
from umd.engine.protocol import About, Format, Thumbnail, Tracks

NONE = "none"
"""yt-dlp's word for a stream that a format does not have; null is one that nobody knows."""


class Formats(msgspec.Struct, frozen=True):
    """An item's formats, from the worst to the best. One whose streams nobody knows counts as combined."""

    combined: list[Format]
    video_only: list[Format]
    audio_only: list[Format]


class FormatsResponse(msgspec.Struct, frozen=True):
    """What an item can be had as. `recommended_format` is what a plain download takes."""

    url: str
    title: str
    duration: float | None
    thumbnail: str | None
    formats: Formats
    best_video_format: str | None
    best_audio_format: str | None
    recommended_format: str | None
    subtitles: Tracks
    automatic_captions: Tracks
    extractor: str


class Available(msgspec.Struct, frozen=True):
    """The languages of an item's subtitles."""

    subtitles: list[str]
    automatic_captions: list[str]


class MetadataResponse(msgspec.Struct, frozen=True):
    """All that is known of an item, or of a list as a whole. `info` is there with `?raw=true`."""

    url: str
    metadata: Metadata
    thumbnails: tuple[Thumbnail, ...]
    formats_available: int
    is_playlist: bool
    playlist_count: int | None
    subtitles_available: Available
    extractor: str
    extracted_at: str
    info: msgspec.Raw | None
    info_left_out: tuple[str, ...]


class PreviewItem(msgspec.Struct, frozen=True):
    """An item as its list tells of it; what the list does not tell is null."""

    id: str | None
    title: str | None
    url: str
    duration: float | None
    view_count: int | None
    uploader: str | None
    upload_date: str | None
    thumbnail: str | None
    playlist_index: int


class PlaylistPreviewResponse(msgspec.Struct, frozen=True):
    """A page of a list. The totals are null until they are known."""

    url: str
    playlist_id: str | None
    title: str | None
    uploader: str | None
    uploader_id: str | None
    description: str | None
    total_items: int | None
    items: list[PreviewItem]
    page: int
    page_size: int
    total_pages: int | None
    has_next: bool
    has_previous: bool
    extractor: str | None


class ChannelInfoResponse(msgspec.Struct, frozen=True):
    """A page of a channel's videos that pass the filters.

    Of `unknown_video_count` videos nobody could tell what a filter asks for; they are not among them.
    """

    url: str
    channel_id: str | None
    channel_name: str | None
    title: str | None
    uploader: str | None
    uploader_id: str | None
    description: str | None
    subscriber_count: int | None
    video_count: int
    filtered_video_count: int
    unknown_video_count: int
    videos: list[PreviewItem]
    filters_applied: dict[str, int | str]
    page: int
    page_size: int
    total_pages: int
    has_next: bool
    has_previous: bool
    extractor: str | None


class Page(msgspec.Struct, frozen=True):
    """Which page of what size, counted from 1."""

    number: int
    size: int

    @property
    def first(self) -> int:
        """The place of its first item, counted from 0."""
        return (self.number - 1) * self.size

    @property
    def end(self) -> int:
        """The place behind its last item."""
        return self.number * self.size

    def of(self, total: int) -> int:
        """How many pages there are."""
        return -(-total // self.size)


def formats(url: str, item: Item) -> FormatsResponse:
    sorted_out = _sorted_out(item.probed.formats)
    return FormatsResponse(
        url=url,
        title=item.metadata.title,
        duration=item.metadata.duration,
        thumbnail=item.metadata.thumbnail,
        formats=sorted_out,
        best_video_format=_best(sorted_out.video_only, sorted_out.combined),
        best_audio_format=_best(sorted_out.audio_only, sorted_out.combined),
        recommended_format=item.probed.chosen,
        subtitles=item.probed.subtitles,
        automatic_captions=item.probed.automatic_captions,
        extractor=item.metadata.extractor,
    )


def metadata(url: str, item: Item, extracted_at: str) -> MetadataResponse:
    probed, many = item.probed, item.probed.many
    return MetadataResponse(
        url=url,
        metadata=item.metadata,
        thumbnails=probed.thumbnails,
        formats_available=sum(map(len, msgspec.structs.astuple(_sorted_out(probed.formats)))),
        is_playlist=many is not None,
        playlist_count=many.count if many is not None else None,
        subtitles_available=Available([*probed.subtitles], [*probed.automatic_captions]),
        extractor=item.metadata.extractor,
        extracted_at=extracted_at,
        info=item.info,
        info_left_out=item.info_left_out,
    )


def preview(url: str, catalogue: Catalogue, page: Page, *, is_whole: bool) -> PlaylistPreviewResponse:
    about = catalogue.about or About()
    total = catalogue.count if is_whole else about.count
    return PlaylistPreviewResponse(
        url=url,
        playlist_id=about.id,
        title=about.title,
        uploader=about.uploader,
        uploader_id=about.uploader_id,
        description=about.description,
        total_items=total,
        items=_items(catalogue.cut(page.first, page.size)),
        page=page.number,
        page_size=page.size,
        total_pages=None if total is None else page.of(total),
        has_next=catalogue.count > page.end,
        has_previous=page.number > 1,
        extractor=about.extractor,
    )


def channel(
    url: str, catalogue: Catalogue, page: Page, chosen: tuple[list[int], int], filters: dict[str, int | str]
) -> ChannelInfoResponse:
    about = catalogue.about or About()
    places, unknown = chosen
    return ChannelInfoResponse(
        url=url,
        channel_id=about.channel_id,
        channel_name=about.channel or about.uploader,
        title=about.title,
        uploader=about.uploader,
        uploader_id=about.uploader_id,
        description=about.description,
        subscriber_count=about.subscriber_count,
        video_count=catalogue.count,
        filtered_video_count=len(places),
        unknown_video_count=unknown,
        videos=_items(catalogue.pick(places[page.first : page.end])),
        filters_applied=filters,
        page=page.number,
        page_size=page.size,
        total_pages=page.of(len(places)),
        has_next=len(places) > page.end,
        has_previous=page.number > 1,
        extractor=about.extractor,
    )


def _sorted_out(formats: Sequence[Format]) -> Formats:
    """By the streams that they have. Those with none, as grids of preview pictures, are left out."""
    video_only = [one for one in formats if one.acodec == NONE != one.vcodec]
    audio_only = [one for one in formats if one.vcodec == NONE != one.acodec]
    return Formats([one for one in formats if NONE not in (one.acodec, one.vcodec)], video_only, audio_only)


def _best(*kinds: list[Format]) -> str | None:
    return next((kind[-1].format_id for kind in kinds if kind), None)


def _items(items: Sequence[ListedItem]) -> list[PreviewItem]:
    return [
        PreviewItem(
            id=one.id,
            title=one.title,
            url=one.url,
            duration=one.duration,
            view_count=one.view_count,
            uploader=one.uploader,
            upload_date=one.upload_date,
            thumbnail=one.thumbnail,
            playlist_index=one.index,
        )
        for one in items
    ]
