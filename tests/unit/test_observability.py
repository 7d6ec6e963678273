"""The ten questions in docs/observability.md: their queries name metrics and fields that there are."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from infra.packaging import metric_cost
from sidecar.admin.pages import PAGES
from sidecar.core.access_log import HttpLine, TcpLine
from sidecar.core.metrics import METRICS, SIDECAR_METRICS

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = (ROOT / "docs" / "observability.md").read_text()
QUESTIONS: Final = re.findall(
    r"^\d+\. \*\*(.+?\?)\*\*(.*?)(?=^\d+\. |\Z)",
    PAGE.partition("## Ten questions at 3 a.m.")[2].partition("\n## ")[0],
    re.MULTILINE | re.DOTALL,
)
LOGS: Final = re.compile(r"`(filter [^`]+)`")
METRIC: Final = re.compile(
    r"SELECT (SUM|MIN|MAX|AVG)\((\w+)\) FROM SCHEMA\((\w+), (\w+)\) GROUP BY (\w+) ORDER BY (\w+)\(\) (ASC|DESC)"
)
WORDS: Final = set("filter stats count by and or like sort desc asc display limit floor pct bin m".split())  # noqa: SIM905


def test_there_are_ten_and_each_has_a_query() -> None:
    assert len(QUESTIONS) == 10
    for question, answer in QUESTIONS:
        assert LOGS.search(answer) or METRIC.search(answer), question


@pytest.mark.parametrize("query", re.findall(r"`(SELECT [^`]+)`", PAGE))
def test_metric_queries_name_metrics_by_the_dimension_that_they_have(query: str) -> None:
    match = METRIC.fullmatch(query)
    assert match is not None
    function, name, namespace, dimension, group, order, _ = match.groups()
    assert (namespace, dimension, function) == ("Tramo", group, order)
    assert (name, dimension) in {(metric.name, metric.key) for metric in METRICS}


@pytest.mark.parametrize("query", LOGS.findall(PAGE))
def test_log_queries_name_fields_of_the_access_log_or_of_the_functions(query: str) -> None:
    bare = re.sub(r'"[^"]*"', "", query)
    names = set(re.findall(r"@?[a-z_]+", bare)) - WORDS
    assert names
    if "task" in names:
        source = (ROOT / "functions" / "registrar" / "app.py").read_text()
        written = set(re.findall(r"(\w+)=", source)) | {"message", "@timestamp"}
        assert names <= written
    else:
        assert names <= {*HttpLine.__struct_fields__, *TcpLine.__struct_fields__}


def test_other_names_in_the_questions_are_metrics_and_pages() -> None:
    text = "".join(answer for _, answer in QUESTIONS)
    said = {name for name in re.findall(r"`(\w+)`", text) if name[0].isupper() and not name.isupper()}
    assert said - {"TRAMO_ACCESS_LOG"} <= {metric.name for metric in (*METRICS, *SIDECAR_METRICS)}
    for page in re.findall(r"127\.0\.0\.1:9901(/\w+)", text):
        assert page in PAGES


def test_the_sum_of_costs_in_the_text_is_that_of_the_table() -> None:
    counts = [int(count) for count in re.findall(r"^\| [^|]+ \| (\d+) \|", metric_cost.table(), re.MULTILINE)]
    served, _, first, further = counts[:4]
    assert f"costs about ${round((served + first + further) * metric_cost.DOLLARS_A_METRIC)} a" in PAGE
