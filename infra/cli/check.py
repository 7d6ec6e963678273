"""`tramo check`: what is wrong with a mesh, by category, with the cause and what to do.

Rules:
1. A category is checked if the one that it needs could be: without the API nobody knows the services.
2. Exit code 0 when there are only warnings, 1 when something does not work.
3. Nothing is changed, and nothing is asked of CloudWatch's metrics, which cost money: sidecars say how calls end.
4. The registry is asked for several things at once, and the sidecars of all namespaces get the same few seconds to
   answer: no check takes longer, however many are silent.
"""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import IO, Any, Final

from infra.cli import check_sidecars
from infra.cli.mesh import Mesh, open_mesh, suggestion
from infra.cli.tables import paragraph
from infra.cli.traffic import edges_of
from infra.client import findings
from infra.client.api import ApiError, Json
from infra.client.findings import ERROR, Finding
from infra.client.questions import Answered, ask_namespaces

POLL_SECONDS: Final = 1.0
AT_ONCE: Final = 4
"""Requests to the API, besides those that ask sidecars: one person must not be in the way of sidecars."""
ANSWER_SECONDS: Final = 6
"""For sidecars: one interval of reading is five seconds without the feed, one with it."""

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
        write(sys.stdout, only_wrong(categories) if options.output == "short" else categories)
    return int(failed)


def look(options: argparse.Namespace) -> list[Category]:
    """Return the categories of the mesh that the options name, checked."""
    if options.pre:
        from infra.cli import preflight

        category = Category("before-installation")
        for what, found in preflight.look(options.stack, options.region):
            category.add(what, found)
        return [category]
    try:
        categories = examine(open_mesh(options), options.service)
        return [each for each in categories if each.name in _OF_PROXIES] if options.proxy else categories
    except ApiError as error:
        return [_away(error)]


@dataclass(frozen=True, slots=True)
class Seen:
    """What the API and the sidecars say: findings, services and answers, the two of them by namespace.

    A namespace that only clients have joined has no services, and nobody in it can be asked.
    """

    findings: list[Finding]
    services: dict[str, list[Json]]
    answered: dict[str, Answered]
    not_asked: dict[str, str]


Clock = Callable[[], float]
Pause = Callable[[float], None]


def examine(
    mesh: Mesh, service: str | None = None, clock: Clock = time.monotonic, pause: Pause = time.sleep
) -> list[Category]:
    """Return the categories, checked; only what is about a service if one is named."""
    first = Category("control-plane")
    try:
        seen = _look(mesh, clock, pause)
    except ApiError as error:
        first = _away(error)
        seen = None
    else:
        first.add("the API answers")
    if mesh.local is not None:
        _local(first, mesh.local)
    elif mesh.stack is not None:
        _stack(first, mesh.stack, mesh.region)
    if seen is None:
        return [first]
    categories = [first]
    for name, what, belongs in _OF_REGISTRY:
        category = Category(name)
        category.add(what, [each for each in seen.findings if belongs(each.code)])
        categories.append(category)
    _sidecars(categories[-1], seen)
    services = Category("services")
    _services(services, seen)
    categories.append(services)
    if not service:
        return categories
    kept = [_of_service(each, service) for each in categories]
    known = sorted({each["name"] for found in seen.services.values() for each in found})
    unknown = []
    # A task definition that does not join leaves its service unknown, and then the finding says why.
    if service not in known and not any(_names(each, service) for one in kept for each in one.found):
        what = f"there is no service {service}{suggestion(service, known)}"
        unknown.append(findings.made(findings.NO_SERVICE, f"svc/{service}", "--service", what))
    kept[-1].checks.insert(0, (f"there is a service {service}", unknown))
    return kept


def _look(mesh: Mesh, clock: Clock, pause: Pause) -> Seen:
    """Ask all that there is to ask at once. Raises ApiError."""
    # One that is not there is a finding here: `--wait` waits for it.
    names = [mesh.wanted] if mesh.wanted else mesh.api.namespaces()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        general = (
            None if mesh.wanted else pool.submit(lambda: [Finding.of_api(each) for each in mesh.api.findings(None)])
        )
        asking = partial(ask_namespaces, seconds=ANSWER_SECONDS, turn=ANSWER_SECONDS, clock=clock, pause=pause)
        answers = pool.submit(asking, mesh.api, names, "stat")
        found = {name: pool.submit(_findings, mesh, name) for name in names}
        services = {name: pool.submit(_services_of, mesh, name) for name in names}
    known = [] if general is None else general.result()
    answered = answers.result()
    return Seen(
        known + [each for name in names for each in found[name].result()],
        {name: each.result() for name, each in services.items()},
        {name: each for name, each in answered.items() if isinstance(each, Answered)},
        {name: str(each) for name, each in answered.items() if isinstance(each, ApiError)},
    )


