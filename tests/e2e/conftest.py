"""One site and one service for all tests that do not end it; both live as long as the run."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.e2e.service import Service, running
from tests.site import Site


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The site and the service live in the session's event loop, so the tests that use them do, too."""
    for item in items:
        if "tests/e2e/" in item.nodeid:
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def site() -> AsyncIterator[Site]:
    async with Site() as site:
        yield site


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    async with running(tmp_path_factory.mktemp("service"), stall_timeout_sec=5, max_retries=1) as service:
        yield service
