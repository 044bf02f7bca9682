"""How far an attempt is, made from yt-dlp's progress hooks: one percentage over all of its streams.

yt-dlp starts again from 0 for each stream; a client wants one number that only grows.
"""

from collections.abc import Mapping
from typing import Any

from umd.domain.events import Phase, Progress
from umd.engine.metadata import count, number


class _Stream:
    """One file on its way: video, audio, or both in one."""

    def __init__(self, form: Mapping[str, Any]) -> None:
        self.downloaded = 0
        self.total = count(form.get("filesize")) or count(form.get("filesize_approx"))
        self.weight = number(form.get("tbr")) or 1.0
        self.part = 0.0
        """What is done of it, from 0 to 1."""

    def update(self, hook: Mapping[str, Any]) -> None:
        self.downloaded = count(hook.get("downloaded_bytes")) or self.downloaded
        total = count(hook.get("total_bytes")) or count(hook.get("total_bytes_estimate"))
        self.total = max(total, self.downloaded) if total else self.total
        if hook.get("status") == "finished":
            self.downloaded = self.downloaded or self.total or 0
            self.total, self.part = self.downloaded, 1.0
        elif self.total:
            self.part = min(1.0, self.downloaded / self.total)
        else:
            self.part = max(self.part, _fragments_done(hook))


class Tally:
    """The progress of one attempt."""

    def __init__(self) -> None:
        self._streams: dict[str, _Stream] = {}
        self._whole = ""
        self._percent: float | None = None
        self._latest: Mapping[str, Any] = {}

    def expect(self, info: Mapping[str, Any]) -> None:
        """These streams will be downloaded: those to be merged, or the one file."""
        self._whole = str(info.get("format_id"))
        forms = info.get("requested_formats") or [info]
        self._streams = {str(form.get("format_id")): _Stream(form) for form in forms}

    def update(self, hook: Mapping[str, Any]) -> bool:
        """Take a progress hook; False for one of a file that is no stream, as a subtitle or a thumbnail."""
        key = str((hook.get("info_dict") or {}).get("format_id"))
        if key not in self._streams:
            if key != self._whole:
                return False
            # ffmpeg downloads all streams at once, and yt-dlp reports them as one.
            self._streams = {key: _Stream({})}
        self._streams[key].update(hook)
        self._latest = hook
        self._advance()
        return True

    def progress(self, phase: Phase) -> Progress:
        """The state of the moment."""
        downloading = phase == "downloading"
        return Progress(
            phase=phase,
            percent=100.0 if phase == "finished" else self._percent,
            downloaded_bytes=self._downloaded,
            total_bytes=self._total,
            speed=number(self._latest.get("speed")) if downloading else None,
            eta=self._eta() if downloading else None,
            fragment_index=count(self._latest.get("fragment_index")),
            fragment_count=count(self._latest.get("fragment_count")),
        )

    @property
    def _downloaded(self) -> int:
        return sum(stream.downloaded for stream in self._streams.values())

    @property
    def _total(self) -> int | None:
        totals = [stream.total for stream in self._streams.values()]
        known = [total for total in totals if total is not None]
        return sum(known) if known and len(known) == len(totals) else None

    def _advance(self) -> None:
        percent = self._measured()
        if percent is not None:
            self._percent = round(max(percent, self._percent or 0.0), 2)

    def _measured(self) -> float | None:
        """By bytes where all sizes are known, else by each stream's share of the bit rate."""
        if total := self._total:
            return min(100.0, 100.0 * self._downloaded / total)
        done = sum(stream.part * stream.weight for stream in self._streams.values())
        return 100.0 * done / sum(stream.weight for stream in self._streams.values()) if done else None

    def _eta(self) -> float | None:
        speed = number(self._latest.get("speed"))
        if speed and self._total:
            return round(max(0, self._total - self._downloaded) / speed, 1)
        return number(self._latest.get("eta")) if len(self._streams) == 1 else None


def _fragments_done(hook: Mapping[str, Any]) -> float:
    index, whole = count(hook.get("fragment_index")), count(hook.get("fragment_count"))
    return min(1.0, index / whole) if index and whole else 0.0
