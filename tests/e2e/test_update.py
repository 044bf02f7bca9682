"""A running service moves to another release of yt-dlp, and back, and whatever is killed in between."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from tests.e2e.service import ROOT, WAIT_SEC, Service
from tests.engine import releases
from tests.engine.releases import NEW, NEWER
from tests.invariants import check
from tests.site import Site
from umd.domain.engine import FAULTS_MIN
from umd.engine.shelf import Shelf, Wish, own_version

OWN = own_version()


async def umd(service: Service, *arguments: object) -> tuple[int, list[Any], str]:
    """A command beside the service: its exit code, the objects that it printed, and its complaints."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "umd", *map(str, arguments)),
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "UMD_DATA_DIR": str(service.data_dir), "PIP_NO_INDEX": "1"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    told, complaints = await process.communicate()
    assert process.returncode is not None
    return process.returncode, [json.loads(line) for line in told.splitlines()], complaints.decode()


async def happened(service: Service, kind: str) -> dict[str, Any]:
    """The first event of this type, as an admin hears of it."""
    async with asyncio.timeout(WAIT_SEC), service.events(f"events?types={kind}", last=0) as events:
        async for event in events:
            if event.type == kind:
                data: dict[str, Any] = event.data
                return data
    raise AssertionError("the stream ended")


async def ytdlp(service: Service) -> tuple[str, str]:
    """What `/health` says of it: the status, and the version."""
    found = (await service.call("GET", "health"))["checks"]["yt_dlp"]
    return found["status"], found["details"]["version"]


async def started_with(service: Service, job_id: str) -> list[str]:
    rows = (await service.call("GET", f"log?stream=job-{job_id}"))["events"]
    return [row["data"]["ytdlp_version"] for row in rows if row["type"] == "job.started"]


async def test_new_downloads_move_while_running_ones_stay_and_all_come_back_from_what_does_worse(
    tmp_path: Path, site: Site
) -> None:
    service = Service(tmp_path / "data", max_retries=0)
    await service.start()
    wheel = releases.wheel(tmp_path, NEW, releases.BROKEN_SITES)
    stays = await service.submit(site.url("/media/small/stays.mp4", stall_after=1_000, gate="moves", skip=1))
    await site.wait_request("/media/small/stays.mp4", count=2)

    code, said, _ = await umd(service, "engine", "update", "--wheel", wheel)

    assert (code, said) == (0, [{"type": "engine.updated", "version": NEW, "previous": OWN, "own": OWN}])
    assert await ytdlp(service) == ("healthy", NEW)
    _, [status], _ = await umd(service, "engine", "status")
    assert (status["current"], status["previous"], status["running"]) == (NEW, OWN, {OWN: 1})
    site.open_gate("moves")
    assert (await service.final(stays))["status"] == "completed"
    assert await started_with(service, stays) == [OWN]

    for number in range(FAULTS_MIN):
        job = await service.download(site.url(f"/media/small/moved-{number}.mp4"))
        assert job["error"]["code"] == "internal"
        assert await started_with(service, job["request_id"]) == [NEW]
    rolled_back = await happened(service, "engine.rolled_back")

    assert (rolled_back["version"], rolled_back["failed"], rolled_back["faults"]) == (OWN, NEW, FAULTS_MIN)
    back = await service.download(site.url("/media/small/back.mp4"))
    assert back["status"] == "completed"
    assert await started_with(service, back["request_id"]) == [OWN]
    await service.kill()

    # What happened is known, and an update that a kill cuts short is made by the next life.
    shelf = Shelf(service.data_dir / "engines")
    await service.start()
    assert await ytdlp(service) == ("degraded", OWN)
    releases.unpacked(shelf.place, NEWER)
    shelf.want(Wish(NEWER, "cut-short"))
    await warm(service, 2)
    await service.kill()
    assert shelf.wish is not None
    await service.start()
    async with asyncio.timeout(WAIT_SEC), service.events("events?types=engine.updated", last=0) as events:
        updates = [(await anext(events)).data["version"] for _ in range(2)]
    assert updates == [NEW, NEWER]
    assert (await service.download(site.url("/media/small/newer.mp4")))["status"] == "completed"
    assert await ytdlp(service) == ("healthy", NEWER)
    assert await service.stop() == 0
    check(service.data_dir, [])
    assert (await umd(service, "replay", "--verify"))[0] == 0
    await service.start()
    assert await ytdlp(service) == ("healthy", NEWER)
    await service.warm()
    assert [line["detail"] for line in zygotes(service)] == [NEWER]
    assert await service.stop() == 0


def zygotes(service: Service) -> list[dict[str, Any]]:
    return [line for line in service.lines if line["event"] == "engine.zygote_ready"]


async def warm(service: Service, count: int) -> None:
    """Wait until so many zygotes have become warm; the last one's release is being tested then."""
    async with asyncio.timeout(WAIT_SEC):
        while len(zygotes(service)) < count:
            service._changed.clear()
            await service._changed.wait()
