"""Reading what the load generators print, and judging figures by the goals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.benchmarks.load import Run, read_h2load, read_streams, read_wrk
from tests.benchmarks.markdown import render, write
from tests.benchmarks.measure import Figures, Memory, Row
from tests.benchmarks.report import Results, errors, to_json, verdicts

WRK = """Running 1s test @ http://127.200.0.2:8080/100
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.50ms    2.00ms  20.00ms   99.50%
    Req/Sec    10.00k     1.00k   12.00k    50.00%
  Latency Distribution
     50%  900.00us
     75%    1.20ms
     90%    2.00ms
     99%    1.10s
  10000 requests in 1.00s, 2.00MB read
"""
H2LOAD = """finished in 1.01s, 3.00 req/s, 3.77MB/s
requests: 4 total, 5 started, 4 done, 3 succeeded, 1 failed, 0 errored, 0 timeout
"""


def test_wrk() -> None:
    run = read_wrk(WRK + "Requests/sec:   9990.50\n")
    assert (run.requests, run.errors, run.rate, run.p50, run.p99) == (10000, 0, 9990.5, 900.0, 1_100_000.0)


def test_wrk_counts_bad_answers_and_broken_sockets() -> None:
    printed = WRK + "  Socket errors: connect 1, read 2, write 0, timeout 3\n  Non-2xx or 3xx responses: 4\n"
    assert read_wrk(printed + "Requests/sec:   9990.50\n").errors == 10


def test_wrk_without_figures_is_an_error() -> None:
    with pytest.raises(ValueError, match="nothing like"):
        read_wrk("unable to connect")


def test_h2load() -> None:
    run = read_h2load(H2LOAD, "17\t200\t30\n18\t200\t10\n19\t200\t20\n")
    assert (run.requests, run.errors, run.rate, run.p50, run.p99) == (3, 1, 3.0, 20.0, 30.0)


def test_h2load_without_requests_is_an_error() -> None:
    with pytest.raises(ValueError, match="no request"):
        read_h2load(H2LOAD, "")


def test_streams() -> None:
    printed = '{"requests": 10, "errors": 0, "rate": 5.0, "p50": 300.0, "p99": 900.0}\n'
    assert read_streams(printed) == Run(10, 0, 5.0, 300.0, 900.0)


def figures(proxy: str, cpu: float, failed: int = 0) -> Figures:
    return Figures(proxy, cpu, 1000.0, 100.0, 200.0, 1 << 20, failed)


def results(*cpu: float, failed: int = 0, group: str = "http1") -> Results:
    rows = tuple(
        Row(group, f"{number} connections", (figures("tramo", each), figures("envoy", 100.0, failed)))
        for number, each in enumerate(cpu, start=2)
    )
    return Results({"CPU": "some"}, rows, ())


@pytest.mark.parametrize(
    ("group", "cpu", "met"),
    [
        ("http2", (60.0, 70.0), True),
        ("http2", (30.0, 71.0), False),
        ("http1", (40.0, 60.0), True),
        ("http1", (40.0, 64.0), False),
    ],
)
def test_a_goal_is_met_when_every_case_meets_it_or_their_mean(group: str, cpu: tuple[float, ...], met: bool) -> None:
    (verdict,) = verdicts(results(*cpu, group=group))
    assert verdict.met is met
    assert verdict.wanted.startswith("mean ") is (group == "http1")


def test_groups_without_figures_have_no_verdict() -> None:
    assert verdicts(Results({}, (), ())) == []


@pytest.mark.parametrize(("size", "met"), [(55, [True, True]), (63, [False, True]), (64, [False, False])])
def test_memory_is_judged_by_share_and_by_size(size: int, met: list[bool]) -> None:
    memory = (Memory("tramo", 0, size << 20), Memory("envoy", 0, 100 << 20))
    found = verdicts(Results({}, (), memory))
    assert [verdict.met for verdict in found] == met


def test_failed_requests_of_any_proxy_count() -> None:
    assert errors(results(60.0, 60.0, failed=2)) == 4


def test_json_has_the_ratios() -> None:
    document = json.loads(to_json(results(50.0)))
    assert document["rows"][0]["proxies"][0]["cpu_ratio"] == 0.5
    assert document["goals"][0]["met"] is True


def test_markdown_has_every_row_and_goal() -> None:
    lines = render(results(60.0, 70.0)).splitlines()
    assert "| HTTP/1.1 | 2 connections | 100.0 | 0.60 | - | - | - |" in lines
    assert "|---|---|---:|---:|---:|---:|---:|" in lines
    (goal,) = (line for line in lines if line.startswith("| CPU per request"))
    assert goal.endswith("| **no** |")


def test_tables_are_written_between_the_marks(tmp_path: Path) -> None:
    file = tmp_path / "page.md"
    file.write_text("before\n<!-- figures -->\nold\n<!-- end -->\nafter\n")
    write(results(60.0), file)
    text = file.read_text()
    assert text.startswith("before\n<!-- figures -->\nCPU some.")
    assert text.endswith("|\n<!-- end -->\nafter\n")
    assert "old" not in text


def test_the_page_has_the_marks() -> None:
    page = Path(__file__).parents[2] / "docs" / "performance.md"
    assert page.read_text(encoding="utf-8").count("<!-- figures -->") == 1


def test_a_page_without_marks_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "page.md"
    file.write_text("nothing\n")
    with pytest.raises(ValueError, match="has no marks"):
        write(results(60.0), file)
