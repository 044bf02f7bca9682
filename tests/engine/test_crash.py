"""Whatever of the engine dies, nothing else dies with it, and nothing is left behind."""

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import psutil
import pytest
import pytest_asyncio

from tests.engine.rig import Rig, is_alive, marked
from tests.site import PLUGINS, Site
from umd.domain.options import DownloadRequest
from umd.egress.passage import Allowance, Passage
from umd.engine import leftovers, runner
from umd.engine.child import worker_environment
from umd.engine.config import EngineConfig
from umd.engine.protocol import Assignment, Finished
from umd.engine.roster import needed
from umd.engine.runner import ZygoteEngine
from umd.errors import EngineError

ROOT = Path(__file__).parent.parent.parent
DIES_ONCE = """
import os, pathlib
dead = pathlib.Path({!r})
if not dead.exists():
    dead.touch()
    os.kill(os.getpid(), 9)
"""
DEATH_SEC = 30.0
"""Half the time for which what a dead zygote leaves behind could live on."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def broken(site: Site, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    async with Rig(site, tmp_path_factory.mktemp("broken"), "fork") as running:
        yield running


@pytest.fixture
def fragile(broken: Rig) -> Rig:
    """An engine to be broken; it gets over everything, and so can be broken again."""
    broken.notices.clear()
    zygote_engine(broken)._starts.clear()
    return broken


def zygote_engine(rig: Rig) -> ZygoteEngine:
    assert isinstance(rig.engine, ZygoteEngine)
    return rig.engine


def zygote(rig: Rig) -> int:
    link = zygote_engine(rig)._link
    assert link is not None
    assert link.pid is not None
    return link.pid


@pytest.mark.parametrize(("kind", "status"), [("segfault", -signal.SIGSEGV), ("exit", 3)])
async def test_a_child_that_dies_ends_its_reports_without_a_result(rig: Rig, kind: str, status: int) -> None:
    run = await rig.begin(f"/site/{kind}/x")
    ended = await run.ended()

    assert ended.status == status
    assert run.of(Finished) == []
    assert [one.ended for one in rig.noticed("child_ended")][-1] == ended


async def test_a_child_goes_on_when_its_zygote_dies_and_the_next_one_has_another(fragile: Rig) -> None:
    run = await fragile.begin("/media/1mb/orphan.mp4?rate=1000000")
    await run.entered("downloading")
    first = zygote(fragile)
    os.kill(first, signal.SIGKILL)
    other = await fragile.download("/media/small/after.mp4")
    ended = await run.ended()

    assert run.finished.fault is None
    assert run.main.stat().st_size == fragile.site.media.size("1mb")
    assert ended.status is None, "nobody is left who could know it"
    assert other.finished.fault is None
    assert zygote(fragile) != first
    assert [notice.pid for notice in fragile.noticed("zygote_lost")] == [first]


async def test_an_orphan_can_be_stopped_and_its_crash_is_seen(fragile: Rig) -> None:
    runs = [await fragile.begin(f"/media/50mb/orphan-{number}.mp4?rate=500000") for number in range(2)]
    for run in runs:
        await fragile.site.wait_bytes(f"/media/50mb/orphan-{runs.index(run)}.mp4", 50_000)
    pids = [notice.pid or 0 for notice in fragile.noticed("child_started")]
    os.kill(zygote(fragile), signal.SIGKILL)
    await fragile.happened("zygote_lost")
    await runs[0].attempt.stop()
    os.kill(pids[1], signal.SIGKILL)
    await runs[1].ended()

    assert [pid for pid in pids if is_alive(pid)] == []
    assert runs[1].of(Finished) == []
    assert runs[0].files == {"media.mp4.part"}


async def test_a_child_whose_zygote_died_before_it_told_of_it_leaves_no_way_out_open(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Rig(site, tmp_path, "fork") as rig:
        admitted, admit = asyncio.Event(), rig.egress.admit

        async def noted(listener: socket.socket, allowance: Allowance) -> Passage:
            admitted.set()
            return await admit(listener, allowance)

        monkeypatch.setattr(rig.egress, "admit", noted)
        monkeypatch.setattr("umd.engine.link.Link._forked", lambda *_: None)
        beginning = asyncio.create_task(rig.begin("/media/50mb/unheard-of.mp4?rate=500000"))
        await admitted.wait()
        monkeypatch.undo()
        os.kill(zygote(rig), signal.SIGKILL)
        run = await beginning
        await run.attempt.stop()
        await run.ended()
        await rig.engine.stop()

        assert rig.egress.passages == 0


async def test_a_service_that_is_stopped_while_its_zygote_warms_up_goes_on(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by a signal, or by a platform that freezes it: this process does nothing for too long."""
    monkeypatch.setattr("umd.engine.link.READY_SEC_MAX", 5.0)
    rig = Rig(site, tmp_path, "fork")
    try:
        await rig.engine.start()
        time.sleep(6)  # noqa: ASYNC251  # is what is tried
        await rig.engine.warm()
        run = await rig.download("/media/small/stopped.mp4")
    finally:
        await rig.engine.stop()
        await rig.egress.stop()

    assert run.finished.fault is None
    assert rig.noticed("zygote_lost") == []


