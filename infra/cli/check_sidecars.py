"""What `tramo check` learns from the answers of sidecars: how calls end, and whether the sidecars are well. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

from infra.cli.traffic import MEANINGS, Edge, by_destination, percent
from infra.client import findings
from infra.client.findings import Finding
from infra.client.questions import Answered

FEWEST_CALLS: Final = 5
"""Of fewer calls no share says anything."""
FAILING_BELOW: Final = 0.5
WELL_FROM: Final = 0.99
STALE_INTERVALS: Final = 3.0
"""Of reading the registry: a snapshot that was not confirmed for longer is stale."""
MOST_NAMED: Final = 5


def of_calls(edges: Iterable[Edge]) -> list[Finding]:
    """Return the services whose calls fail, in the words of their callers."""
    edges = list(edges)
    found = []
    for total in by_destination(edges):
        ended = total.counts["ok"] + total.counts["failed"]
        if ended < FEWEST_CALLS or total.success is None or total.success >= WELL_FROM:
            continue
        kind = findings.CALLS_FAIL if total.success < FAILING_BELOW else findings.SOME_CALLS_FAIL
        callers = sorted(
            {each.source for each in edges if each.destination == total.destination and each.counts["failed"]}
        )
        name = total.destination
        what = f"{total.counts['failed']} of {ended} calls failed in the last minute ({percent(total.success)} success)"
        remedy = f"tramo why {callers[0]} {name}, and tramo logs {name}"
        found.append(
            findings.made(
                kind,
                f"svc/{name}",
                f"calls of {listed(callers)}",
                f"{what}: {reasons(total)}",
                remedy,
                total.namespace,
            )
        )
    return found


def reasons(edge: Edge) -> str:
    """Return why calls failed: the proxy's flags, and for the rest the app's own answers."""
    flags = sorted(edge.flags.items(), key=lambda each: -each[1])
    told = [f"{count} {code} ({MEANINGS.get(code, 'see docs/observability.md')})" for code, count in flags if count]
    answered = edge.counts["failed"] - sum(edge.flags.values())
    if answered > 0:
        told.append(f"{answered} answered by the app itself with 5xx")
    return ", ".join(told)


def of_sidecars(namespace: str, answered: Answered) -> list[Finding]:
    """Return what is wrong with the sidecars of a namespace as such."""
    found = []
    if answered.silent:
        what = f"no answer from the sidecars of {listed([each[:8] for each in answered.silent])}"
        found.append(findings.made(findings.SILENT, "mesh", "sidecars", what, "", namespace))
    versions = Counter(str(answer["version"]) for answer in answered.answers.values())
    if len(versions) > 1:
        shown = ", ".join(f"{count} have {version}" for version, count in versions.most_common())
        found.append(findings.made(findings.VERSIONS, "mesh", "sidecars", shown, "", namespace))
    stale = []
    for task, answer in sorted(answered.answers.items()):
        snapshot = answer["snapshot"]
        age, interval = snapshot["age_seconds"], float(snapshot["interval_seconds"])
        if age is None or age > STALE_INTERVALS * interval:
            stale.append(f"{task[:8]} ({'none yet' if age is None else f'{age:.0f} s old'})")
    if stale:
        found.append(findings.made(findings.STALE, "mesh", "snapshots", f"stale in {listed(stale)}", "", namespace))
    return found


def listed(names: list[str]) -> str:
    """Return names in a row, the first few of them."""
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
