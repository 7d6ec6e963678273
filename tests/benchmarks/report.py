"""Figures to tables, to JSON, and to a verdict on the goals."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import prod
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from tests.benchmarks.cases import (
    GROUPS,
    LATENCY_GOAL,
    MEMORY_ENDPOINTS,
    MEMORY_GOAL_BYTES,
    MEMORY_GOAL_RATIO,
)
from tests.benchmarks.measure import Figures, Memory, Row
from tests.benchmarks.proxies import ENVOY, TRAMO
from tests.benchmarks.small import P99_MILLISECONDS, Small

MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Verdict:
    """One goal: what was to be reached, what was, and by how many of its cases."""

    goal: str
    wanted: str
    found: str
    met: bool


@dataclass(frozen=True, slots=True)
class Results:
    """All that was measured, and where."""

    machine: dict[str, str]
    rows: tuple[Row, ...]
    memory: tuple[Memory, ...]
    small: tuple[Small, ...] = ()
    recording: float | None = None
    """Nanoseconds for the metrics of a request."""


def of(row: Row, proxy: str) -> Figures:
    """A proxy's figures in a row."""
    (found,) = [figures for figures in row.figures if figures.proxy == proxy]
    return found


def cpu_ratio(row: Row, proxy: str = TRAMO) -> float:
    """CPU time per request as a share of Envoy's."""
    return of(row, proxy).cpu / of(row, ENVOY).cpu


def verdicts(results: Results) -> list[Verdict]:
    """Every goal of which the run has figures. A goal on CPU is for every case of a group, or for their mean."""
    found = []
    for group in GROUPS:
        ratios = [cpu_ratio(row) for row in results.rows if row.group == group.name]
        if ratios and group.goal is not None:
            mean = prod(ratios) ** (1 / len(ratios))
            reached = sum(ratio <= group.goal for ratio in ratios)
            said = f"mean {mean:.2f}, worst {max(ratios):.2f}, {reached} of {len(ratios)} cases"
            wanted = f"{'mean ' if group.is_mean else ''}≤ {group.goal:.2f} of Envoy's"
            met = mean <= group.goal if group.is_mean else reached == len(ratios)
            found.append(Verdict(f"CPU per request, {group.title}", wanted, said, met))
    for row in results.rows:
        if row.group == "http1" and row.case.startswith("1 connection"):
            ratio = of(row, TRAMO).p50 / of(row, ENVOY).p50
            wanted = f"≤ {LATENCY_GOAL:.2f} of Envoy's"
            found.append(Verdict("p50 at one connection", wanted, f"{ratio:.2f}", ratio <= LATENCY_GOAL))
    if results.memory:
        found += _memory_verdicts(results.memory)
    return found


def _memory_verdicts(memory: Sequence[Memory]) -> list[Verdict]:
    by_name = {item.proxy: item.loaded for item in memory}
    ratio = by_name[TRAMO] / by_name[ENVOY]
    what = f"PSS with {MEMORY_ENDPOINTS} endpoints"
    return [
        Verdict(what, f"≤ {MEMORY_GOAL_RATIO:.2f} of Envoy's", f"{ratio:.2f}", ratio <= MEMORY_GOAL_RATIO),
        Verdict(what, f"< {MEMORY_GOAL_BYTES // MIB} MiB", mib(by_name[TRAMO]), by_name[TRAMO] < MEMORY_GOAL_BYTES),
    ]


def errors(results: Results) -> int:
    """Requests that failed or were answered with another status than 2xx, over all proxies."""
    return sum(figures.errors for row in results.rows for figures in row.figures)


def to_json(results: Results) -> str:
    """All of it for machines."""
    document: dict[str, Any] = {
        "machine": results.machine,
        "rows": [
            {
                "group": row.group,
                "case": row.case,
                "proxies": [asdict(figures) | {"cpu_ratio": cpu_ratio(row, figures.proxy)} for figures in row.figures],
            }
            for row in results.rows
        ],
        "memory": [asdict(item) for item in results.memory],
        "small": [asdict(item) for item in results.small],
        "recording_ns": results.recording,
        "goals": [asdict(verdict) for verdict in verdicts(results)],
    }
    return json.dumps(document, indent=2)


