"""What is seen of a start: work is taken at once, while the process that workers are forked from warms up."""

import asyncio
import os
from pathlib import Path

from tests.e2e.service import Service
from tests.site import Site

PLUGIN = "yt_dlp_plugins/extractor/slow.py"
WAITS_FOR = "open({!r}).close()\n"
"""A named pipe: until somebody has it open for writing."""
BREAKS = "import os\nos._exit(3)\n"


def plugin(folder: Path, code: str) -> Path:
    """A folder for `UMD_YTDLP_PLUGIN_DIR`, of one module that runs while yt-dlp is loaded."""
    (folder / PLUGIN).parent.mkdir(parents=True, exist_ok=True)
    (folder / PLUGIN).write_text(code)
    return folder


async def test_work_is_taken_before_the_engine_is_warm_and_done_when_it_is(
    tmp_path: Path, site: Site
) -> None:
    os.mkfifo(gate := tmp_path / "gate")
    plugins = plugin(tmp_path / "plugins", WAITS_FOR.format(str(gate)))
    service = Service(tmp_path / "data", ytdlp_plugin_dir=plugins)
    await service.start()
    try:
        ready = await service.call("GET", "health/ready")
        health = await service.call("GET", "health")
        job_id = await service.submit(site.url("/media/small/early.mp4"))
        await service.until(job_id, "job.started")
        asked = list(site.requests_for("/media/small/early.mp4"))
        with await asyncio.to_thread(gate.open, "w"):
            job = await service.final(job_id)
            after = await service.call("GET", "health")
    finally:
        await service.stop()

    assert ready["status"] == "ready"
    assert (health["status"], health["checks"]["workers"]["status"]) == ("degraded", "degraded")
    assert asked == []
    assert (job["status"], job["attempt"]) == ("completed", 1)
    assert after["checks"]["workers"]["status"] == "healthy"


async def test_an_engine_that_cannot_be_warmed_ends_the_service_and_no_job_is_lost(
    tmp_path: Path, site: Site
) -> None:
    os.mkfifo(gate := tmp_path / "gate")
    plugins = plugin(tmp_path / "plugins", WAITS_FOR.format(str(gate)) + BREAKS)
    service = Service(tmp_path / "data", ytdlp_plugin_dir=plugins)
    await service.start()
    job_id = await service.submit(site.url("/media/small/lasting.mp4"))
    await service.until(job_id, "job.started")
    with await asyncio.to_thread(gate.open, "w"):
        fault = await service.logged("app.fault")
        code = await service.stop(None)

    plugin(plugins, "")
    await service.start()
    try:
        job = await service.final(job_id)
    finally:
        await service.stop()

    assert "The zygote ended 5 times" in fault["exception"]
    assert code == 70
    assert job["status"] == "completed"
