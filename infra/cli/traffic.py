"""Who calls whom, from what the sidecars counted: edges, and what they add up to. Values in, values out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from infra.cli.tables import Column, Row

MEANINGS: Final = {
    "UH": "no endpoint was healthy",
    "UF": "no connection to an endpoint could be made",
    "UO": "the circuit breaker was open",
    "UT": "the request timed out",
    "UC": "the endpoint broke off",
    "URX": "all retries were used up",
    "NR": "there was no route",
    "DC": "the caller went away",
}
"""What the flags of calls mean (docs/observability.md has all)."""
FLAGGED: Final = 3  # flags that a row names
COUNTS: Final = ("requests", "ok", "failed", "retries", "timeouts", "connect_errors", "zone_known", "zone_local")

EDGES: Final = (
    Column("SRC", "source"),
    Column("DST", "destination"),
    Column("SUCCESS", "success", right=True),
    Column("RPS", "rps", right=True),
    Column("LATENCY_P95", "p95", right=True),
    Column("ZONE_LOCAL", "zone_local", right=True),
)
NAMESPACE: Final = Column("NAMESPACE", "namespace")
_MORE: Final = (NAMESPACE, Column("FLAGS", "flags"))
EDGES_WIDE: Final = (*EDGES, Column("RETRIES", "retries", right=True), *_MORE)
STAT_IN: Final = (
    Column("NAME", "destination"),
    Column("SUCCESS", "success", right=True),
    Column("RPS", "rps", right=True),
    Column("LATENCY_P50", "p50", right=True),
    Column("LATENCY_P95", "p95", right=True),
    Column("LATENCY_P99", "p99", right=True),
)
STAT_IN_WIDE: Final = (*STAT_IN, Column("CALLERS", "sources"), *_MORE)
STAT_OUT: Final = (
    Column("NAME", "source"),
    Column("SERVICE", "destination"),
    Column("SUCCESS", "success", right=True),
    Column("RPS", "rps", right=True),
    Column("P50", "p50", right=True),
    Column("P95", "p95", right=True),
    Column("P99", "p99", right=True),
    Column("TIMEOUTS", "timeouts", right=True),
    Column("RETRIES", "retries", right=True),
)
STAT_OUT_WIDE: Final = (*STAT_OUT, *_MORE)


@dataclass(slots=True)
class Edge:
    """Calls from one side to another, of all the tasks that were seen."""

    namespace: str
    source: str
    destination: str
    seconds: float = 0.0
    rate: float = 0.0
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTS, 0))
    latency: dict[float, int] = field(default_factory=dict)
    flags: dict[str, int] = field(default_factory=dict)
    sources: set[str] = field(default_factory=set)

    def add(self, row: Mapping[str, Any], seconds: float) -> None:
        """Add what one sidecar counted in so many seconds."""
        for name in COUNTS:
            self.counts[name] += int(row.get(name, 0))
        self.rate += row["requests"] / seconds if seconds > 0 else 0.0
        self._add_up(row.get("latency", ()), row.get("flags", {}))

    def merge(self, other: Edge) -> None:
        """Add another edge."""
        for name in COUNTS:
            self.counts[name] += other.counts[name]
        self.rate += other.rate
        self._add_up(other.latency.items(), other.flags)
        self.sources.add(other.source)

    def _add_up(self, latency: Iterable[tuple[float, int]], flags: Mapping[str, int]) -> None:
        for milliseconds, count in latency:
            self.latency[milliseconds] = self.latency.get(milliseconds, 0) + count
        for code, count in flags.items():
            self.flags[code] = self.flags.get(code, 0) + count

    @property
    def success(self) -> float | None:
        """The share of ended requests that succeeded, None without any."""
        ended = self.counts["ok"] + self.counts["failed"]
        return self.counts["ok"] / ended if ended else None

    def row(self) -> Row:
        """Return the edge as commands show it."""
        local, known = self.counts["zone_local"], self.counts["zone_known"]
        flags = sorted(self.flags.items(), key=lambda each: -each[1])[:FLAGGED]
        return {
            "namespace": self.namespace,
            "source": self.source,
            "destination": self.destination,
            "sources": sorted(self.sources),
            "requests": self.counts["requests"],
            "failed": self.counts["failed"],
            "success": percent(self.success),
            "rps": f"{self.rate:.1f}",
            "p50": shown(quantile(self.latency, 0.50)),
            "p95": shown(quantile(self.latency, 0.95)),
            "p99": shown(quantile(self.latency, 0.99)),
            "zone_local": percent(local / known if known else None),
            "timeouts": self.counts["timeouts"],
            "retries": self.counts["retries"],
            "flags": [f"{code}:{count}" for code, count in flags],
        }


def edges_of(namespace: str, answers: Mapping[str, Mapping[str, Any]], names: Mapping[str, str]) -> list[Edge]:
    """Return the edges in what sidecars answered; `names` are those of tasks that offer nothing, by id."""
    found: dict[tuple[str, str], Edge] = {}
    for task, answer in sorted(answers.items()):
        source = source_name(task, answer, names)
        for row in answer.get("client", ()):
            edge = found.setdefault((source, row["name"]), Edge(namespace, source, row["name"]))
            edge.add(row, float(answer["seconds"]))
    return [found[key] for key in sorted(found)]


def source_name(task: str, answer: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """Return what a caller is called: the service that it offers, else its ECS service, else its family."""
    offers = answer.get("offers") or ()
    return str(offers[0] if offers else answer.get("service") or names.get(task) or f"task/{task[:8]}")


def between(edges: Iterable[Edge], source: str | None, destination: str | None) -> list[Edge]:
    """Return the edges from one service and to another; None is any."""
    return [each for each in edges if source in (None, each.source) and destination in (None, each.destination)]


def by_destination(edges: Iterable[Edge]) -> list[Edge]:
    """Return what is called, all callers together."""
    found: dict[tuple[str, str], Edge] = {}
    for edge in edges:
        total = found.setdefault((edge.namespace, edge.destination), Edge(edge.namespace, "", edge.destination))
        total.merge(edge)
    return [found[key] for key in sorted(found)]


def quantile(latency: Mapping[float, int], share: float) -> float | None:
    """Return the milliseconds below which this share of the requests was, None without any."""
    wanted = share * sum(latency.values())
    if not wanted:
        return None
    seen = 0
    for milliseconds in sorted(latency):
        seen += latency[milliseconds]
        if seen >= wanted:
            return milliseconds
    return max(latency)


def shown(milliseconds: float | None) -> str:
    """Return a duration with a unit."""
    if milliseconds is None:
        return "-"
    if milliseconds < 1000:
        return f"{milliseconds:.3g}ms" if milliseconds < 100 else f"{milliseconds:.0f}ms"
    return f"{milliseconds / 1000:.1f}s"


def percent(share: float | None) -> str:
    """Return a share with two decimals."""
    if share is None:
        return "-"
    # What failed must not be rounded away.
    return "100.00%" if share == 1 else f"{min(share * 100, 99.99):.2f}%"


def columns(form: str, narrow: Sequence[Column], wide: Sequence[Column]) -> Sequence[Column]:
    """Return the columns of a form."""
    return wide if form == "wide" else narrow


def apart(columns: Sequence[Column], edges: Iterable[Edge]) -> Sequence[Column]:
    """Return the columns, with the namespace first if rows of several look alike without it."""
    several = len({each.namespace for each in edges}) > 1
    return (NAMESPACE, *columns) if several and NAMESPACE not in columns else columns
