"""Webhooks from end to end: signed, retried, and none forgotten by a service that dies."""

import asyncio
from pathlib import Path

import pytest

from tests.e2e.receiver import Receiver, unsteady
from tests.e2e.service import Json, Service, running
from tests.e2e.test_seen import samples
from tests.site import Site

AT_ONCE = 20


async def test_a_download_tells_its_receiver_what_happens(tmp_path: Path, site: Site) -> None:
    async with Receiver() as receiver, running(tmp_path) as service:
        job_id = await service.submit(site.url("/media/1mb/told.mp4"), webhook_url=receiver.url)
        await service.final(job_id)
        await receiver.when(lambda: len(receiver.accepted) == 2)
        await settled(service, f"download/{job_id}")

        kinds = {message["type"]: message["data"] for message in receiver.accepted.values()}
        assert set(kinds) == {"download.started", "download.completed"}
        assert kinds["download.completed"]["request_id"] == job_id
        assert kinds["download.completed"]["files"][0]["path"] == "videos/told-told.mp4"
        assert kinds["download.completed"]["metadata"]["title"] == "told"
        assert (await service.show(job_id))["webhook_sent"] is True
        numbers = await samples(service)
        assert (
            numbers["umd_webhook_attempts_total,delivered"]
            == numbers["umd_webhook_attempt_seconds_count"]
            == 2
        )
        assert numbers["umd_webhooks_pending"] == 0
        assert receiver.forged == 0


async def test_a_batch_tells_that_it_has_ended_although_the_service_dies(tmp_path: Path, site: Site) -> None:
    async with Receiver(lambda _id, count: 200 if count > 1 else None) as receiver:
        async with running(tmp_path, webhook_schedule_sec="0,5,5") as service:
            body = {
                "urls": [site.url("/media/small/one.mp4"), site.url("/status/404/two.mp4")],
                "webhook_url": receiver.url,
                "webhook_events": ["batch.completed"],
                "retries": 0,
            }
            batch_id = (await service.call("POST", "batch/download", 202, json=body))["batch_id"]
            await receiver.when(lambda: bool(receiver.seen))
            await service.kill()
            await service.start()
            await receiver.when(lambda: bool(receiver.accepted))
            [delivery] = await settled(service, f"batch/{batch_id}")

        [(name, message)] = receiver.accepted.items()
        assert (delivery["delivery_id"], delivery["state"]) == (name, "delivered")
        assert (message["type"], message["data"]["batch_id"]) == ("batch.completed", batch_id)
        counts = [message["data"][f"{kind}_jobs"] for kind in ("total", "completed", "failed")]
        assert (message["data"]["status"], counts) == ("completed", [2, 1, 1])
        assert receiver.forged == 0


async def test_an_address_inside_the_network_is_not_posted_to(tmp_path: Path, site: Site) -> None:
    """T6: the service may reach the test site's address, and no other inner one."""
    async with (
        Receiver() as receiver,
        running(tmp_path, allow_addresses="127.0.0.1/32", webhook_schedule_sec="0") as service,
    ):
        hook = receiver.url.replace("127.0.0.1", "127.0.0.2")
        problem = await service.call(
            "POST", "download", 403, json={"url": site.url("/media/1mb/a.mp4"), "webhook_url": hook}
        )

        assert problem["code"] == "address_not_allowed"
        assert not receiver.seen


@pytest.mark.parametrize("many", [150, pytest.param(1_000, marks=pytest.mark.soak)])
async def test_of_many_deliveries_none_is_lost_or_forged_although_the_service_dies(
    tmp_path: Path, site: Site, many: int
) -> None:
    schedule = ",".join(["0", *["1"] * 11])
    settings = {"webhook_schedule_sec": schedule, "max_concurrent_downloads": 1}
    async with Receiver(unsteady) as receiver, running(tmp_path, **settings) as service:
        await service.submit(site.url("/media/1mb/slow.mp4", stall_after=10_000))
        limit = asyncio.Semaphore(AT_ONCE)
        jobs = await asyncio.gather(*(cancelled(service, site, receiver, limit) for _ in range(many)))
        for part in (0.3, 0.6, 0.9):
            await receiver.when(lambda part=part: len(receiver.accepted) >= many * part)  # type: ignore[misc]
            await service.kill()
            await service.start()
        records = [await settled(service, f"download/{job_id}") for job_id in jobs]

    assert all(len(deliveries) == 1 for deliveries in records)
    by_id = {one["delivery_id"]: one for [one] in records}
    assert {one["state"] for one in by_id.values()} <= {"delivered", "exhausted"}
    for name, one in by_id.items():
        assert (name in receiver.accepted) >= (one["state"] == "delivered"), one
        assert one["attempts"] <= receiver.seen[name], "an attempt that was never made is on record"
    assert set(receiver.seen) == set(by_id)
    assert receiver.forged == 0
    assert sum(receiver.seen.values()) > many * 1.2


async def cancelled(service: Service, site: Site, receiver: Receiver, limit: asyncio.Semaphore) -> str:
    """A job that never began, and tells that it was cancelled."""
    async with limit:
        job_id = await service.submit(
            site.url("/media/small/x.mp4"), webhook_url=receiver.url, webhook_events=["download.cancelled"]
        )
        await service.call("DELETE", f"download/{job_id}")
        return job_id


async def settled(service: Service, path: str) -> Json:
    """The deliveries of a job or a batch, when each has come to its end: the log tells of every step."""
    async with asyncio.timeout(60), service.events("events?types=webhook.delivered,webhook.failed") as events:
        while True:
            answer = await service.call("GET", f"{path}/deliveries")
            if answer["deliveries"] and all(one["state"] != "pending" for one in answer["deliveries"]):
                return answer["deliveries"]
            await anext(events)
