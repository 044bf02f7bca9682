"""yt-dlp's `YoutubeDL` for one job: speaks to a `Reporter`, and can be built before the job is known.

What yt-dlp reads only when it is built is the same for all jobs (`params.base`); what belongs to the job
(`params.plan`) is adopted later. So the zygote's object, which has worked already, and a new one behave
alike; a test compares the two.
"""

import io
import itertools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yt_dlp.globals
from yt_dlp import YoutubeDL
from yt_dlp.cookies import YoutubeDLCookieJar
from yt_dlp.downloader import FFmpegFD, get_suitable_downloader
from yt_dlp.downloader.fragment import FragmentFD
from yt_dlp.extractor.common import InfoExtractor
from yt_dlp.extractor.lazy_extractors import LazyLoadExtractor
from yt_dlp.networking.exceptions import HTTPError
from yt_dlp.postprocessor.ffmpeg import FFmpegPostProcessor
from yt_dlp.utils import MEDIA_EXTENSIONS, PlaylistEntries, ReExtractInfo

from umd.domain import redaction
from umd.engine import jar, params, plugins, pulse, resume
from umd.engine.config import EngineConfig
from umd.engine.items import NoMedia, Ranges, admit, is_to_come, refuse_script, without_cookies
from umd.engine.metadata import count, metadata
from umd.engine.params import STEM, Plan
from umd.engine.patience import Patience
from umd.engine.postprocessors import build, local_only
from umd.engine.protocol import Extracted
from umd.engine.reports import Reporter
from umd.engine.sieve import Sieve

RANGE_NOT_SATISFIABLE = 416

_MEDIA = frozenset((*MEDIA_EXTENSIONS.video, *MEDIA_EXTENSIONS.audio))
_LISTS = frozenset({"playlist", "multi_video", "compat_list"})
_ORDINARY = frozenset(
    function.__func__
    for kind in (InfoExtractor, LazyLoadExtractor)
    for function in (kind.suitable, kind._match_valid_url)
)
_PAGES = frozenset({"webpage_url", "original_url"})
_SILENT_STEPS = frozenset({"MoveFiles"})


class ManyItems(Exception):
    """The address is a list of more than one item; `told` is what the list says of itself."""

    def __init__(self, told: Mapping[str, Any]) -> None:
        super().__init__("many items")
        self.told = told


class Oversized(Exception):
    """The site says that the item is larger than allowed."""


class Voice:
    """yt-dlp's `logger`. Without a reporter, which is before a job, what is said is lost."""

    def __init__(self) -> None:
        self.reporter: Reporter | None = None
        self.over_limit = False
        """yt-dlp has left out a file because of its size, which it tells in no other way than by a line."""

    def debug(self, message: str) -> None:
        # yt-dlp sends its ordinary lines here, too.
        if not str(message).startswith("[debug] "):
            self.info(message)

    def info(self, message: str) -> None:
        self._say("info", message)

    def warning(self, message: str) -> None:
        self._say("warning", message)

    def error(self, message: str) -> None:
        self._say("error", message)

    def _say(self, level: Any, message: object) -> None:
        # Now and then yt-dlp warns with an exception in the place of a text.
        message = str(message)
        self.over_limit = self.over_limit or "larger than max-filesize" in message
        if self.reporter is not None:
            self.reporter.say(level, message)


