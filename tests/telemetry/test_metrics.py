"""The text that Prometheus reads, checked by its own tools."""

import shutil
import subprocess

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_families
from prometheus_client.parser import text_string_to_metric_families as plain_families

from umd.telemetry import metrics
from umd.telemetry.distribution import Distribution
from umd.telemetry.metrics import FAMILIES, OPENMETRICS, PLAIN, Reading, Value, expose

SCRAPE = (
    "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


def spread(*values: float) -> Distribution:
    distribution = Distribution((1, 5))
    for value in values:
        distribution.observe(value)
    return distribution


def everything() -> Reading:
    """Each metric with one sample."""

    def value(kind: str) -> Value:
        return spread(0.5, 5, 7) if kind == "histogram" else 3.0

    return {
        name: [(tuple("x" for _ in family.labels), value(family.kind))] for name, family in FAMILIES.items()
    }


def test_a_bound_holds_what_equals_it() -> None:
    assert spread(0.5, 5, 7).cumulative() == [(1, 1), (5, 2), (float("inf"), 3)]
    assert spread(0.5, 5, 7).mean == pytest.approx(12.5 / 3)
    assert spread().mean is None


@pytest.mark.parametrize(("accept", "families"), [("", plain_families), (SCRAPE, open_families)])
def test_the_text_says_what_was_read(accept: str, families: object) -> None:
    body, _ = expose(everything(), accept)
    parsed = {family.name: family for family in families(body.decode())}  # type: ignore[operator]  # a parser

    for name, family in FAMILIES.items():
        found = parsed[name.removesuffix("_total")]
        assert (found.type, found.documentation) == (family.kind, family.help)
        samples = {
            (sample.name.removeprefix(name), sample.labels.get("le")): sample.value
            for sample in found.samples
        }
        if family.kind == "histogram":
            assert samples["_bucket", "5.0"] == 2
            assert (samples["_count", None], samples["_sum", None]) == (3, 12.5)
        else:
            assert samples == {("", None): 3.0}
    assert not [line for line in body.decode().splitlines() if "_created" in line.split("{")[0].split(" ")[0]]


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("", PLAIN),
        ("*/*", PLAIN),
        ("text/html, application/xml;q=0.9", PLAIN),
        (SCRAPE, OPENMETRICS),
        ("Application/OpenMetrics-Text", OPENMETRICS),
        ("application/openmetrics-text; version=x.y", OPENMETRICS),
        ("application/openmetrics-text;q=0, text/plain", PLAIN),
        (";;,,=;q", PLAIN),
    ],
)
def test_openmetrics_is_for_who_asks_for_it(accept: str, media_type: str) -> None:
    assert metrics.content_type(accept) == media_type
    assert expose({}, accept)[1] == media_type


PROMTOOL = shutil.which("promtool")


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is in Debian's package prometheus")
def test_promtool_has_nothing_to_say() -> None:
    body, _ = expose(everything())

    done = subprocess.run(
        [str(PROMTOOL), "check", "metrics"], input=body, capture_output=True, check=False, timeout=30
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
