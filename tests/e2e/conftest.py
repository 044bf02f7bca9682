"""One site and one service for all tests that do not end it, and a look for secrets after each test."""

from collections.abc import AsyncIterator, Iterator

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


@pytest.fixture(autouse=True)
def _no_secret_was_let_out(site: Site) -> Iterator[None]:
    """No test of the whole service has to know of secrets to find one where it does not belong."""
    before = max((record.number for record in site.requests), default=0)
    yield
    came = [record for record in site.requests if record.number > before]
    for service in list(Service.known):
        if service.was_launched:
            service.look()
        for record in came:
            service.canaries.sent(f"the origin: {record.path}", f"{record.query} {record.headers}")
        assert service.canaries.take() == {}
