"""`tramo why SRC DST`: the way of a call from one service to another, and where it ends.

Each step is a line: the name, its alias, the address, the network, the endpoints as SRC's own sidecars see them, each
with zone and weight, and what became of the last minute's calls. One sentence says it all. Exit code 1 if a step fails.
"""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Final

from infra.cli.measure import WINDOW_SECONDS, window_filter
from infra.cli.mesh import open_mesh, suggestion
from infra.cli.network import Blocked, blocked, callers, times_out
from infra.cli.tables import paragraph
from infra.cli.traffic import MEANINGS
from infra.client.api import MeshApi
from infra.client.questions import Answered, ask

Asked = Callable[..., Answered]
"""Asks the caller's sidecars for a subject."""

MOST_ENDPOINTS: Final = 10
"""Lines of endpoints for people; JSON has all."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint: what the registry says of it, and how many of the caller's sidecars do not call it."""

    address: str
    state: str
    zone: str
    weight: int
    ejected_by: int
    failing_checks_of: int
    timing_out_for: int

    def line(self, callers: int) -> str:
        """Return it in words."""
        objections = [
            f"{text} {count} of {callers}"
            for text, count in (
                ("ejected by", self.ejected_by),
                ("fails the checks of", self.failing_checks_of),
                ("times out for", self.timing_out_for),
            )
            if count
        ]
        return ", ".join((self.address, self.state, *objections, f"zone {self.zone}", f"weight {self.weight}"))


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the way: what was looked at, whether it is as it should be, and what was found."""

    name: str
    ok: bool
    found: str
    endpoints: tuple[Endpoint, ...] = ()
    callers: int = 0
    look: str = ""
    """The command that shows what is behind it."""

    def lines(self) -> list[str]:
        """Return the endpoints in words, the first of them."""
        more = len(self.endpoints) - MOST_ENDPOINTS
        shown = [each.line(self.callers) for each in self.endpoints[:MOST_ENDPOINTS]]
        return shown + ([f"and {more} more: -o json has all"] if more > 0 else [])


def run(options: argparse.Namespace) -> int:
    """Print the way and return the exit code."""
    mesh = open_mesh(options)
    name, _, port = options.destination.partition(":")
    namespace = mesh.namespace_of(options.source)
    number = int(port) if port.isdecimal() else None
    steps, sentence = explain(
        mesh.api, namespace, options.source, name, number, options.time_window, in_aws=mesh.local is None
    )
    if options.output == "json":
        document = {"steps": [asdict(step) for step in steps], "sentence": sentence}
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    else:
        from infra.terminal import console

        output = console(sys.stdout)
        for step in steps:
            mark, style = ("✓", "green") if step.ok else ("×", "red")  # noqa: RUF001
            output.print(f"[{style}]{mark}[/] ", end="", soft_wrap=True)
            lines = textwrap.wrap(f"{step.name}: {step.found}", output.width - 2, break_long_words=False)
            output.print("\n  ".join(lines), markup=False, soft_wrap=True)
            for line in step.lines():
                paragraph(sys.stdout, line, "    ", "      ")
            if step.look:
                sys.stdout.write(textwrap.indent(f"{step.look}\n", "    "))
        sys.stdout.write("\n")
        paragraph(sys.stdout, sentence)
    return int(not all(step.ok for step in steps))


def explain(
    api: MeshApi,
    namespace: str,
    source: str,
    destination: str,
    port: int | None,
    window: float = WINDOW_SECONDS,
    pause: Callable[[float], None] = time.sleep,
    *,
    in_aws: bool = True,
) -> tuple[list[Step], str]:
    """Return the steps of a call and one sentence about it; calls are those of the last `window` seconds.

    A local mesh (`in_aws` is false) has no security groups. Raises ApiError.
    """
    services = {each["name"]: each for each in api.services(namespace)}
    steps: list[Step] = []
    found = _named(services, destination, port)
    if found is None:
        aliases = [alias["dns_name"] for each in services.values() for alias in each["aliases"]]
        hint = suggestion(destination, [*services, *aliases])
        at = f"{destination}:{port}" if port else destination
        steps.append(Step("name", False, f"no service of {namespace} is called {at}{hint}"))
        return steps, f"{source} cannot call {at}, because nobody in {namespace} offers it{hint or '.'}"
    name = found["name"]
    aliases = [f"{each['dns_name']}:{each['port']}" for each in found["aliases"]]
    steps.append(Step("name", True, f"{destination} is service {name} in {namespace}, {found['protocol']}"))
    steps.append(Step("alias", bool(aliases), ", ".join(aliases) or "it has none: another service holds them"))
    shown = ", ".join(f"{count} {state}" for state, count in sorted(found["endpoints"].items())) or "none"
    steps.append(Step("registry", bool(found["endpoints"].get("ready")), f"endpoints of {name}: {shown}"))
    known = {each["id"]: each for each in api.service(namespace, name)["endpoints"]}
    asked = partial(ask, api, namespace, service=source, pause=pause)
    steps += _as_seen(asked, source, found, known, window, partial(_network, api, namespace, in_aws))
    return steps, _sentence(steps, source, name)


def _named(services: Mapping[str, Any], name: str, port: int | None) -> Mapping[str, Any] | None:
    if name in services and port is None:
        return services[name]  # type: ignore[no-any-return]
    for each in services.values():
        for alias in each["aliases"]:
            if alias["dns_name"] == name and port in (None, alias["port"]):
                return each  # type: ignore[no-any-return]
    return None


def _as_seen(
    asked: Asked,
    source: str,
    service: Mapping[str, Any],
    known: Mapping[str, Mapping[str, Any]],
    window: float,
    network: Callable[[Blocked], Step],
) -> list[Step]:
    """Return the steps that the sidecars of the caller see."""
    name = service["name"]
    answered = asked("clusters", filters={"to": name})
    if not answered.answers:
        who = f"{len(answered.silent)} sidecars have not answered" if answered.silent else "it has no living task"
        return [Step("sidecar", False, f"nobody can be asked for {source}: {who}")]
    steps = [Step("sidecar", True, f"{len(answered.answers)} of {source} answered")]
    clusters = {task: each["clusters"][0] for task, each in answered.answers.items() if each.get("clusters")}
    without = [task[:8] for task in answered.answers if task not in clusters]
    if without:
        return [*steps, Step("cluster", False, f"task {without[0]} does not know {name}: its snapshot is stale")]
    steps.append(_listener(asked("config"), source, service))
    if (found := blocked(clusters)) is not None:
        steps.append(network(found))
    steps.append(_endpoints(clusters, known))
    steps.append(_breaker(clusters))
    steps.append(_calls(asked("stat", filters=window_filter(window)), name, window))
    return steps


def _listener(answered: Answered, source: str, service: Mapping[str, Any]) -> Step:
    ports = {alias["port"] for alias in service["aliases"]}
    for task, page in answered.answers.items():
        for address, reason in page["not_listening"].items():
            host, _, port = address.rpartition(":")
            if host == service["vip"] and int(port) in ports:
                return Step("listener", False, f"task {task[:8]} cannot listen on {address}: {reason}")
    shown = ", ".join(f"{service['vip']}:{port}" for port in sorted(ports))
    return Step("listener", True, f"{source} reaches it at {shown}")


def _network(api: MeshApi, namespace: str, in_aws: bool, found: Blocked) -> Step:
    text = found.text(callers(api, namespace, found.tasks), in_aws)
    return Step("network", False, text, look=found.command() if in_aws else "")


def _endpoints(clusters: Mapping[str, Mapping[str, Any]], known: Mapping[str, Mapping[str, Any]]) -> Step:
    """Count what the caller's sidecars see; zone and weight are the registry's."""
    states: Counter[str] = Counter()
    seen: dict[str, list[Mapping[str, Any]]] = {}
    for cluster in clusters.values():
        for each in cluster["endpoints"]:
            states["ejected" if each["ejected"] else "failing its checks" if _fails(each) else each["state"]] += 1
            seen.setdefault(each["id"], []).append(each)
    shown = ", ".join(f"{count} {state}" for state, count in sorted(states.items())) or "none"
    local = sum(each["same_zone"] for cluster in clusters.values() for each in cluster["endpoints"])
    endpoints = [
        Endpoint(
            f"{views[0]['address']}:{views[0]['port']}",
            views[0]["state"],
            known.get(name, {}).get("zone") or "unknown",
            known.get(name, {}).get("weight", 100),
            sum(each["ejected"] for each in views),
            sum(_fails(each) for each in views),
            sum(times_out(each) for each in views),
        )
        for name, views in sorted(seen.items())
    ]
    found = f"{shown}; {local} in the caller's zone"
    return Step("endpoints", states["ready"] > 0, found, tuple(endpoints), len(clusters))


def _fails(endpoint: Mapping[str, Any]) -> bool:
    return (endpoint["health_check"] or {}).get("state") == "failing"


def _breaker(clusters: Mapping[str, Mapping[str, Any]]) -> Step:
    overflows = sum(each["overflows"] for each in clusters.values())
    active = sum(each["active_requests"] for each in clusters.values())
    pending = sum(each["pending_requests"] for each in clusters.values())
    return Step("breaker", not pending, f"{active} requests under way, {pending} wait, {overflows} were refused so far")


def _calls(answered: Answered, name: str, window: float) -> Step:
    of_late = "in the last minute" if window == WINDOW_SECONDS else f"in the last {window:.0f} s"
    rows = [row for answer in answered.answers.values() for row in answer["client"] if row["name"] == name]
    ok, failed = sum(row["ok"] for row in rows), sum(row["failed"] for row in rows)
    flags: Counter[str] = Counter()
    for row in rows:
        flags.update(row["flags"])
    meant = {code: MEANINGS.get(code, "see docs/observability.md") for code in flags}
    why = ", ".join(f"{count} {code} ({meant[code]})" for code, count in flags.items()) or "answered by the app"
    if not ok + failed:
        return Step("calls", True, f"none {of_late}")
    text = f"{failed} of {ok + failed} failed {of_late}"
    return Step("calls", not failed, f"{text}: {why}" if failed else text)


def _sentence(steps: Sequence[Step], source: str, name: str) -> str:
    failed = [step for step in steps if not step.ok]
    if not failed:
        return f"{source} can call {name}."
    last = failed[-1] if failed[-1].name == "calls" and len(failed) == 1 else failed[0]
    if last.name == "network" and all(step.ok for step in steps if step.name == "endpoints"):
        return f"{source} does not reach all tasks of {name}: {last.found}."
    if last.name == "calls":
        return f"{source} reaches {name}, but {last.found}."
    return f"{source} cannot call {name}: {last.name}, {last.found}."
