"""A video for the signed-in, with a jar and without."""

from pathlib import Path

import aiohttp

from tests.e2e.service import Json, Service, running
from tests.site import Site
from tests.site.api import SESSION_COOKIE, session_jar


async def stored(service: Service, jar: str | None = None, **fields: str) -> str:
    form = aiohttp.FormData({"name": "mine", **fields})
    form.add_field("file", (jar or session_jar()).encode(), filename="cookies.txt")
    return str((await service.call("POST", "auth/cookies", 201, data=form))["cookie_id"])


async def test_a_gated_video_downloads_with_the_jar_and_not_without(tmp_path: Path, site: Site) -> None:
    async with running(tmp_path, max_concurrent_downloads=1) as service:
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


async def test_the_same_jar_opens_what_is_probed_listed_and_downloaded(tmp_path: Path, site: Site) -> None:
    async with running(tmp_path) as service:
        jar_id = await stored(service)
        video, gated = (
            site.url("/site/cookie/seen"),
            site.url("/site/playlist/held?n=2&gated=1&fault=1:cookie"),
        )

        async def ask(path: str, url: str, expect: int = 200, **query: str) -> Json:
            return await service.call("GET", path, expect, params={"url": url, **query})

        for path, url in (
            ("formats", video),
            ("metadata", video),
            ("playlist/preview", gated),
            ("channel/info", gated),
        ):
            opened = await ask(path, url, cookies_id=jar_id)
            refused = await ask(path, url, 422)
            assert opened.get("total_items", opened.get("video_count", 2)) == 2
            assert SESSION_COOKIE[1] not in str(opened)
            assert refused["code"] == "login_required"

        batch = await whole(service, "playlist/download", url=gated, cookies_id=jar_id)
        assert (batch["status"], batch["completed_jobs"]) == ("completed", 2)

        stale = await stored(service, session_jar().replace(SESSION_COOKIE[1], "stale"))
        failed = await whole(service, "channel/download", url=gated, cookies_id=stale)
        assert failed["error"]["code"] == "login_required"
        for one in (jar_id, stale):
            await service.call("DELETE", f"auth/cookies/{one}")
        gone = await ask("formats", video, 404, cookies_id=jar_id)
        await service.call("POST", f"batch/{failed['batch_id']}/retry", 202)
        retried = await ended(service, failed["batch_id"])
        assert gone["code"] == retried["error"]["code"] == "cookies_not_found"


async def test_what_a_site_changes_is_kept_by_the_jar_that_asks_for_it(tmp_path: Path, site: Site) -> None:
    async with running(tmp_path) as service:
        asks, does_not = [await stored(service, update=flag) for flag in ("true", "false")]
        sets, wants = site.url("/site/cookie/new?sets=factor"), site.url("/site/cookie/second?wants=factor")
        for jar_id in (asks, does_not):
            assert (await service.download(sets, cookies_id=jar_id))["status"] == "completed"
        await service.kill()
        await service.start()
        opened = await service.download(wants, cookies_id=asks, retries=0)
        refused = await service.download(wants, cookies_id=does_not, retries=0)
        shown = [await service.call("GET", f"auth/cookies/{jar_id}") for jar_id in (asks, does_not)]

        assert (opened["status"], refused["error"]["code"]) == ("completed", "login_required")
        assert [(jar["update"], jar["updated_at"] is not None) for jar in shown] == [
            (True, True),
            (False, False),
        ]


async def whole(service: Service, path: str, **request: object) -> Json:
    """A batch from its request to its end."""
    accepted = await service.call("POST", path, 202, json={"retries": 0, **request})
    return await ended(service, accepted["batch_id"])


async def ended(service: Service, batch_id: str) -> Json:
    """A batch when its stream has ended, which tells of what it is now first."""
    async with service.events(f"batch/{batch_id}/events") as events:
        async for _ in events:
            pass
    return await service.call("GET", f"batch/{batch_id}")
