"""T21, T22: secrets go through a service at work, and are looked for everywhere."""

from collections.abc import Iterator
from pathlib import Path

import psutil
from msgspec import json

from tests.api.world import COOKIE_KEY
from tests.e2e.receiver import SECRET, Receiver
from tests.e2e.service import Service, running
from tests.site import Site
from tests.site.api import SESSION_COOKIE

KEY = "umd_canaryKeyCanaryKeyCanaryKeyCanaryKeyCanaryKey"
COOKIE = "canary-cookie-7f"
PASSWORD = "canary-password-3a"
PROXY = "canary-proxy-9c"
TOKEN = "canary-token-e1"
HOOK = "canary-hook-5d"
SEALED = (COOKIE, SESSION_COOKIE[1], SECRET.removeprefix("whsec_"), KEY)
STORED_IN_THE_LOG = (TOKEN, PROXY, HOOK)
"""Parts of a request that its download needs again: the event log alone has them."""
ALL = (*SEALED, *STORED_IN_THE_LOG, PASSWORD, COOKIE_KEY)


def jar() -> str:
    cookies = (SESSION_COOKIE, ("tracking", COOKIE))
    lines = ["\t".join(("127.0.0.1", "FALSE", "/", "FALSE", "0", *cookie)) for cookie in cookies]
    return "\n".join(("# Netscape HTTP Cookie File", *lines, ""))


def found(secrets: tuple[str, ...], words: str | bytes) -> list[str]:
    text = words if isinstance(words, bytes) else words.encode()
    return [secret for secret in secrets if secret.encode() in text]


def files(root: Path) -> Iterator[Path]:
    return (path for path in root.rglob("*") if path.is_file())


def leaks_on_disk(root: Path) -> dict[str, list[str]]:
    """Each plain file with the secrets in it; the event log may have those that a download needs."""
    leaks = {}
    for path in files(root):
        relative = path.relative_to(root)
        allowed = STORED_IN_THE_LOG if relative.parts[0] == "log" else ()
        secrets = tuple(secret for secret in ALL if secret not in allowed)
        if leaked := found(secrets, path.read_bytes()):
            leaks[str(relative)] = leaked
    return leaks


def leaks_in_processes(service: Service) -> dict[str, list[str]]:
    """The command line and the environment of every worker, with what they started."""
    leaks = {}
    for process in service.processes():
        try:
            words = f"{process.cmdline()} {process.environ()}"
        except psutil.Error:
            continue
        if leaked := found(ALL, words):
            leaks[process.name()] = leaked
    return leaks


async def everything_shown(service: Service, jobs: list[str]) -> str:
    """All answers that tell of these jobs, and every event since the beginning."""
    paths = ["download", "auth/cookies", "health", "log?limit=1000"]
    paths += [f"download/{job_id}{rest}" for job_id in jobs for rest in ("", "/logs", "/deliveries")]
    shown = []
    for path in paths:
        async with service.client.get(path) as answer:
            assert answer.status == 200, path
            shown.append(await answer.text())
    for job_id in jobs:
        headers = {"Last-Event-ID": "0"}
        async with service.client.get(f"download/{job_id}/events", headers=headers) as answer:
            shown.append(await answer.text())
    return "\n".join(shown)


async def test_no_secret_is_found_where_it_does_not_belong(tmp_path: Path, site: Site) -> None:
    async with (
        Receiver() as receiver,
        running(tmp_path, cookie_key=COOKIE_KEY, log_level="debug", webhook_schedule_sec="0,0,0") as service,
    ):
        service.client.headers["X-API-Key"] = KEY
        stored = await service.call("POST", "auth/cookies", 201, json={"name": "mine", "cookies": jar()})
        options = {
            "cookies_id": stored["cookie_id"],
            "webhook_url": f"{receiver.url}?token={HOOK}",
            "webhook_secret": SECRET,
            "retries": 0,
        }
        refused = f"http://me:{PASSWORD}@127.0.0.1/a?token={TOKEN}"
        async with service.client.post("download", json={"url": refused}) as answer:
            assert answer.status == 422
            said = await answer.text()
        proxied = {"url": site.url("/status/404/y"), "proxy": f"http://me:{PROXY}@127.0.0.1:9", "retries": 0}
        async with service.client.post("download", json=proxied) as answer:
            said += await answer.text()  # whether the operator permits it does not matter here

        asked = {"url": site.url(f"/site/cookie/p?token={TOKEN}"), "cookies_id": stored["cookie_id"]}
        async with service.client.get("metadata", params={**asked, "raw": "true"}) as answer:
            assert answer.status == 200
            probed = await answer.text()
        gated = await service.submit(site.url(f"/site/cookie/a?token={TOKEN}"), **options)
        missing = await service.submit(site.url(f"/status/404/x?token={TOKEN}"), **options)
        live = await service.submit(site.url("/site/live/now?until=400"), **options)
        assert (await service.final(gated))["status"] == "completed"
        assert (await service.final(missing))["status"] == "failed"
        await site.wait_request("/hls/files/live/*")
        assert "ffmpeg" in {process.name() for process in service.processes()}
        in_processes = leaks_in_processes(service)
        on_disk = leaks_on_disk(tmp_path)
        await receiver.when(lambda: len(receiver.accepted) >= 5)
        bodies = json.encode(list(receiver.accepted.values()))
        before = list(service.lines)

        await service.kill()
        after_kill = leaks_on_disk(tmp_path)
        await service.start()
        await service.call("DELETE", f"download/{live}")
        shown = await everything_shown(service, [gated, missing, live])
        await service.call("DELETE", f"auth/cookies/{stored['cookie_id']}")

    assert in_processes == {}
    assert on_disk == {}
    assert after_kill == {}
    assert leaks_on_disk(tmp_path) == {}
    assert found(ALL, said) == []
    assert found(ALL, shown) == []
    assert found((*SEALED, PASSWORD, COOKIE_KEY), probed) == [], "the address asked for is the caller's own"
    assert found(ALL, bodies) == []
    assert found(ALL, json.encode([*before, *service.lines])) == []
    assert receiver.forged == 0
