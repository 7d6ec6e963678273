"""`tramo check`: what is wrong with a mesh, by category, with the cause and what to do.

Rules:
1. A category is checked if the one that it needs could be: without the API nobody knows the services.
2. Exit code 0 when there are only warnings, 1 when something does not work.
3. Nothing is changed, and nothing is asked of CloudWatch's metrics, which cost money.
"""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import IO, Any, Final

from infra.cli import findings
from infra.cli.api import ApiError
from infra.cli.findings import ERROR, Finding
from infra.cli.mesh import Mesh, open_mesh
from infra.cli.tables import paragraph
from infra.terminal import console

POLL_SECONDS: Final = 1.0

_MARKS: Final = {"ok": ("√", "green"), "warning": ("‼", "yellow"), "error": ("×", "red")}  # noqa: RUF001


@dataclass(slots=True)
class Category:
    """What was looked at, in the words of what should be so, and what is wrong instead."""

    name: str
    checks: list[tuple[str, list[Finding]]] = field(default_factory=list)

    def add(self, what: str, found: Sequence[Finding] = ()) -> None:
        """Note one check and what it found."""
        self.checks.append((what, sorted(found, key=lambda each: each.order)))

    @property
    def found(self) -> list[Finding]:
        """All that was found."""
        return [each for _, found in self.checks for each in found]


def run(options: argparse.Namespace) -> int:
    """Check until all is well or the time is over; print the last result and return the exit code."""
    deadline = time.monotonic() + (options.wait or 0.0)
    while True:
        categories = look(options)
        failed = any(each.level == ERROR for category in categories for each in category.found)
        if not failed or time.monotonic() >= deadline:
            break
        time.sleep(POLL_SECONDS)
    if options.output == "json":
        sys.stdout.write(json.dumps(document(categories), indent=2) + "\n")
    else:
        write(sys.stdout, categories)
    return int(failed)


def look(options: argparse.Namespace) -> list[Category]:
    """Return the categories of the mesh that the options name, checked."""
    try:
        return examine(open_mesh(options), options.service)
    except ApiError as error:
        return [_away(error)]


def examine(mesh: Mesh, service: str | None = None) -> list[Category]:
    """Return the categories, checked; only what is about a service if one is named."""
    first = Category("control-plane")
    try:
        namespaces = mesh.namespaces()
        known = _stored(mesh, namespaces)
    except ApiError as error:
        first = _away(error)
        known = None
    else:
        first.add("the API answers")
    if mesh.local is not None:
        _local(first, mesh.local)
    elif mesh.stack is not None:
        _stack(first, mesh.stack, mesh.region)
    if known is None:
        return [first]
    categories = [first]
    for name, what, belongs in _OF_REGISTRY:
        category = Category(name)
        category.add(what, [each for each in known if belongs(each.code)])
        categories.append(category)
    services = Category("services")
    _services(services, mesh, namespaces)
    categories.append(services)
    return [_of_service(each, service) for each in categories] if service else categories


def _away(error: ApiError) -> Category:
    category = Category("control-plane")
    category.add("the API answers", [findings.made(findings.API_AWAY, "api", "API", str(error))])
    return category


_OF_REGISTRY: Final[tuple[tuple[str, str, Callable[[str], bool]], ...]] = (
    ("joining", "task definitions join the mesh as they mean to", lambda code: code.startswith("TRM01")),
    ("registry", "names, aliases and events are in order", lambda code: code.startswith("TRM02")),
    ("data-plane", "sidecars find nothing wrong in their tasks", lambda code: code.startswith("TRM03")),
)


def _stored(mesh: Mesh, namespaces: Sequence[str]) -> list[Finding]:
    general = [] if mesh.wanted else [Finding.of_api(each) for each in mesh.api.findings(None)]
    return general + [Finding.of_api(each, name) for name in namespaces for each in mesh.api.findings(name)]


