"""A list of a site's while somebody looks at it: compactly encoded, and cut into pages of any size."""

from bisect import bisect_right
from collections.abc import Iterator
from itertools import islice

import msgspec

from umd.domain import selection
from umd.domain.events import ListedItem
from umd.domain.options import ChannelDownloadRequest
from umd.engine.protocol import About, Listed

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(tuple[ListedItem, ...]).decode


class Catalogue:
    """Grows by what a child tells. Items are counted from 0 here; those without an address have no place.

    Nothing is kept but the encoded bytes: an item is decoded when it is shown. The few of which more is known
    than their list tells are kept beside them.
    """

    def __init__(self) -> None:
        self.about: About | None = None
        """What the list says of itself; None for a single item, which is a list of one."""
        self.bytes = 0
        self.count = 0
        self._starts: list[int] = []
        self._chunks: list[bytes] = []
        self._learnt: dict[int, ListedItem] = {}

    def add(self, page: Listed) -> None:
        """Some more items."""
        self.about = self.about or page.about
        if page.items:
            chunk = _encode(page.items)
            self._starts.append(self.count)
            self._chunks.append(chunk)
            self.count += len(page.items)
            self.bytes += len(chunk)

    def items(self) -> Iterator[ListedItem]:
        """All of them, decoded one chunk after the other."""
        listed = (item for chunk in self._chunks for item in _decode(chunk))
        for place, item in enumerate(listed):
            yield self._learnt.get(place, item)

    def cut(self, first: int, count: int) -> list[ListedItem]:
        """So many items from this one on, as far as they are there."""
        return self.pick(range(first, min(first + count, self.count)))

    def pick(self, places: range | list[int]) -> list[ListedItem]:
        """The items at these places. Few of them: each chunk that they lie in is decoded once."""
        decoded: dict[int, tuple[ListedItem, ...]] = {}
        found = []
        for place in places:
            number = bisect_right(self._starts, place) - 1
            if number not in decoded:
                decoded[number] = _decode(self._chunks[number])
            found.append(self._learnt.get(place) or decoded[number][place - self._starts[number]])
        return found

    def lacking(self, request: ChannelDownloadRequest, looked_up_max: int) -> list[int]:
        """The places of items that are worth a question of their own, so many of the list in all."""
        places = (
            place
            for place, item in enumerate(self.items())
            if place not in self._learnt
            and not selection.refuses(item, request)
            and selection.lacks(item, request)
        )
        return list(islice(places, max(0, looked_up_max - len(self._learnt))))

    def learn(self, place: int, page: ListedItem | None) -> None:
        """Add what an item's own page tells; None where it tells nothing, which is known from now on."""
        [item] = self.pick([place])
        self._learnt[place] = item if page is None else selection.merged(item, page)

    def chosen(self, request: ChannelDownloadRequest) -> tuple[list[int], int]:
        """The places of those that pass a channel's filters, in the wanted order.

        And of how many too little is known: those do not pass.
        """
        passing, unknown = [], 0
        for place, item in enumerate(self.items()):
            if selection.refuses(item, request):
                continue
            if selection.lacks_for_filters(item, request):
                unknown += 1
            else:
                # As little of each as the order needs, because all of them are held at once.
                field = {request.sort_by: getattr(item, request.sort_by)}
                passing.append(ListedItem(url="", index=place, **field))
        return [one.index for one in selection.ordered(passing, request)], unknown
