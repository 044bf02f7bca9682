"""The files around the image agree with the service that is in it."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from umd import settings

ROOT = Path(__file__).parent.parent.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())


def test_what_the_image_sets_are_settings() -> None:
    image = dict(re.findall(r"\b(UMD_[A-Z_]+)=(\S+)", DOCKERFILE))
    compose = dict.fromkeys(COMPOSE["services"]["umd"]["environment"], "")

    loaded = settings.load({**compose, **image}).settings

    assert "UMD_API_KEYS" in compose, "else nothing starts on all addresses"
    assert loaded.host == "0.0.0.0"  # noqa: S104  # a container's own network
    assert "\nWORKDIR /app\n" in DOCKERFILE
    assert loaded.data_dir == "./data", "else a platform's volume would not count"
    assert COMPOSE["services"]["umd"]["volumes"] == ["data:/app/data"]
    assert int(COMPOSE["services"]["umd"]["stop_grace_period"].removesuffix("s")) > loaded.drain_sec


def test_whatever_the_image_copies_is_there_and_is_let_through() -> None:
    copied = re.findall(r"^COPY (?!--from)(?:--\S+ )*(\S+) ", DOCKERFILE, re.MULTILINE)
    ignored = (ROOT / ".dockerignore").read_text().splitlines()

    assert copied
    for path in copied:
        assert (ROOT / path).exists(), path
        assert f"!{path}" in ignored, path


def test_the_image_runs_as_nobody_special_and_is_hardened() -> None:
    service = COMPOSE["services"]["umd"]

    assert re.findall(r"^USER (.*)$", DOCKERFILE, re.MULTILINE) == ["10001:10001"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])


@pytest.mark.parametrize("script", ["deploy/entrypoint", "deploy/image-check"])
def test_the_scripts_can_be_read_by_their_shells(script: str) -> None:
    shell = (ROOT / script).read_text().splitlines()[0].split("/")[-1].split()[-1]

    done = subprocess.run(
        [str(shutil.which(shell)), "-n", str(ROOT / script)], capture_output=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.skipif(sys.platform != "linux", reason="hadolint is locked for Linux alone")
def test_hadolint_has_nothing_to_say() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run(
        [str(hadolint), str(ROOT / "Dockerfile")], capture_output=True, text=True, check=False, timeout=60
    )

    assert (done.returncode, done.stdout) == (0, "")
