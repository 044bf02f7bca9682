"""The child's work: one assignment from its first report to its last.

The zygote calls `work` in the process that it has forked. Where there is no fork, the service runs
`python -m umd.engine.worker`, and the same work is done in a fresh process.
"""

import argparse
import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from umd.domain.events import Fault
from umd.domain.faults import fault
from umd.engine import child, faults, params
from umd.engine.config import EngineConfig
from umd.engine.protocol import (
    Assignment,
    CookiesChanged,
    Download,
    Entered,
    Finished,
    Listing,
    Probe,
    SelfTest,
)
from umd.engine.reports import Reporter

DONE, FAILED, INTERRUPTED = 0, 1, 130
"""Exit statuses, for people who look at processes: what came of the attempt is in its last report."""

STDERR_TAIL_BYTES = 4_096

LoaderMaker = Callable[[], Any]


class ToolMissing(Exception):
    """ffmpeg is not there."""


class Order(msgspec.Struct, frozen=True):
    """What a fresh process reads from its standard input."""

    config: EngineConfig
    assignment: Assignment


def work(assignment: Assignment, config: EngineConfig, ends: child.Ends, make_loader: LoaderMaker) -> int:
    """Become a worker, do the assignment and report on it; returns the exit status."""
    reporter = Reporter(ends.reports)
    try:
        proxy = child.prepare(assignment, config, ends)
    except OSError as error:
        # Without a sandbox there is no work.
        reporter.send(Finished(fault("worker_crashed", f"The worker cannot be shut off: {error}.")))
        return FAILED
    try:
        # Not by `enter`: the reporter is in this phase from its beginning.
        reporter.send(Entered(reporter.tally.progress("extracting")))
        loader_maker = functools.partial(_outgoing, make_loader, proxy)
        finished = _attempt(assignment, config, reporter, loader_maker)
        if finished.fault is None:
            reporter.enter("finished")
        reporter.flush()
        reporter.send(finished)
    except KeyboardInterrupt:
        # Somebody wants the attempt to end: what he gets to see last is how far it came.
        reporter.flush()
        return INTERRUPTED
    return DONE if finished.fault is None else FAILED


def _outgoing(make_loader: LoaderMaker, proxy: str) -> Any:
    loader = make_loader()
    loader.go_through(proxy)
    return loader


def _attempt(
    assignment: Assignment, config: EngineConfig, reporter: Reporter, make_loader: LoaderMaker
) -> Finished:
    """Do what is to be done. Whatever goes wrong becomes a fault."""
    limit = child.filesize_max_bytes(assignment, config)
    try:
        match assignment.task:
            case Download():
                return _download(assignment, config, reporter, make_loader, limit)
            case Listing(items_max):
                return _list(assignment, items_max, reporter, make_loader)
            case Probe() as task:
                return _probe(assignment, task, reporter, make_loader, limit)
            case SelfTest(version):
                return _test(config, version, make_loader)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - the worker's edge: extractors and plugins raise anything
        return Finished(_fault(error, limit))


def _download(
    assignment: Assignment,
    config: EngineConfig,
    reporter: Reporter,
    make_loader: LoaderMaker,
    limit: int,
) -> Finished:
    plan = params.plan(
        assignment.options,
        limit,
        allow_reencode=config.allow_reencode,
        sponsorblock_api=config.sponsorblock_api,
    )
    _require_tools(plan, config)
    loader = make_loader()
    loader.adopt(plan, reporter)
    loader.take_cookies(assignment.cookies)
    finished = _result(loader.extract_info(assignment.url), loader)
    if finished.fault is None:
        _hand_back(assignment, loader, reporter)
    return finished


def _list(assignment: Assignment, items_max: int, reporter: Reporter, make_loader: LoaderMaker) -> Finished:
    # It imports yt-dlp, as the loader does.
    from umd.engine import listing

    loader = make_loader()
    loader.take_cookies(assignment.cookies)
    for page in listing.pages(loader, assignment.url, items_max):
        reporter.send(page)
    _hand_back(assignment, loader, reporter)
    return Finished()


def _probe(
    assignment: Assignment, task: Probe, reporter: Reporter, make_loader: LoaderMaker, limit: int
) -> Finished:
    # It imports yt-dlp, as the loader does.
    from umd.engine import probing

    loader = make_loader()
    loader.prefer(params.plan(assignment.options, limit))
    loader.take_cookies(assignment.cookies)
    for report in probing.reports(loader, assignment.url, raw=task.raw):
        reporter.send(report)
    _hand_back(assignment, loader, reporter)
    return Finished()


def _hand_back(assignment: Assignment, loader: Any, reporter: Reporter) -> None:
    """Give the jar back, where that is asked for and a site has changed it."""
    if assignment.hand_back and (cookies := loader.changed_cookies()) is not None:
        reporter.send(CookiesChanged(cookies))


def _test(config: EngineConfig, version: str, make_loader: LoaderMaker) -> Finished:
    # It imports yt-dlp, as the loader does.
    try:
        from umd.engine import soundness

        soundness.check(config, version, make_loader())
    except Exception as error:  # noqa: BLE001 - whatever it raises is what is wrong with the release
        return Finished(fault("internal", f"{type(error).__name__}: {error}"))
    return Finished()


def _require_tools(plan: params.Plan, config: EngineConfig) -> None:
    if plan.needs_ffmpeg and not (config.tools.ffmpeg and config.tools.ffprobe):
        raise ToolMissing


def _result(info: Any, loader: Any) -> Finished:
    """The main file, if there is one: yt-dlp's word for it is not enough."""
    if isinstance(info, dict) and info.get("entries"):
        info = info["entries"][0]
    downloads = info.get("requested_downloads") or [] if isinstance(info, dict) else []
    paths = [Path(one["filepath"]) for one in downloads if one.get("filepath")]
    if paths and all(path.is_file() and path.stat().st_size > 0 for path in paths):
        return Finished(main=paths[0].name)
    return Finished(faults.too_large() if loader.voice.over_limit else faults.no_file())


def _fault(error: BaseException, limit: int) -> Fault:
    """A program that met RLIMIT_FSIZE says nothing that yt-dlp passes on; the file that it left says it."""
    if any(path.is_file() and path.stat().st_size >= limit for path in Path().glob(f"{params.STEM}*")):
        return faults.too_large()
    return faults.explain(error, _stderr_tail())


def _stderr_tail() -> list[str]:
    """What ffmpeg wrote last, where it downloaded: yt-dlp tells no more of that than the exit code."""
    try:
        size = os.fstat(2).st_size
        tail = os.pread(2, STDERR_TAIL_BYTES, max(0, size - STDERR_TAIL_BYTES))
    except OSError:
        return []
    return tail.decode("utf-8", "replace").splitlines()[-10:]


def main() -> None:
    """A fresh process: the order comes on standard input, the descriptors are inherited."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reports", type=int, required=True, help="descriptor to report on")
    parser.add_argument(
        "--life", type=int, required=True, help="descriptor whose end is the end of the service"
    )
    parser.add_argument("--handover", type=int, required=True, help="socket for the listener of the proxy")
    arguments = parser.parse_args()
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    ends = child.Ends(arguments.reports, arguments.life, arguments.handover)
    os.set_inheritable(ends.reports, False)
    child.find_release(order.config)
    os._exit(work(order.assignment, order.config, ends, lambda: _new_loader(order.config)))


def _new_loader(config: EngineConfig) -> Any:
    # The import of yt-dlp is the longest part of the work, and its errors are reported like others.
    from umd.engine.loader import Loader

    return Loader(config)


if __name__ == "__main__":
    main()
