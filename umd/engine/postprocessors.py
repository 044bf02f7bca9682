"""Postprocessors of our own, where yt-dlp's do something else than what a client is promised."""

import os
from typing import Any

from yt_dlp.postprocessor import get_postprocessor
from yt_dlp.postprocessor.ffmpeg import (
    FFmpegExtractAudioPP,
    FFmpegPostProcessorError,
    FFmpegVideoConvertorPP,
    FFmpegVideoRemuxerPP,
)
from yt_dlp.utils import PostProcessingError, replace_extension

from umd.engine.params import Step

Info = dict[str, Any]


class ContainerPP(FFmpegVideoRemuxerPP):  # type: ignore[misc]  # yt-dlp has no types.
    """Puts a video into the wanted container: by copying where that works, else by encoding.

    Which codecs a container takes only ffmpeg knows, and many sites do not tell the codecs; so it is tried.
    """

    def run(self, info: Info) -> tuple[list[str], Info]:
        if not self._has_work(info):
            return [], info
        before = info["filepath"], info["ext"]
        try:
            done: tuple[list[str], Info] = super().run(info)
        except FFmpegPostProcessorError as error:
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


class AacAudioPP(FFmpegExtractAudioPP):  # type: ignore[misc]  # yt-dlp has no types.
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


_OWN = {"Container": ContainerPP, "AacAudio": AacAudioPP}


def build(step: Step, loader: Any) -> Any:
    """The postprocessor of a step, bound to a YoutubeDL."""
    kind = _OWN.get(step.name) or get_postprocessor(step.name)
    return kind(loader, **step.arguments)
