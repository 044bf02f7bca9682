"""Railway is told the same in both of its forms, and what it is told fits the service."""

import importlib.util
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from umd.api.routes import ROUTES
from umd.settings import Settings

ROOT = Path(__file__).parent.parent.parent
TOML = tomllib.loads((ROOT / "railway.toml").read_text())

# Railway passes a name that it does not know through without a word: these are those that it knows.
DEPLOY_KEYS = {
    "startCommand", "preDeployCommand", "numReplicas", "healthcheckPath", "healthcheckTimeout",
    "sleepApplication", "restartPolicyType", "restartPolicyMaxRetries", "cronSchedule", "multiRegionConfig",
    "limitOverride", "requiredMountPath", "overlapSeconds", "drainingSeconds", "ipv6EgressEnabled",
}  # fmt: skip

PRESERVED = object()
"""Stands for a value that is set at Railway, and is in no file."""


def kit() -> ModuleType:
    """What `railway.py` imports, as plain records of how it was called."""
    module = ModuleType("railway_sdk")

    def service(name: str, **config: object) -> dict[str, object]:
        return {"name": name, **config}

    vars(module).update(
        preserve=lambda: PRESERVED,
        github=lambda repository: {"repository": repository},
        project=lambda name, resources: {"name": name, "resources": resources},
        service=service,
        volume=lambda name: {"name": name},
    )
    return module


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The service as the successor's form describes it."""
    monkeypatch.setitem(sys.modules, "railway_sdk", kit())
    spec = importlib.util.spec_from_file_location("railway", ROOT / ".railway" / "railway.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    described: dict[str, Any] = module.main({})["resources"][1]
    return described


def test_both_forms_say_the_same(service: dict[str, Any]) -> None:
    deploy = {
        **service["deploy"],
        "healthcheckPath": service["healthcheck"],
        "healthcheckTimeout": service["healthcheckTimeout"],
    }

    assert deploy == TOML["deploy"]
    assert service["build"] == TOML["build"]
    assert service["replicas"] == 1


def test_only_names_that_railway_knows(service: dict[str, Any]) -> None:
    assert TOML["deploy"].keys() <= DEPLOY_KEYS
    assert service["deploy"].keys() <= DEPLOY_KEYS
    assert all(isinstance(TOML["deploy"][name], int) for name in ("drainingSeconds", "overlapSeconds"))


def test_what_is_said_fits_the_service(service: dict[str, Any]) -> None:
    deploy = TOML["deploy"]

    assert deploy["healthcheckPath"] in {route.path for route in ROUTES}
    assert deploy["drainingSeconds"] > Settings().drain_sec
    assert list(service["volumeMounts"]) == [deploy["requiredMountPath"]]
    assert service["env"] == {"RAILWAY_RUN_UID": "0", "UMD_API_KEYS": PRESERVED}
    assert (ROOT / TOML["build"]["dockerfilePath"]).exists()