def show(results: Results, console: Console) -> None:
    """Print the tables."""
    console.print(", ".join(f"{name} {value}" for name, value in results.machine.items()))
    for group in GROUPS:
        rows = [row for row in results.rows if row.group == group.name]
        if rows:
            console.print(_group_table(group.title, rows))
    if results.memory:
        console.print(_memory_table(results.memory))
    if results.small:
        console.print(_small_table(results.small))
    if results.recording is not None:
        console.print(f"The metrics of a request take {results.recording:.0f} ns to record.")
    console.print(_goal_table(verdicts(results)))
    failed = errors(results)
    if failed:
        console.print(f"[bold red]{failed} requests failed: the figures of their rows say nothing[/]")


def _group_table(title: str, rows: Sequence[Row]) -> Table:
    table = Table(title=f"{title} (/E: divided by the figure of Envoy)", title_justify="left", title_style="bold")
    table.add_column("case")
    table.add_column("proxy")
    for name in ("CPU µs", "requests/s", "p50 µs", "p99 µs", "PSS MiB"):
        table.add_column(name, justify="right")
        table.add_column("/E", justify="right", style="cyan")
    table.add_column("errors", justify="right")
    for row in rows:
        reference = of(row, ENVOY)
        for index, figures in enumerate(row.figures):
            cells = [row.case if index == 0 else "", figures.proxy]
            for text, value, base in (
                (f"{figures.cpu:.1f}", figures.cpu, reference.cpu),
                (f"{figures.rate:,.0f}", figures.rate, reference.rate),
                (f"{figures.p50:,.0f}", figures.p50, reference.p50),
                (f"{figures.p99:,.0f}", figures.p99, reference.p99),
                (f"{figures.pss / MIB:.1f}", float(figures.pss), float(reference.pss)),
            ):
                cells += [text, f"{value / base:.2f}"]
            last = index == len(row.figures) - 1
            table.add_row(*cells, str(figures.errors or ""), end_section=last)
    return table


def _memory_table(memory: Sequence[Memory]) -> Table:
    title = f"Memory with {MEMORY_ENDPOINTS} endpoints, metrics on (PSS, MiB)"
    table = Table(title=title, title_justify="left", title_style="bold")
    for name in ("proxy", "before traffic", "after traffic", "/E"):
        table.add_column(name, justify="left" if name == "proxy" else "right")
    (reference,) = [item.loaded for item in memory if item.proxy == ENVOY]
    for item in memory:
        table.add_row(item.proxy, mib(item.idle), mib(item.loaded), f"{item.loaded / reference:.2f}")
    return table


def _small_table(small: Sequence[Small]) -> Table:
    title = f"A quarter of a CPU and 64 MiB: the highest rate with p99 within {P99_MILLISECONDS:.0f} ms"
    table = Table(title=title, title_justify="left", title_style="bold")
    for name in ("proxy", "requests/s", "p50 µs", "p99 µs", "memory at most, MiB"):
        table.add_column(name, justify="left" if name == "proxy" else "right")
    for item in small:
        memory = mib(item.memory) if item.memory is not None else ""
        table.add_row(item.proxy, f"{item.rate:,.0f}", f"{item.p50:,.0f}", f"{item.p99:,.0f}", memory)
    return table


def _goal_table(found: Sequence[Verdict]) -> Table:
    table = Table(title="Goals", title_justify="left", title_style="bold")
    for name in ("goal", "wanted", "found", "met"):
        table.add_column(name)
    for verdict in found:
        met = "[green]yes[/]" if verdict.met else "[red]no[/]"
        table.add_row(verdict.goal, verdict.wanted, verdict.found, met)
    return table


def mib(count: int) -> str:
    return f"{count / MIB:.1f}"
