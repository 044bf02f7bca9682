import base64
from pathlib import Path

from tests.api.world import URL, World, is_problem
from umd.domain import commands as c
from umd.settings import Settings

HOOK = "https://hooks.test/services/T0/capability"
SECRET = "whsec_" + base64.b64encode(b"canary-canary-canary-cana").decode()


async def test_the_webhooks_of_a_download_are_listed_and_made_again(world: World) -> None:
    job_id = await world.submit(webhook_url=HOOK, webhook_events=["download.completed"])
    path = f"/download/{job_id}/deliveries"
    assert (await world.get(path)).json == {"request_id": job_id, "deliveries": []}
    await world.complete(job_id)
    await world.execute(c.RecordDeliveryFailed(job_id, 1, 1, "No answer came within 15 s.", 15_000))

    [shown] = (await world.get(path)).json["deliveries"]
    assert shown["delivery_id"] == f"msg_{job_id}_1"
    assert (shown["event"], shown["state"], shown["attempts"]) == ("download.completed", "exhausted", 1)
    assert (shown["last_error"], shown["next_attempt_at"]) == ("No answer came within 15 s.", None)

    again = await world.ask("POST", f"{path}/{shown['delivery_id']}/redeliver")
    assert (again.status, again.json["state"]) == (202, "pending")
    assert is_problem(await world.ask("POST", f"{path}/msg_x_1/redeliver"), "delivery_not_found", 404)
    assert (await world.get(f"/download/{job_id}")).json["webhook_sent"] is False
    await world.execute(c.RecordDelivered(job_id, 1, 2, 200, 5))
    assert (await world.get(f"/download/{job_id}")).json["webhook_sent"] is True


async def test_the_webhooks_of_a_batch_are_listed_and_made_again(world: World) -> None:
    body = {"urls": [URL], "webhook_url": HOOK, "webhook_events": ["batch.completed"]}
    batch_id = (await world.post(body, "/batch/download")).json["batch_id"]
    path = f"/batch/{batch_id}/deliveries"
    assert (await world.get(path)).json == {"batch_id": batch_id, "deliveries": []}
    await world.ask("DELETE", f"/batch/{batch_id}")
    failed = c.RecordBatchDeliveryFailed(batch_id, 1, 1, "No answer came within 15 s.", 15_000)
    await world.dispatcher.execute_batch(failed)

    [shown] = (await world.get(path)).json["deliveries"]
    assert (shown["event"], shown["state"], shown["attempts"]) == ("batch.completed", "exhausted", 1)
    again = await world.ask("POST", f"{path}/{shown['delivery_id']}/redeliver")
    assert (again.status, again.json["state"]) == (202, "pending")
    assert is_problem(
        await world.ask("POST", f"{path}/msg_{batch_id}_1/redeliver"), "delivery_not_found", 404
    )


async def test_a_secret_of_a_request_is_stored_sealed_and_shown_nowhere(world: World) -> None:
    job_id = await world.submit(webhook_url=HOOK, webhook_secret=SECRET)

    stored = b"".join(record.data for record in world.log.records)
    sealed = world.jobs.require(job_id).job.request.webhook_secret
    assert sealed is not None
    assert world.vault.open_text(sealed, "webhook", "anonymous") == SECRET
    assert SECRET[6:].encode() not in stored
    shown = (await world.get("/log")).body + (await world.get(f"/download/{job_id}")).body
    assert b"whsec_" not in shown
    assert b"sealed." not in shown
    assert b"capability" not in shown


async def test_a_bad_secret_and_the_own_address_are_refused(world: World) -> None:
    bad = await world.post({"url": URL, "webhook_url": HOOK, "webhook_secret": "whsec_short"})
    own = await world.post({"url": URL, "webhook_url": f"http://127.0.0.1:{world.port}/api/v1/download"})

    assert is_problem(bad, "validation_error", 422)
    assert b"whsec_short" not in bad.body
    assert is_problem(own, "address_not_allowed", 403)


async def test_the_service_does_not_call_itself_where_its_address_is_allowed(tmp_path: Path) -> None:
    settings = Settings(port=0, allow_addresses="127.0.0.0/8")
    async with World(tmp_path, settings).running() as world:
        own = await world.post({"url": URL, "webhook_url": f"http://127.0.0.1:{world.port}/api/v1/download"})

        assert is_problem(own, "validation_error", 422)
        assert own.json["errors"][0]["pointer"] == "/webhook_url"


async def test_a_repeated_request_with_a_secret_meets_its_job(world: World) -> None:
    body = {"url": URL, "webhook_url": HOOK, "webhook_secret": SECRET}

    first = await world.post(body, Idempotency_Key="k")
    again = await world.post(body, Idempotency_Key="k")

    assert (first.status, first.json) == (again.status, again.json)
