"""Writes `docs/metrics.md` from the table of the metrics; a test holds it to it."""

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from umd.telemetry.metrics import FAMILIES  # noqa: E402  # the path has to be known first

INTRODUCTION = """# Metrics

`GET /api/v1/metrics` answers Prometheus text (version 0.0.4), or OpenMetrics 1.0.0 where `Accept` asks for
it. Labels have closed sets of values: no URL, host or job is ever one. What is folded from the event log
(`jobs_total`, `jobs_duration_seconds`, `bytes_uploaded_total`, events, errors, deletions, queue latency)
goes on after a restart where it was; the rest starts at 0. `process_*` are those of Prometheus's own client.

Rules, alerts and their tests lie in `deploy/prometheus/`, a Grafana dashboard in `deploy/grafana/`.

| metric | kind | labels | tells |
|---|---|---|---|
"""


def markdown() -> str:
    """The page of documentation."""
    lines = [
        f"| `{name}` | {family.kind} | {', '.join(f'`{label}`' for label in family.labels)} | {family.help} |"
        for name, family in FAMILIES.items()
    ]
    return INTRODUCTION + "\n".join(lines) + "\n"


if __name__ == "__main__":
    (ROOT / "docs" / "metrics.md").write_text(markdown())
