from __future__ import annotations

from pathlib import Path

from aws_lambda_powertools.metrics import MetricUnit

from registry.metric_names import METRICS

FUNCTIONS = Path(__file__).parents[3] / "functions"


def test_names_are_unique_and_units_known() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    for metric in METRICS:
        assert MetricUnit(metric.unit)
        assert metric.meaning.endswith(".")


def test_each_metric_is_written_by_its_function() -> None:
    for metric in METRICS:
        constant = "".join(f"_{each}" if each.isupper() else each for each in metric.name).lstrip("_").upper()
        source = (FUNCTIONS / metric.function / "app.py").read_text()
        assert f"metric_names.{constant}" in source, f"{metric.function} does not write {metric.name}"
