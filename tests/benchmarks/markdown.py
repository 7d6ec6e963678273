"""Figures as the tables of docs/performance.md, which stand there between two marks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from tests.benchmarks.cases import GROUPS, MEMORY_ENDPOINTS, TELEMETRY
from tests.benchmarks.measure import Figures, Memory, Row
from tests.benchmarks.proxies import ENVOY, HAPROXY, NGINX, PURE, TRAMO
from tests.benchmarks.report import Results, mib, of, verdicts
from tests.benchmarks.small import P99_MILLISECONDS, Small

ABSENT: Final = "-"
_MARKED: Final = re.compile(r"(<!-- figures -->\n).*(<!-- end -->)", re.DOTALL)
_TITLES: Final = {group.name: group.title.partition(",")[0] for group in GROUPS} | {
    "path": "two proxies",
    "stream": "gRPC messages",
}


def render(results: Results) -> str:
    """All tables that the run has figures for."""
    parts = [", ".join(f"{name} {value}" for name, value in results.machine.items()) + "."]
    rows = [row for row in results.rows if row.group != TELEMETRY]
    if rows:
        parts += ["CPU time per request as a share of Envoy's; less is better.", _cpu(rows)]
        parts += [
            "As shares of Envoy's figure; more requests per second and fewer microseconds are better.",
            _speed(rows),
        ]
    parts += [_telemetry(row) for row in results.rows if row.group == TELEMETRY]
    if results.recording is not None:
        parts.append(f"The metrics of a request take {results.recording:.0f} ns to record.")
    if results.memory:
        parts.append(_memory(results.memory))
    if results.small:
        parts.append(_small(results.small))
    goals = [(each.goal, each.wanted, each.found, "yes" if each.met else "**no**") for each in verdicts(results)]
    if goals:
        parts.append(table(("goal", "wanted", "found", "met"), goals, left=4))
    return "\n\n".join(parts)


def write(results: Results, file: Path) -> None:
    """Put the tables between the marks of a file. Raises ValueError when it has none."""
    text, count = _MARKED.subn(
        lambda found: f"{found[1]}{render(results)}\n{found[2]}", file.read_text(encoding="utf-8")
    )
    if not count:
        raise ValueError(f"{file} has no marks <!-- figures --> and <!-- end -->")
    file.write_text(text, encoding="utf-8")


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], left: int) -> str:
    """A table of which the first columns are text, the others figures."""
    marks = "|".join(["---"] * left + ["---:"] * (len(heads) - left))
    head, *body = (f"| {' | '.join(cells)} |" for cells in (heads, *rows))
    return "\n".join((head, f"|{marks}|", *body))


def _share(row: Row, proxy: str, figure: str) -> str:
    found: list[Figures] = [each for each in row.figures if each.proxy == proxy]
    if not found:
        return ABSENT
    return f"{getattr(found[0], figure) / getattr(of(row, ENVOY), figure):.2f}"


def _cpu(rows: Sequence[Row]) -> str:
    proxies = (TRAMO, PURE, NGINX, HAPROXY)
    cells = [
        (_TITLES[row.group], row.case, f"{of(row, ENVOY).cpu:.1f}", *(_share(row, proxy, "cpu") for proxy in proxies))
        for row in rows
    ]
    return table(("", "case", "Envoy µs", "tramo", "tramo, pure Python", "nginx", "HAProxy"), cells, left=2)


def _speed(rows: Sequence[Row]) -> str:
    cells = []
    for row in rows:
        line = [_TITLES[row.group], row.case]
        for figure in ("rate", "p50", "p99"):
            line += [f"{getattr(of(row, ENVOY), figure):,.0f}", _share(row, TRAMO, figure), _share(row, PURE, figure)]
        cells.append(line)
    heads = ["", "case"]
    for name in ("requests/s", "p50 µs", "p99 µs"):
        heads += [f"Envoy {name}", "tramo", "pure"]
    return table(heads, cells, left=2)


def _telemetry(row: Row) -> str:
    cells = [
        (each.proxy, f"{each.cpu:.1f}", _share(row, each.proxy, "cpu"), f"{each.p50:,.0f}", f"{each.p99:,.0f}")
        for each in row.figures
    ]
    return table((f"HTTP/1.1, {row.case}", "CPU µs", "share of Envoy's", "p50 µs", "p99 µs"), cells, left=1)


def _memory(memory: Sequence[Memory]) -> str:
    (reference,) = [item.loaded for item in memory if item.proxy == ENVOY]
    cells = [(item.proxy, mib(item.idle), mib(item.loaded), f"{item.loaded / reference:.2f}") for item in memory]
    head = f"PSS in MiB with {MEMORY_ENDPOINTS:,} endpoints"
    return table((head, "before traffic", "after", "share of Envoy's"), cells, left=1)


def _small(small: Sequence[Small]) -> str:
    cells = [
        (item.proxy, f"{item.rate:,.0f}", f"{item.p50:,.0f}", f"{item.p99:,.0f}", mib(item.memory or 0))
        for item in small
    ]
    head = f"a quarter of a CPU and 64 MiB, p99 within {P99_MILLISECONDS:.0f} ms"
    return table((head, "requests/s", "p50 µs", "p99 µs", "memory at most, MiB"), cells, left=1)
