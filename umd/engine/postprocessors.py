"""Postprocessors of our own, where yt-dlp's do something else than what a client is promised."""

import json
import os
from collections.abc import Iterator
from typing import Any

from yt_dlp.postprocessor import PostProcessor, get_postprocessor
from yt_dlp.postprocessor.ffmpeg import (
    FFmpegExtractAudioPP,
    FFmpegPostProcessor,
    FFmpegPostProcessorError,
    FFmpegVideoConvertorPP,
    FFmpegVideoRemuxerPP,
)
from yt_dlp.utils import PostProcessingError, replace_extension

from umd.engine.params import COMMENTS_MAX, Step

Info = dict[str, Any]

TOO_RICH = 1.15
"""A stream with so many times the wanted bit rate is encoded, although it has the wanted codec."""


class EncodingNotPermitted(PostProcessingError):  # type: ignore[misc]  # yt-dlp has no types.
    """The codecs do not fit into the wanted container, and the operator does not permit encoding."""


class ContainerPP(FFmpegVideoRemuxerPP):  # type: ignore[misc]  # yt-dlp has no types.
    """Puts a video into the wanted container: by copying where that works, else by encoding.

    Which codecs a container takes only ffmpeg knows, and many sites do not tell the codecs; so it is tried.
    """

    def __init__(self, downloader: Any, preferedformat: str, *, reencode: bool) -> None:
        super().__init__(downloader, preferedformat)
        self._reencode = reencode

    def run(self, info: Info) -> tuple[list[str], Info]:
        if not self._has_work(info):
            return [], info
        before = info["filepath"], info["ext"]
        try:
            done: tuple[list[str], Info] = super().run(info)
        except FFmpegPostProcessorError as error:
            if not self._reencode:
                raise EncodingNotPermitted(f"Cannot copy the streams into {self.mapping}") from error
            self.to_screen(f"Cannot copy the streams into {self.mapping}, encoding instead: {error.msg}")
            info["filepath"], info["ext"] = before
            done = FFmpegVideoConvertorPP(self._downloader, self.mapping).run(info)
        return done

    def _has_work(self, info: Info) -> bool:
        return bool(info["ext"] != self.mapping and info.get("vcodec") != "none")

    def _hook_progress(self, status: Info, info_dict: Info) -> None:
        """Most files need nothing, and then nothing is said."""
        if self._has_work(info_dict):
            super()._hook_progress(status, info_dict)


class AudioPP(FFmpegExtractAudioPP):  # type: ignore[misc]  # yt-dlp has no types.
    """Extracts audio. What has the wanted codec is copied, but not where it is richer than was asked for."""

    def get_audio_codec(self, path: str) -> str | None:
        codec: str | None = super().get_audio_codec(path)
        return f"{codec}, too rich" if codec and self._is_too_rich(path) else codec

    def _is_too_rich(self, path: str) -> bool:
        wanted = self._preferredquality or 0
        return wanted > 10 and self._bit_rate(path) > wanted * 1_000 * TOO_RICH  # noqa: PLR2004  # up to 10: VBR

    def _bit_rate(self, path: str) -> int:
        """Of the audio stream; of the whole file, where a container does not tell and has no other stream."""
        probed = self.get_metadata_object(path)
        streams = probed.get("streams") or []
        audio: Info = next((one for one in streams if one.get("codec_type") == "audio"), {})
        told = audio.get("bit_rate") or (len(streams) == 1 and probed.get("format", {}).get("bit_rate"))
        return int(told or 0)


class AacAudioPP(AudioPP):
    """Extracts raw AAC into `.aac`. yt-dlp's own writes the same ADTS stream and names it `.m4a`."""

    def run(self, info: Info) -> tuple[list[str], Info]:
        path = info["filepath"]
        if info["ext"] == "aac":
            return [], info
        codec = self.get_audio_codec(path)
        if codec is None:
            raise PostProcessingError("unable to obtain file audio codec with ffprobe")
        encoder, options = ("copy", []) if codec == "aac" else ("aac", self._quality_args("aac"))
        target = replace_extension(path, "aac", info["ext"])
        self.to_screen(f"Destination: {target}")
        self.run_ffmpeg(path, target, encoder, [*options, "-f", "adts"])
        info["filepath"], info["ext"] = target, "aac"
        return ([path] if os.path.exists(path) else []), info


class CommentsPP(PostProcessor):  # type: ignore[misc]  # yt-dlp has no types.
    """Writes the comments into a file of their own; yt-dlp has them in the info JSON only."""

    def run(self, info: Info) -> tuple[list[str], Info]:
        comments = (info.get("comments") or [])[:COMMENTS_MAX]
        path = replace_extension(self._downloader.prepare_filename(info), "comments.json", info["ext"])
        with open(path, "w", encoding="utf-8") as file:
            json.dump(self._downloader.sanitize_info({"comments": comments})["comments"], file)
        self.to_screen(f"Wrote {len(comments)} comments")
        return [], info


_OWN = {"Container": ContainerPP, "Audio": AudioPP, "AacAudio": AacAudioPP, "Comments": CommentsPP}


def build(step: Step, loader: Any) -> Any:
    """The postprocessor of a step, bound to a YoutubeDL."""
    kind = _OWN.get(step.name) or get_postprocessor(step.name)
    return kind(loader, **step.arguments)


def local_only() -> dict[str, list[str]]:
    """yt-dlp's `postprocessor_args` that keep ffmpeg, where it processes, to files.

    What a site calls a video may be a playlist that names other addresses.
    """
    return {
        f"{kind.pp_key().lower()}+ffmpeg_i": ["-protocol_whitelist", "file,pipe"]
        for kind in _descendants(FFmpegPostProcessor)
    }


def _descendants(kind: Any) -> Iterator[Any]:
    yield kind
    for child in kind.__subclasses__():
        yield from _descendants(child)
