"""What CI runs for contributors is what they run themselves."""

import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent.parent
CI: dict[Any, Any] = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def commands(job: str) -> list[str]:
    return [step["run"] for step in CI["jobs"][job]["steps"] if "run" in step]


def test_ci_runs_the_targets_of_the_makefile_on_the_oldest_and_a_new_python() -> None:
    run = [command.split() for command in commands("test") if command.startswith("make ")]
    [oldest] = re.findall(r'requires-python = ">=([\d.]+)"', (ROOT / "pyproject.toml").read_text())

    assert [words[1] for words in run] == ["check", "test"]
    assert {words[1] for words in run} <= TARGETS
    assert oldest in CI["jobs"]["test"]["strategy"]["matrix"]["python"]


def test_the_image_is_built_for_both_kinds_of_machine() -> None:
    built = {machine["platform"] for machine in CI["jobs"]["image"]["strategy"]["matrix"]["include"]}

    assert built == {"linux/amd64", "linux/arm64"}


def test_no_job_may_write_or_run_for_ever() -> None:
    assert CI["permissions"] == {"contents": "read"}
    assert all(job["timeout-minutes"] <= 60 for job in CI["jobs"].values())


def test_every_form_can_be_read() -> None:
    forms = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))

    assert len(forms) >= 3
    for form in [*forms, ROOT / ".github" / "dependabot.yml"]:
        assert yaml.safe_load(form.read_text())
