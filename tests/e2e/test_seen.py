"""What the operator of a real service sees of it."""

from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.service import Service, running
from tests.site import Site

PASSING = {"requests_per_minute", "uptime_seconds", "storage_available_bytes", "timestamp"}
"""What belongs to one process or one moment."""


async def samples(service: Service) -> dict[str, float]:
    """The samples of `/metrics`, as they are written there."""
    async with service.client.get("metrics") as answer:
        families = text_string_to_metric_families(await answer.text())
        return {
            sample.name + "".join(f",{value}" for value in sample.labels.values()): sample.value
            for family in families
            for sample in family.samples
        }


async def test_a_download_shows_in_the_metrics_and_its_totals_survive_a_restart(
    tmp_path: Path, site: Site
) -> None:
    async with running(tmp_path, max_retries=0) as service:
        job = await service.download(site.url("/media/1mb/seen.mp4"), embed_metadata=False)
        await service.download(site.url("/nothing/here.mp4"))
        found = await samples(service)
        before = await service.call("GET", "stats")
    async with running(tmp_path) as service:
        after = await service.call("GET", "stats")

    size = job["file_info"]["size_bytes"]
    assert found["bytes_uploaded_total"] == found["storage_bytes_used"] == size
    assert (found["jobs_total,completed"], found["jobs_total,failed"]) == (1, 1)
    assert found["jobs_duration_seconds_count"] == 1
    assert found["umd_event_log_append_seconds_count"] >= 8
    assert found["umd_worker_events_total,child_ended"] == 2
    assert found["umd_worker_crashes_total"] == 0
    assert found["process_resident_memory_bytes"] > 10**7
    assert before["total_bytes_downloaded"] == size
    assert before["success_rate"] == 0.5
    assert before["average_download_time"] > 0
    assert {name: after[name] for name in after if name not in PASSING} == {
        name: before[name] for name in before if name not in PASSING
    }