def _local(category: Category, status: Mapping[str, Any]) -> None:
    letters = status["dead_letters"]
    found = []
    for function in sorted({letter["function"] for letter in letters}):
        own = [letter for letter in letters if letter["function"] == function]
        what = f"{len(own)} events failed, the last one with: {own[-1]['error']}"
        remedy = f"see {status.get('function_log', 'the log of the functions')}, then: tramo redrive"
        found.append(findings.made(findings.DEAD_LETTERS, f"function/{function}", "dead letters", what, remedy))
    category.add("every event was handled", found)
    failing = []
    for row in status["failing"]:
        code = "" if row["exit_code"] is None else f" exited with {row['exit_code']}"
        what = f"{row['failed_tasks']} tasks of {row['definition']} failed: {row['reason']}"
        remedy = f"see {row['log']}" if row["log"] else findings.TASKS_FAIL.remedy
        where = f"container {row['container'] or '-'}{code}"
        failing.append(findings.made(findings.TASKS_FAIL, f"ecs/{row['service']}", where, what, remedy))
    category.add("tasks of ECS services keep running", failing)


def _stack(category: Category, stack: str, region: str | None) -> None:
    from infra.cli.stack_health import stack_findings

    for what, found in stack_findings(stack, region):
        category.add(what, found)


def _services(category: Category, mesh: Mesh, namespaces: Sequence[str]) -> None:
    empty = []
    count = 0
    for namespace in namespaces:
        try:
            services = list(mesh.api.services(namespace))
        except ApiError as error:
            if error.status != 404:  # a namespace that only clients have joined has no snapshot yet
                raise
            services = []
        count += len(services)
        for service in services:
            states = service["endpoints"]
            if not states.get("ready"):
                shown = ", ".join(f"{number} {state}" for state, number in sorted(states.items())) or "it has no tasks"
                remedy = f"see tramo endpoints {service['name']} and tramo describe {service['name']}"
                empty.append(
                    findings.made(
                        findings.NO_ENDPOINT,
                        f"svc/{service['name']}",
                        "endpoints",
                        f"none is ready: {shown}",
                        remedy,
                        namespace,
                    )
                )
    if not count:
        category.add("there are services", [findings.made(findings.NO_NAMESPACE, "mesh", "services", "there are none")])
    category.add(f"each of {count} services has a ready endpoint", empty)


def _of_service(category: Category, service: str) -> Category:
    """Leave of a category what is about a service: its own name, or a task definition or ECS service of the name."""

    def is_about(each: Finding) -> bool:
        kind, _, name = each.resource.partition("/")
        return kind in ("api", "function", "mesh", "stack") or name.partition(":")[0] == service

    kept = [(what, [each for each in found if is_about(each)]) for what, found in category.checks]
    return Category(category.name, kept)


def document(categories: Sequence[Category]) -> dict[str, Any]:
    """Return the result as programs read it."""
    return {
        "ok": not any(each.level == ERROR for category in categories for each in category.found),
        "categories": [
            {
                "name": category.name,
                "checks": [
                    {"what": what, "findings": [asdict(each) for each in found]} for what, found in category.checks
                ],
            }
            for category in categories
        ],
    }


def write(stream: IO[str], categories: Sequence[Category]) -> None:
    """Print the result for people."""
    output = console(stream)

    def line(mark: str, text: str, indent: str = "") -> None:
        sign, style = _MARKS[mark]
        output.print(f"{indent}[{style}]{sign}[/{style}] ", end="", soft_wrap=True)
        width = len(indent) + 2
        lines = textwrap.wrap(text, output.width - width, break_long_words=False, break_on_hyphens=False)
        output.print(f"\n{' ' * width}".join(lines), markup=False, soft_wrap=True)

    for category in categories:
        output.print(category.name, style="bold")
        output.print("-" * len(category.name))
        for what, found in category.checks:
            line(_worst(found), what)
            for each in found:
                place = f"{each.namespace}, " if each.namespace else ""
                line(each.level, f"{each.code} {each.resource} ({place}{each.where})", "  ")
                paragraph(stream, each.what, "      ")
                paragraph(stream, f"→ {each.remedy}", "      ", "        ")
                paragraph(stream, f"see {each.anchor} for hints", "      ")
        output.print()
    worst = _worst([each for category in categories for each in category.found])
    sign, style = _MARKS["error" if worst == "error" else "ok"]
    output.print(f"Status check results are [{style}]{sign}[/{style}]")


def _worst(found: Sequence[Finding]) -> str:
    levels = {each.level for each in found}
    return next((level for level in (ERROR, findings.WARNING) if level in levels), "ok")
