"""A video for the signed-in, with a jar and without."""

from pathlib import Path

import aiohttp

from tests.api.world import COOKIE_KEY
from tests.e2e.service import Service, running
from tests.site import Site
from tests.site.api import SESSION_COOKIE


def jar() -> str:
    line = "\t".join(("127.0.0.1", "FALSE", "/", "FALSE", "0", *SESSION_COOKIE))
    return f"# Netscape HTTP Cookie File\n{line}\n"


async def stored(service: Service) -> str:
    form = aiohttp.FormData({"name": "mine"})
    form.add_field("file", jar().encode(), filename="cookies.txt")
    return str((await service.call("POST", "auth/cookies", 201, data=form))["cookie_id"])


async def test_a_gated_video_downloads_with_the_jar_and_not_without(tmp_path: Path, site: Site) -> None:
    async with running(tmp_path, cookie_key=COOKIE_KEY, max_concurrent_downloads=1) as service:
        url = site.url("/site/cookie/mine")
        jar_id = await stored(service)

        without = await service.download(url, retries=0)
        opened = await service.download(url, cookies_id=jar_id)

        assert (without["status"], without["error"]["code"]) == ("failed", "login_required")
        assert (opened["status"], opened["error"]) == ("completed", None)

        await service.stop()
        await service.start()
        assert (await service.download(url, cookies_id=jar_id))["status"] == "completed"

        gate = await service.submit(site.url("/media/1mb/slow.mp4", stall_after=10_000))
        late = await service.submit(url, cookies_id=jar_id)
        await service.call("DELETE", f"auth/cookies/{jar_id}")
        await service.call("DELETE", f"download/{gate}")
        job = await service.final(late)
        assert (job["status"], job["error"]["code"]) == ("failed", "cookies_not_found")
        await service.call("POST", "download", 422, json={"url": url, "cookies_id": jar_id})
