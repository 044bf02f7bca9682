"""One site and one engine of each kind for all tests that do not break them."""

import inspect
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.engine.rig import Rig
from tests.site import Site

SECRETS = {
    "UMD_API_KEYS": "name:admin:s3cret",
    "AWS_SECRET_ACCESS_KEY": "s3cret",
    "https_proxy": "http://127.0.0.1:1/s3cret",
    "http_proxy": "http://127.0.0.1:1/s3cret",
    "NO_PROXY": "s3cret",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The site and the engines live in the session's event loop, so the tests that use them do, too."""
    for item in items:
        asynchronous = isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.function)
        if "tests/engine/" in item.nodeid and asynchronous:
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest.fixture(scope="session")
def secrets() -> Iterator[None]:
    """What the environment may hold and no child may get: with these proxies nothing would work."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SECRETS.items():
            patch.setenv(name, value)
        yield


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def site() -> AsyncIterator[Site]:
    async with Site() as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def forking(site: Site, tmp_path_factory: pytest.TempPathFactory, secrets: None) -> AsyncIterator[Rig]:
    """For what the two engines cannot differ in, the faster one is enough, and to measure coverage."""
    async with Rig(site, tmp_path_factory.mktemp("fork"), "fork", measured=True) as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def spawning(site: Site, tmp_path_factory: pytest.TempPathFactory, secrets: None) -> AsyncIterator[Rig]:
    async with Rig(site, tmp_path_factory.mktemp("spawn"), "spawn") as running:
        yield running


@pytest.fixture(params=["fork", "spawn"])
def rig(request: pytest.FixtureRequest, forking: Rig, spawning: Rig) -> Rig:
    """Both engines pass the same tests."""
    return forking if request.param == "fork" else spawning