def _findings(mesh: Mesh, namespace: str) -> list[Finding]:
    return [Finding.of_api(each, namespace) for each in mesh.api.findings(namespace)]


def _services_of(mesh: Mesh, namespace: str) -> list[Json]:
    return list(mesh.api.services(namespace))


def _away(error: ApiError) -> Category:
    category = Category("control-plane")
    category.add("the API answers", [findings.made(findings.API_AWAY, "api", "API", str(error))])
    return category


_OF_PROXIES: Final = ("control-plane", "data-plane")
"""What --proxy shows: without the API nobody knows the sidecars."""

_OF_REGISTRY: Final[tuple[tuple[str, str, Callable[[str], bool]], ...]] = (
    ("joining", "task definitions join the mesh as they mean to", lambda code: code.startswith("TRM01")),
    ("registry", "names, aliases and events are in order", lambda code: code.startswith("TRM02")),
    ("data-plane", "sidecars find nothing wrong in their tasks", lambda code: code.startswith("TRM03")),
)


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


def _sidecars(category: Category, seen: Seen) -> None:
    """Note what is wrong with the sidecars, as they themselves say."""
    found = [each for name, one in seen.answered.items() for each in check_sidecars.of_sidecars(name, one)]
    for name, reason in seen.not_asked.items():
        what = f"they could not be asked: {reason}"
        found.append(findings.made(findings.SILENT, "mesh", "sidecars", what, "ask again in a minute", name))
    count = sum(len(each.answers) for each in seen.answered.values())
    category.add(f"{count} sidecars answer, with one version and a fresh snapshot", found)


def _services(category: Category, seen: Seen) -> None:
    empty = []
    for namespace, services in seen.services.items():
        for service in services:
            states = service["endpoints"]
            if not states.get("ready"):
                name = service["name"]
                shown = ", ".join(f"{number} {state}" for state, number in sorted(states.items())) or "it has no tasks"
                what, remedy = f"none is ready: {shown}", f"see tramo endpoints {name} and tramo describe {name}"
                empty.append(findings.made(findings.NO_ENDPOINT, f"svc/{name}", "endpoints", what, remedy, namespace))
    count = sum(len(each) for each in seen.services.values())
    if not count:
        category.add("there are services", [findings.made(findings.NO_NAMESPACE, "mesh", "services", "there are none")])
    category.add(f"each of {count} services has a ready endpoint", empty)
    category.add("no two namespaces have services of one name", _same_names(seen.services))
    edges = [edge for name, each in seen.answered.items() for edge in edges_of(name, each.answers, {})]
    category.add("calls succeed, as their callers saw in the last minute", check_sidecars.of_calls(edges))


def _same_names(services: Mapping[str, Sequence[Json]]) -> list[Finding]:
    """Return which namespaces have services of the same names: one finding for each combination of namespaces."""
    places: dict[str, list[str]] = {}
    for namespace, known in services.items():
        for service in known:
            places.setdefault(service["name"], []).append(namespace)
    shared: dict[tuple[str, ...], list[str]] = {}
    for name, found in sorted(places.items()):
        if len(found) > 1:
            shared.setdefault(tuple(found), []).append(name)
    listed = check_sidecars.listed
    return [
        findings.made(findings.SAME_NAME, "mesh", "metrics", f"{listed(names)}: in {listed(list(namespaces))}")
        for namespaces, names in shared.items()
    ]


def _of_service(category: Category, service: str) -> Category:
    """Leave of a category what is about a service: its own name, or a task definition or ECS service of the name."""

    def is_about(each: Finding) -> bool:
        return each.resource.partition("/")[0] in ("api", "function", "mesh", "stack") or _names(each, service)

    kept = [(what, [each for each in found if is_about(each)]) for what, found in category.checks]
    return Category(category.name, kept)


def _names(finding: Finding, service: str) -> bool:
    """Say whether a finding is about a service, or a task definition or ECS service of its name."""
    return finding.resource.partition("/")[2].partition(":")[0] == service


def only_wrong(categories: Sequence[Category]) -> list[Category]:
    """Leave out what is as it should be."""
    shown = [Category(each.name, [check for check in each.checks if check[1]]) for each in categories]
    return [each for each in shown if each.checks]


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
    from infra.terminal import console  # takes as long as a check

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
