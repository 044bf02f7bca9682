"""What holds for every test: nothing of the caller's environment is a setting of the service under test."""

import os

import pytest


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if (name.startswith(("UMD_", "RAILWAY_")) and name != "UMD_TEST_MEDIA") or name == "PORT":
            monkeypatch.delenv(name)
