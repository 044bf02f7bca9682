"""T21, T22: secrets in every part of a request go through a service at work, and are found nowhere."""

import asyncio
import sqlite3
import sys
import zlib
from asyncio.subprocess import PIPE
from contextlib import closing
from pathlib import Path

import aiohttp
import psutil

from tests.e2e.canaries import COOKIE, COOKIE_KEY, JAR, JAR_COOKIE, KEY, LINK_SECRET, WEBHOOK_SECRET, Canaries
from tests.e2e.receiver import Receiver
from tests.e2e.service import Service, running
from tests.site import Site

PASSWORD = "canary-password-3b"
PROXY = "canary-proxy-9c"
TOKEN = "canary-token-e1"
HOOK = "canary-hook-5d"


async def show_everything(service: Service, jobs: list[str]) -> None:
    """Ask for all that tells of these jobs, and for every event since the beginning."""
    paths = ["download", "auth/cookies", "health", "log?limit=1000"]
    paths += [f"download/{job_id}{rest}" for job_id in jobs for rest in ("", "/logs", "/deliveries")]
    for path in paths:
        await service.call("GET", path)
    for job_id in jobs:
        async with service.events(f"download/{job_id}/events", last=0) as events:
            async for _ in events:
                pass


async def test_no_secret_is_found_where_it_does_not_belong(tmp_path: Path, site: Site) -> None:
    settings = {"log_level": "debug", "webhook_schedule_sec": "0,0,0", "api_keys": f"canary:admin:{KEY}"}
    async with Receiver() as receiver, running(tmp_path, **settings) as service:
        canaries = service.canaries
        canaries.plant(PASSWORD)
        canaries.plant(PROXY, HOOK, TOKEN, stored=True)
        stored = await service.call("POST", "auth/cookies", 201, json={"name": "mine", "cookies": JAR})
        options = {
            "cookies_id": stored["cookie_id"],
            "webhook_url": f"{receiver.url}?token={HOOK}",
            "webhook_secret": WEBHOOK_SECRET,
            "retries": 0,
        }
        refused = f"http://me:{PASSWORD}@127.0.0.1/a?token={TOKEN}"
        await service.call("POST", "download", 422, json={"url": refused})
        proxied = {"url": site.url("/status/404/y"), "proxy": f"http://me:{PROXY}@127.0.0.1:9", "retries": 0}
        async with service.client.post("download", json=proxied) as answer:
            await answer.read()  # whether the operator permits it does not matter here

        gated = await service.submit(
            site.url(f"/site/cookie/a?token={TOKEN}"), write_info_json=True, **options
        )
        missing = await service.submit(site.url(f"/status/404/x?token={TOKEN}"), **options)
        live = await service.submit(site.url("/site/live/now?until=400"), **options)
        assert (await service.final(gated))["status"] == "completed"
        assert (await service.final(missing))["status"] == "failed"
        await site.wait_request("/hls/files/live/*")
        assert "ffmpeg" in {process.name() for process in service.processes()}
        await receiver.when(lambda: len(receiver.accepted) >= 5)

        await service.kill()
        await service.start()
        await service.call("DELETE", f"download/{live}")
        await show_everything(service, [gated, missing, live])
        await service.call("DELETE", f"auth/cookies/{stored['cookie_id']}")

    assert receiver.forged == 0


async def test_a_probe_tells_its_caller_the_address_and_no_other_secret(tmp_path: Path, site: Site) -> None:
    async with running(tmp_path, log_level="debug") as service:
        jar = await service.call("POST", "auth/cookies", 201, json={"name": "mine", "cookies": JAR})
        asked = {"url": site.url(f"/site/cookie/p?token={TOKEN}"), "cookies_id": jar["cookie_id"]}

        told = await service.call("GET", "metadata", params={**asked, "raw": "true"})
        service.canaries.plant(TOKEN, stored=True)  # only now: the address is the caller's own

    assert TOKEN in str(told)


async def test_a_link_is_known_to_its_client_alone(tmp_path: Path, site: Site) -> None:
    async with running(tmp_path, log_level="debug") as service:
        job = await service.download(site.url("/media/small/linked.mp4"))
        link = job["file_info"]["file_url"]

        async with aiohttp.ClientSession() as nobody, nobody.get(link) as answer:
            assert answer.status == 200

        assert "signature=" in link
        assert link.rpartition("=")[2] in service.canaries.given


async def test_a_secret_is_found_wherever_it_is_let_out(tmp_path: Path) -> None:
    """Nobody would notice if the others looked in vain."""
    signature = "0123456789abcdef" * 4
    canaries = Canaries(tmp_path, [])
    (tmp_path / "log").mkdir()
    with closing(sqlite3.connect(tmp_path / "log" / "log.sqlite3", isolation_level=None)) as log:
        log.execute("CREATE TABLE snapshot_part (data BLOB)")
        log.execute("INSERT INTO snapshot_part VALUES (?)", (zlib.compress(f"{COOKIE} ".encode()),))
    (tmp_path / "log" / "log.sqlite3-wal").write_bytes(b"\0" + COOKIE_KEY.encode())
    environment = {"UMD_LINK_SECRET": LINK_SECRET}
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "print(flush=True); input()", stdin=PIPE, stdout=PIPE, env=environment
    )
    assert child.stdout is not None
    await child.stdout.readline()  # until it runs, the environment is that of its parent

    canaries.answered("GET /a", f"{KEY} /files/a?signature={signature}".encode())
    canaries.sent("/b", f"cookie: {JAR_COOKIE}; {WEBHOOK_SECRET}")
    canaries.logged([b"{}", f"?signature={signature}".encode()])
    canaries.look_at_files()
    canaries.look_at_processes([psutil.Process(child.pid)])
    await child.communicate(b"\n")

    assert sorted(secret for found in canaries.leaks.values() for secret in found) == sorted(
        [KEY, WEBHOOK_SECRET.removeprefix("whsec_"), signature, COOKIE_KEY, LINK_SECRET, COOKIE]
    )
    assert len(canaries.take()) == 6
    assert canaries.leaks == {}
