"""Rules, alerts and the dashboard: whatever they name is in a real answer of `/metrics`."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.api.world import World
from umd.telemetry.metrics import FAMILIES

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
RULES = yaml.safe_load((DEPLOY / "prometheus" / "rules.yml").read_text())
DASHBOARD = json.loads((DEPLOY / "grafana" / "umd.json").read_text())
PROMTOOL = shutil.which("promtool")
NAMES = re.compile(r"\b(?:umd[_:]\w[\w:]*|(?:jobs|bytes|storage|process)_\w+)")
GRAFANA_INTERVAL = "$__rate_interval"


def rules(kind: str) -> dict[str, str]:
    """The expression of every record or alert."""
    return {rule[kind]: rule["expr"] for group in RULES["groups"] for rule in group["rules"] if kind in rule}


def panels() -> Iterator[tuple[str, str]]:
    """Every panel's title with each of its expressions."""
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"].replace(GRAFANA_INTERVAL, "5m").replace("$instance", ".*")


def named(expression: str) -> set[str]:
    """The metrics in an expression; what stands in quotes is a label's value."""
    return set(NAMES.findall(re.sub(r'"[^"]*"', "", expression)))


def expressions() -> list[str]:
    return [*rules("record").values(), *rules("alert").values(), *(expr for _, expr in panels())]


async def test_every_metric_that_is_named_is_there(world: World) -> None:
    await world.completed({"videos/a.mp4": b"1"})
    answer = await world.get("/metrics")
    found = {
        sample.name
        for family in text_string_to_metric_families(answer.body.decode())
        for sample in family.samples
    }

    known = found | set(rules("record"))
    unknown = {expr: named(expr) - known for expr in expressions() if named(expr) - known}
    assert unknown == {}
    assert all(named(expr) or expr.startswith("up{") for expr in expressions())


def test_every_metric_is_looked_at() -> None:
    """But for what only explains others."""
    looked_at = {re.sub(r"_(bucket|count|sum)$", "", name) for expr in expressions() for name in named(expr)}

    assert set(FAMILIES) - looked_at == set()


def test_every_record_is_used_and_every_alert_says_what_to_do() -> None:
    used = " ".join([*rules("alert").values(), *(expr for _, expr in panels())])
    alerts = [rule for group in RULES["groups"] for rule in group["rules"] if "alert" in rule]

    assert [record for record in rules("record") if record not in used] == []
    assert all(alert["annotations"].keys() == {"summary", "description"} for alert in alerts)
    assert {alert["labels"]["severity"] for alert in alerts} == {"warning", "critical"}


def test_every_alert_has_a_test() -> None:
    tests = (DEPLOY / "prometheus" / "rules_test.yml").read_text()

    assert [alert for alert in rules("alert") if alert not in tests] == []


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is in Debian's package prometheus")
@pytest.mark.parametrize(
    "command", [("check", "config", "prometheus.yml"), ("test", "rules", "rules_test.yml")]
)
def test_promtool_agrees(command: tuple[str, ...]) -> None:
    done = subprocess.run(
        [str(PROMTOOL), *command],
        cwd=DEPLOY / "prometheus",
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is in Debian's package prometheus")
def test_every_expression_of_the_dashboard_is_valid(tmp_path: Path) -> None:
    records = [{"record": f"panel:{number}", "expr": expr} for number, (_, expr) in enumerate(panels())]
    path = tmp_path / "panels.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": records}]}))

    done = subprocess.run(
        [str(PROMTOOL), "check", "rules", str(path)], capture_output=True, text=True, check=False, timeout=60
    )

    assert done.returncode == 0, done.stdout + done.stderr