class Loader(YoutubeDL):  # type: ignore[misc]  # yt-dlp has no types.
    """One YoutubeDL for one job."""

    _ies: Any
    cookiejar: Any

    def __init__(self, config: EngineConfig, **overrides: Any) -> None:
        yt_dlp.globals.plugin_dirs.value = plugins.search_path(config)
        # FFmpegFD looks for ffmpeg by this alone, and not by the parameter.
        FFmpegPostProcessor._ffmpeg_location.set(config.tools.directory)
        self.voice = Voice()
        self._reporter: Reporter | None = None
        self._results = 0
        self._filesize_max: int | None = None
        self._taken: frozenset[str] = frozenset()
        self._patience = Patience(0)
        self._selectors: dict[str, Any] = {}
        shared = {**params.base(config), "postprocessor_args": local_only(), "logger": self.voice}
        super().__init__({**shared, **overrides})
        self.add_progress_hook(self._on_progress)
        self.add_postprocessor_hook(self._on_step)

    def adopt(self, plan: Plan, reporter: Reporter) -> None:
        """Take over a job. Raises `SyntaxError` for a format selector that is none."""
        self._reporter = self.voice.reporter = reporter
        self.voice.over_limit = False
        self.prefer(plan)
        for step in plan.steps:
            self.add_post_processor(build(step, self), when=step.when)

    def prefer(self, plan: Plan) -> None:
        """Choose formats as a job would. Raises `SyntaxError` for a format selector that is none."""
        self.params.update(plan.params)
        self._filesize_max = plan.params["max_filesize"]
        self.format_selector = self.selector(plan.params["format"])
        if plan.sections is not None:
            self.params["download_ranges"] = Ranges(plan.sections)
        self._patience = Patience(plan.wait_sec)

    def go_through(self, proxy: str) -> None:
        """Send every request by way of this proxy, or of none; ffmpeg is told by the parameter.

        The handlers were made with proxies of their own, each with the same ones as this object.
        """
        self.params["proxy"] = proxy
        for proxies in (self.proxies, *(one.proxies for one in self._request_director.handlers.values())):
            proxies["all"] = proxy or None

    def take_cookies(self, netscape: str) -> None:
        """Have these cookies. They are in memory only: no parameter names a file to write them back to."""
        if netscape:
            self.cookiejar.load(io.StringIO(netscape))
        self._taken = jar.lines(self.cookiejar)

    def changed_cookies(self) -> str | None:
        """The jar as sites have left it; None where they have changed nothing."""
        return jar.changed(self._taken, self.cookiejar)

    def selector(self, words: str) -> Any:
        """The format selector of these words; those in common use are ready before the fork."""
        if words not in self._selectors:
            self._selectors[words] = self.build_format_selector(words)
        return self._selectors[words]

    def sift(self) -> None:
        """From now on ask only those extractors that may know an address. Worth its time if forked often."""
        self._ies = Sieve(self._ies, _ORDINARY)

    def forget_work(self) -> None:
        """Be as new after a rehearsal, but keep what was slow to make: the handlers with their TLS contexts.

        `close()` would throw the request director away. The handlers have no method to close what is idle,
        so the sessions that `requests` keeps are closed here; they open connections again when used.
        """
        for handler in self._request_director.handlers.values():
            for _, instance in getattr(handler, "_InstanceStoreMixin__instances", ()):
                if callable(close := getattr(instance, "close", None)):
                    close()
        self.cookiejar.clear()
        self._ies_instances.clear()
        self._printed_messages.clear()
        self._playlist_urls.clear()
        self._first_webpage_request = True
        self._num_downloads = self._num_videos = self._download_retcode = 0

    def extract_info(self, url: str, *arguments: Any, **keywords: Any) -> Any:
        """Find the extractor for an address, and let it work; of links to elsewhere, too."""
        if isinstance(self._ies, Sieve):
            self._ies.url = url
        return super().extract_info(url, *arguments, **keywords)

    # What yt-dlp calls while it works

    def process_ie_result(self, ie_result: Any, *arguments: Any, **keywords: Any) -> Any:
        """Every result passes here, those of lists and of links to elsewhere included."""
        if ie_result.get("_type") in _LISTS:
            ie_result = {**ie_result, "entries": [self._only_entry(ie_result)]}
        return super().process_ie_result(ie_result, *arguments, **keywords)

    def process_video_result(self, info_dict: Any, *arguments: Any, **keywords: Any) -> Any:
        """An item is known, its formats are about to be chosen."""
        return super().process_video_result(admit(info_dict), *arguments, **keywords)

    @staticmethod
    def sanitize_info(info_dict: Any, remove_private_keys: bool = False) -> Any:  # noqa: FBT001, FBT002 - yt-dlp's
        """What comes into the info JSON: without the cookies by which the media are asked for."""
        return without_cookies(YoutubeDL.sanitize_info(info_dict, remove_private_keys))

    def _wait_for_video(self, ie_result: Any = MappingProxyType({})) -> None:
        """Wait for what has yet to begin, then look again; bounded, and with signs of life meanwhile."""
        if not self.params.get("wait_for_video") or not is_to_come(ie_result):
            return
        self._patience.wait(ie_result, self._reporter)
        raise ReExtractInfo("The time of waiting is over; looking again", expected=True)

    def process_info(self, info_dict: Any) -> None:
        """An item is known in full, its formats are chosen, and its download is about to begin."""
        if self._reporter is not None:
            self._begin(info_dict, self._reporter)
        super().process_info(info_dict)

    def dl(self, name: str, info: Any, *arguments: Any, **keywords: Any) -> Any:
        """Download one file. Where ffmpeg does it, yt-dlp only waits; so the file is looked at instead."""
        kind = get_suitable_downloader(info, self.params)
        # yt-dlp would compare each fragment with it; what they come to, RLIMIT_FSIZE sees.
        self.params["max_filesize"] = None if issubclass(kind, FragmentFD) else self._filesize_max
        if self._reporter is None or kind is not FFmpegFD:
            done = self._resume(name, info, *arguments, **keywords)
        else:
            growth = pulse.Growth(f"{name}.part", info, self._on_progress)
            with pulse.beating(growth), self._without_cookies():
                done = super().dl(name, info, *arguments, **keywords)
        refuse_script(Path(name))
        return done

    def _resume(self, name: str, info: Any, *arguments: Any, **keywords: Any) -> Any:
        """Go on with what is there. Where nothing can follow it (416), it is whole or wrong: begin anew.

        yt-dlp means to look at the length then, but asks a second time with the same Range: the headers
        that it gave to the first request are shared, and have it by now.
        """
        part = Path(f"{name}.part")
        try:
            return super().dl(name, info, *arguments, **keywords)
        except HTTPError as error:
            if error.status != RANGE_NOT_SATISFIABLE or not part.is_file():
                raise
        part.unlink()
        return super().dl(name, info, *arguments, **keywords)

    @contextmanager
    def _without_cookies(self) -> Iterator[None]:
        """yt-dlp would put them on ffmpeg's command line, where every process can read them."""
        own = self.cookiejar
        self.cookiejar = YoutubeDLCookieJar()
        try:
            yield
        finally:
            self.cookiejar = own

    def _calc_headers(self, info_dict: Any, *arguments: Any, **keywords: Any) -> Any:
        """The headers of a format. yt-dlp notes the cookies, too, and would write them to a sidecar."""
        headers = super()._calc_headers(info_dict, *arguments, **keywords)
        info_dict.pop("cookies", None)
        return headers

    def _forceprint(self, key: str, info_dict: Any) -> None:
        """Print nothing: yt-dlp lays out its tables seven times a job before it looks who wants them."""

    def _only_entry(self, ie_result: Mapping[str, Any]) -> Any:
        """The entry of a list of one. Asks for a second and no more: a channel may have thousands."""
        first = list(itertools.islice(PlaylistEntries(self, ie_result).get_requested_items(), 2))
        if not first:
            raise NoMedia
        if len(first) > 1:
            raise ManyItems(ie_result)
        return first[0][1]

    def _begin(self, info: dict[str, Any], reporter: Reporter) -> None:
        require_media(info)
        if self._filesize_max is not None and _declared_bytes(info) > self._filesize_max:
            raise Oversized
        # They end up in the file's own metadata, and files are handed around.
        for name in _PAGES & info.keys():
            info[name] = redaction.shown_url(str(info[name]))
        self._results += 1
        if self._results == 1:
            reporter.send(Extracted(metadata(info)))
            resume.prepare(info)
        else:
            # `a,b` selects two formats for two files, and each section is a file, too.
            self.params["outtmpl"].update(params.names(f"{STEM}-{self._results}"))
        reporter.tally.expect(info)
        reporter.enter("downloading")

    def _on_progress(self, hook: Mapping[str, Any]) -> None:
        if self._reporter is not None and self._reporter.tally.update(hook):
            self._reporter.tick()

    def _on_step(self, hook: Mapping[str, Any]) -> None:
        """yt-dlp calls this twice for each step that it was given."""
        step = hook.get("postprocessor")
        if self._reporter is None or hook.get("status") != "started" or step in _SILENT_STEPS:
            return
        if self._reporter.phase != "extracting":
            self._reporter.enter("processing", step)


def require_media(info: Mapping[str, Any]) -> None:
    """A plain link may lead to anything. Raises `NoMedia`."""
    if info.get("extractor_key") == "Generic" and info.get("direct") and info.get("ext") not in _MEDIA:
        raise NoMedia


def _declared_bytes(info: Mapping[str, Any]) -> int:
    return sum(count(form.get("filesize")) or 0 for form in info.get("requested_formats") or [info])
