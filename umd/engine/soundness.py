"""In a child: whether the yt-dlp that is imported is the right one, whole, and takes what umd asks of it."""

import importlib
from pathlib import Path
from typing import Any, get_args

import yt_dlp
from msgspec.structs import replace
from yt_dlp.postprocessor.ffmpeg import FFmpegPostProcessor
from yt_dlp.version import __version__

from umd.domain.options import AudioFormat, MediaOptions, Quality, VideoFormat
from umd.engine import params
from umd.engine.config import EngineConfig
from umd.engine.postprocessors import build

BYTES_MAX = 2**30

_EVERYTHING = MediaOptions(
    download_subtitles=True,
    embed_subtitles=True,
    embed_thumbnail=True,
    all_thumbnails=True,
    thumbnail_format="png",
    embed_chapters=True,
    split_chapters=True,
    sponsorblock_remove=("sponsor",),
    write_info_json=True,
    write_description=True,
    write_comments=True,
    download_sections=("*0-1",),
    wait_for_video_sec=10,
)
OPTIONS = (
    *(replace(_EVERYTHING, video_format=container) for container in get_args(VideoFormat)),
    *(MediaOptions(audio_only=True, audio_format=codec) for codec in get_args(AudioFormat)),
    *(MediaOptions(quality=quality) for quality in get_args(Quality)),
)


class Unsound(Exception):
    """This release is not to be used."""


def check(config: EngineConfig, version: str, loader: Any) -> None:
    """Raise `Unsound`, or whatever the release itself raises."""
    if __version__ != version:
        raise Unsound(f"It says that it is {__version__}, and not {version}.")
    if config.release and not Path(yt_dlp.__file__).is_relative_to(config.release):
        raise Unsound("Another yt-dlp was imported than the one to be tested.")
    # The list of all extractors imports every one of them; what is used otherwise imports them one by one.
    importlib.import_module("yt_dlp.extractor._extractors")
    for options in OPTIONS:
        plan = params.plan(options, BYTES_MAX)
        loader.prefer(plan)
        for step in plan.steps:
            build(step, loader)
    if config.tools.ffmpeg and not FFmpegPostProcessor(loader).available:
        raise Unsound("It does not find ffmpeg.")
