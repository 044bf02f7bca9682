"""What holds for every test: nothing of the caller's environment is a setting of the service under test."""

import os

import pytest

COVERAGE = "COVERAGE_PROCESS_CONFIG"


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if (name.startswith(("UMD_", "RAILWAY_")) and name != "UMD_TEST_MEDIA") or name == "PORT":
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def _unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that a test starts run half as long again where their coverage is measured.

    It is in one engine's, which was started before (`tests/engine/conftest.py`).
    """
    monkeypatch.delenv(COVERAGE, raising=False)
