"""A request that names a place that the rules refuse is turned down before anything is stored."""

from pathlib import Path

import pytest

from tests.api.world import URL, World, is_problem
from umd.settings import Settings


@pytest.mark.parametrize(
    "url",
    [
        *("http://127.0.0.1:8080/", "http://2130706433/", "http://0x7f.1/", "http://①②⑦.⓪.⓪.①/"),
        *(
            "http://127。0。0。1/",
            "http://[::ffff:7f00:1]/",
            "http://localhost/",
            "http://metadata.google.internal/",
        ),
        *(
            "http://169.254.169.254/latest/meta-data/",
            "https://example.com:6379/",
            "http://db.railway.internal/",
        ),
    ],
)
async def test_an_inner_address_is_refused_and_nothing_is_stored(tmp_path: Path, url: str) -> None:
    async with World(tmp_path).running() as world:
        asked = await world.post({"url": url})
        called = await world.post({"url": URL, "webhook_url": url})

        assert is_problem(asked, "address_not_allowed", 403)
        assert is_problem(called, "address_not_allowed", 403)
        assert world.log.head == 0


async def test_a_site_that_is_not_allowed_is_refused(tmp_path: Path) -> None:
    settings = Settings(port=0, allowed_domains="example.com", blocked_domains="bad.example.com")
    async with World(tmp_path, settings).running() as world:
        other = await world.post({"url": "https://example.org/"})
        blocked = await world.post({"url": "https://x.BAD.example.com./"})
        receiver = await world.post({"url": URL, "webhook_url": "https://hooks.example.org/"})

        assert is_problem(other, "domain_not_allowed", 403)
        assert is_problem(blocked, "domain_not_allowed", 403)
        assert receiver.status == 202


async def test_allowed_addresses_are_taken(tmp_path: Path) -> None:
    async with World(tmp_path, Settings(port=0, allow_addresses="127.0.0.0/8")).running() as world:
        assert (await world.post({"url": "http://127.0.0.1:9/"})).status == 202
        assert (await world.post({"url": "http://localhost:9/"})).status == 202
