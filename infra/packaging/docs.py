"""Writes the generated parts of docs/: what the code already says, said once.

A part stands between `<!-- generated: NAME -->` and `<!-- end -->`. `python -m infra.packaging.docs` writes all
parts again; a test fails when one differs.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

from infra.client.findings import KINDS as COMMAND_KINDS
from infra.client.findings import Kind as CommandKind
from infra.dashboards.alarms import Alarm, alarms
from infra.local import template
from infra.packaging import metric_cost
from registry.domain.findings import KINDS as FUNCTION_KINDS
from registry.domain.findings import Kind as FunctionKind
from registry.metric_names import METRICS as FUNCTION_METRICS
from sidecar.admin.pages import ACTIONS, PAGES
from sidecar.core.findings import KINDS
from sidecar.core.findings import Kind as SidecarKind
from sidecar.core.flags import FLAGS
from sidecar.core.metrics import COUNTER, METRICS
from sidecar.variables import VARIABLES

DOCS = Path(__file__).parents[2] / "docs"
ACCESS_LOG = Path(__file__).parents[2] / "sidecar" / "core" / "access_log.py"
_PART = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def variables() -> str:
    """Return the sidecar's environment variables as a table."""
    rows = [f"| `{variable.name}` | {_default(variable.default)} | {variable.meaning} |\n" for variable in VARIABLES]
    return "| variable | default | meaning |\n|---|---|---|\n" + "".join(rows)


def _default(value: str | None) -> str:
    if value is None:
        return "**required**"
    return f"`{value}`" if value else "empty"


def parameters() -> str:
    """Return the stack's parameters as a table."""
    rows = []
    for name, each in template.parameters().items():
        default = f"`{each['Default']}`" if each["Default"] != "" else "empty"
        rows.append(f"| `{name}` | {default} | {' '.join(each['Description'].split())} |\n")
    return "| parameter | default | meaning |\n|---|---|---|\n" + "".join(rows)


def pages() -> str:
    """Return the admin pages as a table."""
    rows = [f"| `{path}` | {shows} |\n" for path, shows in PAGES.items()]
    rows += [f"| `POST {path}` | {does} |\n" for path, does in ACTIONS.items()]
    return "| page | shows, or does |\n|---|---|\n" + "".join(rows)


def metrics() -> str:
    """Return the sidecar's metrics as a table."""
    rows = []
    for metric in METRICS:
        labels = "".join(f'{{{name}="{value}"}}' for name, value in metric.labels)
        suffix = "_total" if metric.kind == COUNTER else ""
        series = f"`{metric.series}{suffix}{labels}`"
        dimension = f"`{metric.key}`" if metric.key else "none"
        rows.append(f"| `{metric.name}` | {metric.unit} | {dimension} | {series} | {metric.meaning} |\n")
    head = "| CloudWatch | unit | first dimension | Prometheus | what |\n|---|---|---|---|---|\n"
    return head + "".join(rows)


def function_metrics() -> str:
    """Return the functions' metrics as a table."""
    rows = [f"| `{each.name}` | {each.unit} | `{each.function}` | {each.meaning} |\n" for each in FUNCTION_METRICS]
    return "| CloudWatch | unit | `service` | what |\n|---|---|---|---|\n" + "".join(rows)


def alarm_table() -> str:
    """Return the stack's alarms as a table."""
    rows = [f"| `{each.name}` | {_condition(each)} | {each.meaning} |\n" for each in alarms()]
    return "| alarm | goes off when | what it says |\n|---|---|---|\n" + "".join(rows)


def _condition(alarm: Alarm) -> str:
    names = ", ".join(f"`{line.name}`" for line in alarm.lines)
    value = f"a share made of {names}" if alarm.expression else f"{names} ({alarm.lines[0].statistic})"
    unit = " %" if alarm.expression else ""
    return f"{value} > {alarm.threshold:g}{unit} for {alarm.period * alarm.periods // 60} min"


def findings() -> str:
    """Return the kinds of findings that sidecars see as a table."""
    rows = [f"| [{kind.code}](findings.md#{kind.code.lower()}) | {kind.level} | {kind.meaning} |\n" for kind in KINDS]
    return "| code | level | what |\n|---|---|---|\n" + "".join(rows)


def catalogue() -> str:
    """Every kind of finding, whoever sees it, under a heading of its own."""
    parts = []
    for title, kinds in CATALOGUE.items():
        parts.append(f"\n## {title}\n")
        for kind in kinds:
            remedy = kind.remedy.replace("docs/", "")
            parts.append(f"\n### {kind.code}\n\n{kind.level.upper()}: {kind.meaning}.\n\n{remedy}\n")
    return "".join(parts)


CATALOGUE: Final[Mapping[str, Sequence[FunctionKind | SidecarKind | CommandKind]]] = {
    "Task definitions, seen by the registrar and `tramo analyze`": [k for k in FUNCTION_KINDS if k.code < "TRM02"],
    "The registry, seen by the registrar and the reconciler": [k for k in FUNCTION_KINDS if k.code >= "TRM02"],
    "Tasks, seen by their sidecars": KINDS,
    "The mesh, seen by `tramo check`": COMMAND_KINDS,
}


def log_fields() -> str:
    """Return the fields of the access log as a table."""
    tree = ast.parse(ACCESS_LOG.read_text())
    classes = {each.name: each.body for each in tree.body if isinstance(each, ast.ClassDef)}
    meanings: dict[str, str] = {}
    kinds: dict[str, list[str]] = {}
    for kind, name in (("HTTP", "HttpLine"), ("TCP", "TcpLine")):
        for field, text in _documented(classes[name]):
            kinds.setdefault(field, []).append(kind)
            meanings.setdefault(field, text)
    rows = [f"| `{field}` | {', '.join(kinds[field])} | {meaning} |\n" for field, meaning in meanings.items()]
    return "| field | of | what |\n|---|---|---|\n" + "".join(rows)


def _documented(body: Sequence[ast.stmt]) -> Iterator[tuple[str, str]]:
    """Yield the fields of a class with the text below each, empty where there is none."""
    for statement, following in pairwise([*body, ast.Pass()]):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            yield statement.target.id, ast.literal_eval(following.value) if isinstance(following, ast.Expr) else ""


def flags() -> str:
    """Return the response flags as a table."""
    return "| flag | what |\n|---|---|\n" + "".join(f"| `{flag.code}` | {flag.meaning} |\n" for flag in FLAGS)


PARTS: dict[str, Callable[[], str]] = {
    "variables": variables,
    "parameters": parameters,
    "pages": pages,
    "metrics": metrics,
    "function_metrics": function_metrics,
    "alarms": alarm_table,
    "metric_cost": metric_cost.table,
    "log_fields": log_fields,
    "flags": flags,
    "findings": findings,
    "catalogue": catalogue,
}


def render(text: str) -> str:
    """Return the page with its generated parts replaced. An unknown part is a KeyError."""
    return _PART.sub(lambda part: part[1] + PARTS[part[2]]() + part[3], text)


def main() -> int:
    """Write every page that changed."""
    for path in sorted(DOCS.glob("*.md")):
        before = path.read_text()
        after = render(before)
        if after != before:
            path.write_text(after)
            print(f"wrote {path.relative_to(DOCS.parent)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
