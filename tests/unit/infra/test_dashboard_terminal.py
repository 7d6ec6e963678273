"""The dashboard as text."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.dashboards.reader import Page, Part, Plot, Series
from infra.dashboards.terminal import BARS, number, show, sparkline


@pytest.fixture
def utc() -> Iterator[None]:
    before = os.environ.get("TZ")
    os.environ["TZ"] = "UTC"
    time.tzset()
    yield
    os.environ.pop("TZ")
    if before is not None:
        os.environ["TZ"] = before
    time.tzset()


PAGE = Page(
    "us-east-1",
    1795348800.0,
    60,
    [1795348620, 1795348680, 1795348740],
    ["orders"],
    0,
    "orders",
    [
        Part(
            "Services",
            "",
            [
                Plot("Requests", "", [Series("orders", "orders", "Sum", [0.0, 1500.0, 750.0])], 2, ""),
                Plot("Responses 5XX", "", [], 0, "Nothing in this time"),
                Plot("Responses 3XX", "", [], 0, "Nothing in this time"),
            ],
        ),
        Part("One service", "", [Plot("Time", "ms", [Series("p99", "", "p99", [None, 1234.0, 12.34])], 0, "")]),
    ],
)


def test_tables_with_a_course(utc: None) -> None:
    stream = io.StringIO()
    show(stream, PAGE)
    assert [line.rstrip() for line in stream.getvalue().splitlines()] == [
        "us-east-1, 11:57 to 12:00",
        "",
        "Services",
        "GRAPH     LINE              LAST  LOWEST  HIGHEST  COURSE",
        "Requests  orders             750       0    1.5 k  ▁█▅",
        "          and 2 lower ones",
        "Nothing in this time: Responses 5XX, Responses 3XX",
        "",
        "One service: orders",
        "GRAPH  LINE     LAST   LOWEST  HIGHEST  COURSE",
        "Time   p99   12.3 ms  12.3 ms   1.23 s   █▁",
    ]


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0, "", "0"),
        (999.0, "", "999"),
        (1500.0, "", "1.5 k"),
        (2e6, "", "2 M"),
        (0.25, "", "0.25"),
        (999.0, "ms", "999 ms"),
        (1500.0, "ms", "1.5 s"),
        (4.0, "s", "4 s"),
        (12.5, "%", "12.5 %"),
        (1024.0, "bytes", "1 KiB"),
        (52e6, "bytes", "49.6 MiB"),
    ],
)
def test_numbers_are_short(value: float, unit: str, text: str) -> None:
    assert number(value, unit) == text


@given(st.lists(st.none() | st.floats(0, 1e12), max_size=200), st.integers(1, 50))
def test_a_course_fits_and_keeps_its_peak(values: list[float | None], width: int) -> None:
    course = sparkline(values, width)
    assert len(course) <= width
    assert set(course) <= {*BARS, " "}
    known = [value for value in values if value is not None]
    assert (BARS[-1] in course) == (bool(known) and max(known) > 0)