async def test_a_zygote_that_does_not_answer_is_replaced(
    fragile: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("umd.engine.link.FORK_SEC_MAX", 0.2)
    monkeypatch.setattr("umd.engine.link.GONE_SEC", 0.1)
    run = await fragile.begin("/media/50mb/stuck.mp4?rate=500000")
    await run.entered("downloading")
    os.kill(zygote(fragile), signal.SIGSTOP)
    stopped = await run.attempt.stop()
    with pytest.raises(EngineError, match="does not answer"):
        await fragile.begin("/media/small/never.mp4")
    monkeypatch.undo()
    done = await fragile.download("/media/small/stuck-after.mp4")

    assert stopped.status is None
    assert done.finished.fault is None


async def test_a_zygote_that_keeps_dying_is_given_up_for_a_while(
    fragile: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("umd.engine.runner.STARTS_SEC", 3_600)
    zygote_engine(fragile)._starts.extend([asyncio.get_running_loop().time()] * 5)
    os.kill(zygote(fragile), signal.SIGKILL)
    await fragile.happened("zygote_lost")
    with pytest.raises(EngineError, match="ended 5 times"):
        await fragile.begin("/media/small/given-up.mp4")
    monkeypatch.setattr("umd.engine.runner.STARTS_SEC", 0)

    assert (await fragile.download("/media/small/taken-up.mp4")).finished.fault is None


async def test_a_zygote_that_cannot_start_says_so(site: Site, tmp_path: Path) -> None:
    rig = Rig(site, tmp_path, "fork")
    config = msgspec.structs.replace(rig.config, plugin_dir=str(tmp_path / "nowhere"))
    engine = runner.create(config, "fork", rig.egress)

    await engine.start()
    with pytest.raises(EngineError, match="did not start"):
        await engine.warm()
    await engine.stop()
    assert marked(config) == []


async def test_a_zygote_that_dies_while_it_warms_up_is_replaced_at_once(site: Site, tmp_path: Path) -> None:
    module = tmp_path / "plugins/yt_dlp_plugins/extractor/fatal.py"
    module.parent.mkdir(parents=True)
    module.write_text(DIES_ONCE.format(str(tmp_path / "dead")))
    rig = Rig(site, tmp_path, "fork")
    config = msgspec.structs.replace(rig.config, plugin_dir=str(tmp_path / "plugins"))
    happened: list[str] = []
    engine = runner.create(config, "fork", rig.egress, lambda notice: happened.append(notice.what))

    await engine.start()
    async with asyncio.timeout(DEATH_SEC):
        await engine.warm()
    await engine.stop()

    assert [what for what in happened if what != "sandbox"] == ["zygote_failed", "zygote_ready"]
    assert marked(config) == []


async def test_a_child_that_talks_nonsense_is_ended(fragile: Rig) -> None:
    run = await fragile.begin("/media/50mb/nonsense.mp4?rate=500000")
    await run.entered("downloading")
    pid = fragile.noticed("child_started")[-1].pid
    # What a plugin could do: find the descriptor, and write to it.
    _write_to_pipes(Path(f"/proc/{pid}/fd"), b"nonsense\n")
    ended = await run.ended()

    assert ended.status == -signal.SIGKILL
    assert [notice.pid for notice in fragile.noticed("child_broken")] == [pid]
    assert run.of(Finished) == []


def _write_to_pipes(descriptors: Path, data: bytes) -> None:
    for entry in descriptors.iterdir():
        flags = (descriptors.parent / "fdinfo" / entry.name).read_text().split("flags:")[1].split()[0]
        is_pipe = str(entry.readlink()).startswith("pipe:")
        if is_pipe and int(flags, 8) & os.O_ACCMODE == os.O_WRONLY:
            with entry.open("wb", buffering=0) as stream:
                stream.write(data)


LIMITS = {
    psutil.RLIMIT_CORE: 0,
    psutil.RLIMIT_FSIZE: 12_345_678,
    psutil.RLIMIT_DATA: 2**32,
    psutil.RLIMIT_NOFILE: 1_024,
    psutil.RLIMIT_NPROC: 4_096,
}


async def test_a_child_has_limits_and_nothing_of_the_services_environment(rig: Rig) -> None:
    run = await rig.begin(f"/site/hang/env-{rig.mode}", max_filesize=12_345_678)
    await rig.site.wait_request(f"/site/api/hang/env-{rig.mode}")
    process = psutil.Process(rig.noticed("child_started")[-1].pid)
    environment = process.environ()
    limits = {name: process.rlimit(name) for name in LIMITS}
    nice, folder, group, threads = (
        process.nice(),
        process.cwd(),
        os.getpgid(process.pid),
        process.num_threads(),
    )
    oom_score = await asyncio.to_thread(Path(f"/proc/{process.pid}/oom_score_adj").read_text)
    await run.attempt.stop()

    assert set(environment) <= {"PATH", "LANG", "PYTHONPATH", "UMD_ENGINE", "COVERAGE_PROCESS_CONFIG"}
    assert "s3cret" not in str(environment)
    assert limits == {name: (limit, limit) for name, limit in LIMITS.items()}
    assert (folder, group, threads, int(oom_score)) == (str(run.folder), process.pid, 1, 500)
    assert nice == psutil.Process().nice() + 5


async def test_kill_9_of_the_service_leaves_no_process(site: Site, tmp_path: Path) -> None:
    """Not even where the zygote died first, and nobody is left who could kill what it has made."""
    cases = (("fork", True), ("fork", False), ("spawn", False))
    left = await asyncio.gather(*(_killed(site, tmp_path, *case) for case in cases))

    assert left == [[], [], []]


async def _killed(site: Site, tmp_path: Path, mode: str, zygote_first: bool) -> list[psutil.Process]:
    path = f"/media/50mb/service-{mode}-{zygote_first}.mp4"
    root = tmp_path / f"{mode}-{zygote_first}"
    service = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", SERVICE, str(root), mode, site.url(path, rate=500_000)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    assert service.stdout is not None
    pids = [int(word) for word in (await service.stdout.readline()).split()]
    await site.wait_bytes(path, 50_000, timeout_sec=30)
    processes = [psutil.Process(pid) for pid in pids]
    if zygote_first:
        processes[0].kill()
    service.kill()
    await service.wait()
    _, alive = await asyncio.to_thread(psutil.wait_procs, processes, timeout=1.5)
    assert (await site.wait_closed(path, 1.0)).aborted
    return [process for process in alive if is_alive(process.pid)]  # a zombie waits only for its reaper


SERVICE = f"""
import asyncio, sys
from pathlib import Path
from umd.domain.destinations import rules_of
from umd.domain.options import MediaOptions
from umd.egress.proxy import Egress
from umd.egress.resolver import SystemResolver
from umd.engine import ffmpeg, runner
from umd.engine.config import configure, scratch_folder
from umd.engine.protocol import Assignment
from umd.settings import Settings

async def main(root, mode, url):
    settings = Settings(
        data_dir=root, ytdlp_plugin_dir={str(PLUGINS)!r}, allow_addresses="127.0.0.1"
    )
    pids = []
    config = configure(settings, ffmpeg.find(scratch_folder(settings)))
    egress = Egress(rules_of(settings), SystemResolver())
    engine = runner.create(
        config, mode, egress, lambda notice: notice.what != "sandbox" and pids.append(notice.pid)
    )
    await engine.start()
    folder = Path(root) / "job"
    folder.mkdir()
    attempt = await engine.run(Assignment("job", 1, url, MediaOptions(), str(folder)))
    print(*pids, flush=True)
    async for report in attempt.reports():
        pass

asyncio.run(main(*sys.argv[1:]))
"""


async def test_what_an_earlier_run_left_is_swept_and_nothing_else(site: Site, tmp_path: Path) -> None:
    rig = Rig(site, tmp_path, "spawn")
    old = rig.config.mark.partition(".")[0] + ".0123456789abcdef"
    marks = (old, "feedfeedfeedfeed.0123456789abcdef")
    left, other = [await _sleeper(msgspec.structs.replace(rig.config, mark=mark)) for mark in marks]
    async with rig:
        await rig.engine.sweep()
        await asyncio.wait_for(left.wait(), 5)

        assert left.returncode == -signal.SIGKILL
        assert [notice.pid for notice in rig.noticed("leftover_killed")] == [left.pid]
        assert is_alive(other.pid)
        assert leftovers.sweep(rig.config) == []
    other.kill()
    await other.wait()


async def _sleeper(config: EngineConfig) -> asyncio.subprocess.Process:
    """A process as an earlier run may have left it."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "print(flush=True); import signal; signal.pause()"),
        env=worker_environment(config),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    await process.stdout.readline()
    return process


def test_a_request_reaches_the_child_as_options_without_its_webhook() -> None:
    request = DownloadRequest(url="http://a.test/", quality="720p", webhook_url="http://hook.test/s3cret")
    assignment = needed(Assignment("j", 1, request.url, request, "/x"))

    decoded = msgspec.json.decode(msgspec.json.encode(assignment), type=Assignment)
    assert (decoded.options.quality, decoded.options.webhook_url) == ("720p", None)
