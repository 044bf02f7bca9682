"""A yt-dlp plugin with the extractors for the local media site: `/site/...` on loopback or on `*.test`.

The server decides what there is and says it in JSON; here are only the words of refusals, as large sites put
them, and the ways in which an extractor can misbehave inside its process.
"""

import ctypes
import os
import resource
import sys
import time
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

from yt_dlp.extractor.common import InfoExtractor
from yt_dlp.utils import ExtractorError, OnDemandPagedList, UserNotLive

_HOST = r"https?://(?:127\.0\.0\.1|localhost|[a-z0-9.-]+\.test)(?::\d+)?/site/"
_ENDLESS_SEC = 120
_OOM_BYTES_MAX = 1 << 30

_WORDS = {
    "private": "Private video. Sign in if you've been granted access to this video",
    "age": "Sign in to confirm your age. This video may be inappropriate for some users.",
    "members": "Join this channel to get access to members-only content like this video.",
    "cookie": "This video is only available to viewers with the right cookie; sign in to watch it",
    "removed": "Video unavailable. This video has been removed by the uploader",
    "botcheck": "Sign in to confirm you’re not a bot. This helps protect our community.",
    "throttled": "Video unavailable. The current session has been rate-limited by the site.",
}


class _UmdSiteBase(InfoExtractor):  # type: ignore[misc]  # yt-dlp has no types.
    def _api(self, url: str, kind: str, name: str, **query: object) -> Any:  # noqa: ANN401  # It is JSON.
        """The JSON behind a page; the page's whole query goes along."""
        parts = urllib.parse.urlsplit(url)
        words = {**dict(urllib.parse.parse_qsl(parts.query, keep_blank_values=True)), **query}
        return self._download_json(
            f"{parts.scheme}://{parts.netloc}/site/api/{kind}/{urllib.parse.quote(name)}", name, query=words
        )


class UmdSiteIE(_UmdSiteBase):
    IE_NAME = "umdsite"
    _VALID_URL = _HOST + r"(?!api/|channel/|playlist/|tabs/)(?P<kind>[a-z]+)(?:/(?P<id>[^/?#]+))?"

    def _real_extract(self, url: str) -> dict[str, Any]:
        kind, name = self._match_valid_url(url).group("kind", "id")
        name = urllib.parse.unquote(name or kind)
        if misbehave := _MISBEHAVIOUR.get(kind):
            misbehave()
        if kind == "impersonated":
            # As a browser would ask, by way of curl.
            self._download_webpage(self._query(url)["to"], name, impersonate=True, require_impersonation=True)
        data = self._api(url, kind, name)
        if refused := data.pop("refused", None):
            self._refuse(refused, data)
        if warning := self._query(url).get("warn"):
            self.report_warning(warning, name)
        if data.get("is_live"):
            data["formats"] = self._live_formats(data, name)
        return {**data, "__post_extractor": self.extract_comments(url, name)}

    def _query(self, url: str) -> dict[str, str]:
        return dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(url).query))

    def _get_comments(self, url: str, name: str) -> Iterator[dict[str, Any]]:
        yield from self._api(url, "comments", name)

    def _live_formats(self, data: dict[str, Any], name: str) -> list[dict[str, Any]]:
        """The stream from now on and, for --live-from-start, from its first segment on."""
        formats = self._extract_m3u8_formats(data.pop("live_url"), name, "mp4", m3u8_id="live", live=True)
        start = self._extract_m3u8_formats(
            data.pop("from_start_url"), name, "mp4", m3u8_id="start", live=True
        )
        for one in start:
            one["is_from_start"] = True
            one["downloader_options"] = {"ffmpeg_args": ["-live_start_index", "0"]}
        return [*formats, *start]

    def _refuse(self, kind: str, data: dict[str, Any]) -> None:
        """Raise what the kind stands for; a premiere returns where the caller is ready to wait for it."""
        match kind:
            case "login":
                self.raise_login_required()
            case "geo":
                self.raise_geo_restricted(countries=["DE", "FR"])
            case "drm":
                self.report_drm(None)
            case "notlive":
                raise UserNotLive
            case "noformats":
                self.raise_no_formats("No video formats found!", expected=True)
            case "upcoming":
                self.raise_no_formats(f"Premieres in {data['opens_in_sec'] / 60:.0f} minutes", expected=True)
            case "bug":
                data["a key that the site no longer sends"]
            case _:
                raise ExtractorError(_WORDS[kind], expected=True)


class UmdSiteListIE(_UmdSiteBase):
    IE_NAME = "umdsite:list"
    _VALID_URL = _HOST + r"(?P<kind>channel|playlist|tabs)/(?P<id>[^/?#]+)"

    def _real_extract(self, url: str) -> dict[str, Any]:
        kind, name = self._match_valid_url(url).group("kind", "id")
        if kind == "tabs":
            # As a channel's root does: a playlist of lists, each to be opened in turn.
            pages = [url.replace("/tabs/" + name, f"/channel/{name}-{tab}") for tab in ("videos", "shorts")]
            entries = [self.url_result(page, UmdSiteListIE) for page in pages]
            return {"_type": "playlist", "id": name, "title": f"Tabs of {name}", "entries": entries}
        first = self._api(url, kind, name)
        if refused := first.get("refused"):
            raise ExtractorError(_WORDS[refused], expected=True)

        def fetch(page: int) -> list[dict[str, Any]]:
            data = first if page == 0 else self._api(url, kind, name, page=page)
            return [self._entry(line) for line in data["entries"]]

        # Pages are fetched when an entry of theirs is wanted: item 1 of 10,000 costs one request.
        paged = OnDemandPagedList(fetch, first["page_size"])
        about = {key: value for key, value in first.items() if key not in ("entries", "total", "page_size")}
        return {"_type": "playlist", **about, "entries": paged, "playlist_count": first["total"]}

    def _entry(self, line: dict[str, Any]) -> dict[str, Any]:
        return {"_type": "url", "ie_key": "UmdSite" if UmdSiteIE.suitable(line["url"]) else None, **line}


def _segfault() -> NoReturn:
    """A real SIGSEGV, without a core file in whatever directory the test runs in."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.string_at(0)
    raise AssertionError("reading address 0 went well")


def _exit() -> NoReturn:
    os._exit(3)


def _oom() -> NoReturn:
    """Allocate and touch memory until some limit says no; ours is 1 GiB."""
    hoard: list[bytearray] = []
    while len(hoard) << 24 < _OOM_BYTES_MAX:
        hoard.append(bytearray(1 << 24))
        hoard[-1][::4096] = b"x" * 4096  # Memory counts when it is touched.
    raise MemoryError("the site's own bound was reached")


def _spin() -> NoReturn:
    end = time.monotonic() + _ENDLESS_SEC
    while time.monotonic() < end:
        pass
    raise ExtractorError("spun to the end")


def _print() -> None:
    """Write where a protocol may be listening: prose, JSON, bytes that are no UTF-8. Then go on."""
    os.write(1, b'a plugin talks to stdout\n{"type": "done", "ok": true}\n\xff\xfe no newline')
    os.write(2, b"and to stderr\n")
    sys.stdout.write("and once more through Python\n")


_MISBEHAVIOUR: dict[str, Callable[[], None]] = {
    "segfault": _segfault,
    "exit": _exit,
    "oom": _oom,
    "spin": _spin,
    "noisy": _print,
}
