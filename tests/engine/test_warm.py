"""A child that comes from a warm process is no different from one that was built for its job."""

import asyncio
import statistics
import warnings
from typing import Any

import psutil
import pytest
from yt_dlp import YoutubeDL
from yt_dlp.extractor.common import InfoExtractor
from yt_dlp.networking import RequestHandler
from yt_dlp.postprocessor.common import PostProcessor

from tests.engine.rig import Rig
from umd.domain.options import MediaOptions
from umd.engine import ffmpeg, params, warmup
from umd.engine.config import EngineConfig
from umd.engine.loader import Loader
from umd.engine.postprocessors import build, local_only
from umd.engine.reports import Reporter

OPTIONS = [
    MediaOptions(),
    MediaOptions(audio_only=True, audio_format="opus", limit_rate=50_000),
    MediaOptions(custom_format="18/22", video_format="webm", max_filesize=1_000, embed_metadata=False),
    MediaOptions(
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
        live_from_start=True,
        wait_for_video_sec=10,
    ),
]
FIRST_BYTE_SEC_MAX = 0.25
"""A fresh process needs 0.5 s and more; a warm one 0.02 s on a quiet machine."""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> EngineConfig:
    scratch = tmp_path_factory.mktemp("scratch")
    return EngineConfig(str(scratch), str(scratch), ffmpeg.find(scratch), "a.b")


@pytest.fixture
def warm(config: EngineConfig) -> Loader:
    with warnings.catch_warnings():
        # Python 3.12 and later warn of a fork beside threads: pytest has some, the zygote has none.
        warnings.simplefilter("ignore", DeprecationWarning)
        with warmup.origin() as address:
            loader: Loader = warmup.warm_loader(config, address)
            return loader


@pytest.mark.parametrize("options", OPTIONS, ids=["default", "audio", "custom", "much"])
def test_a_warm_object_has_the_parameters_of_one_that_was_built_for_the_job(
    config: EngineConfig, warm: Loader, options: MediaOptions
) -> None:
    plan = params.plan(options, 10**9)
    fresh = YoutubeDL({**params.base(config), **plan.params, "postprocessor_args": local_only()})
    for step in plan.steps:
        fresh.add_post_processor(build(step, fresh), when=step.when)
    warm.adopt(plan, Reporter(1))

    assert shown(warm) == shown(fresh)


def shown(ydl: YoutubeDL) -> dict[str, Any]:
    """What decides how it works."""
    return {
        "params": {key: value for key, value in ydl.params.items() if key != "logger"},
        "steps": {when: [described(step) for step in steps] for when, steps in ydl._pps.items()},
        "handlers": {key: handler_state(one) for key, one in ydl._request_director.handlers.items()},
        "cookies": list(ydl.cookiejar),
        "counters": [ydl._num_downloads, ydl._num_videos, ydl._download_retcode, ydl._first_webpage_request],
        "seen": [ydl._printed_messages, ydl._playlist_urls, ydl._ies_instances],
        "extractors": list(dict(ydl._ies)),
        "selected": selected(ydl),
    }


def described(step: PostProcessor) -> tuple[str, dict[str, str]]:
    given = {key: str(value) for key, value in vars(step).items() if key in GIVEN}
    return type(step).__name__, given


GIVEN = ("mapping", "_preferredquality", "_nopostoverwrites", "_add_metadata", "_add_chapters", "_paths")
NETWORK = ("headers", "proxies", "timeout", "source_address", "verify", "prefer_system_certs")


def handler_state(handler: RequestHandler) -> dict[str, str]:
    return {name: str(getattr(handler, name, None)) for name in NETWORK}


def selected(ydl: YoutubeDL) -> list[str]:
    forms = [
        {"format_id": "18", "ext": "mp4", "vcodec": "avc1", "acodec": "mp4a", "url": "http://a.test/18"},
        {"format_id": "137", "ext": "mp4", "vcodec": "avc1", "acodec": "none", "url": "http://a.test/137"},
        {"format_id": "251", "ext": "webm", "vcodec": "none", "acodec": "opus", "url": "http://a.test/251"},
    ]
    return [form["format_id"] for form in ydl._select_formats(forms, ydl.format_selector)]


def test_the_rehearsal_leaves_no_connection(warm: Loader) -> None:
    session = warm._request_director.handlers["Requests"]._InstanceStoreMixin__instances[0][1]

    assert len(session.adapters["http://"].poolmanager.pools) == 0
    assert session.adapters["https://"]._pm_args["ssl_context"] is not None


async def test_a_zygote_has_one_thread_and_no_connection(forking: Rig) -> None:
    await forking.download("/media/small/before.mp4")
    process = psutil.Process(forking.noticed("zygote_ready")[-1].pid)

    assert process.num_threads() == 1
    assert process.net_connections() == []
    assert process.children() == []


def test_the_sieve_finds_what_asking_everyone_finds(warm: Loader) -> None:
    """For the addresses that yt-dlp tests its extractors with, one in twenty of 6,000."""
    everyone = dict(warm._ies)
    cases = (case["url"] for extractor in everyone.values() for case in _cases(extractor))
    wrong = []
    for url in sorted(set(cases))[::20]:
        warm._ies.url = url
        found = next(key for key, extractor in warm._ies.items() if extractor.suitable(url))
        before = list(everyone)[: list(everyone).index(found)]
        candidates = set(warm._ies.candidates(url))
        if any(everyone[key].suitable(url) for key in before if key not in candidates):
            wrong.append(url)

    assert wrong == []
    assert len(warm._ies.candidates("https://www.youtube.com/watch?v=abcdefghijk")) < 200


def _cases(extractor: type[InfoExtractor]) -> list[dict[str, Any]]:
    return list(getattr(extractor, "get_testcases", lambda **_: [])(include_onlymatching=True))


async def test_the_first_request_comes_long_before_a_fresh_process_could_send_it(forking: Rig) -> None:
    """Guards the warm-up, which is best effort: a release of yt-dlp may make it void without breaking it."""
    waits = []
    for number in range(5):
        began = asyncio.get_running_loop().time()
        run = await forking.begin(f"/media/small/first-{number}.mp4")
        record = await forking.site.wait_request(f"/media/small/first-{number}.mp4")
        waits.append(record.opened_at - began)
        await run.ended()

    assert statistics.median(waits) < FIRST_BYTE_SEC_MAX
