"""What a task definition gets wrong, whether it is in the mesh or only means to be. Pure.

Beside the mistakes for which its tasks are left out (`definition.py`) these are the ones with which they run and do
not do what is meant. The namespace is read from what there is, so that people find the mistake where they look.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from registry.domain import findings
from registry.domain.bounds import LABEL_BYTES
from registry.domain.containers import TcpPorts, labels, variables
from registry.domain.definition import SIDECAR_LABEL, apps_of, parse, short_name, sidecar_of
from registry.domain.findings import Found
from registry.domain.label import CONFIGURATION_LABEL
from registry.domain.offer import NAMESPACE_PATTERN, Definition, DefinitionError
from registry.domain.unknown_keys import unknown_keys

MOST_ADVICE: Final = 32  # of one definition: 16 unknown keys, and a few of each other kind

OWN_PORTS: Final = {"TRAMO_ADMIN": "127.0.0.1:9901", "TRAMO_FORWARD_PROXY": "127.0.0.1:15001", "TRAMO_REDIRECT": "off"}
"""The sidecar's variables that name a listener of its own, with their defaults."""


@dataclass(frozen=True, slots=True)
class Advice:
    """What is wrong with a definition, and the namespace that it means to join; None when it cannot be read."""

    namespace: str | None
    found: tuple[Found, ...]


def read(
    task_definition: Mapping[str, Any], mesh: str | None = None
) -> tuple[Definition | DefinitionError | None, Advice]:
    """Return what a definition offers, its first mistake, or None when it is not ours; and what is wrong with it.

    With `mesh` those of other meshes are not ours, and what is wrong with them is for their own stack to say.
    """
    parsed: Definition | DefinitionError | None
    try:
        parsed = parse(task_definition, mesh)
    except DefinitionError as error:
        parsed = error
    if parsed is None and _is_labelled(task_definition):
        return None, Advice(None, ())
    return parsed, advice_of(task_definition, parsed)


def _is_labelled(task_definition: Mapping[str, Any]) -> bool:
    containers: Sequence[Mapping[str, Any]] = task_definition.get("containerDefinitions") or ()
    return any(CONFIGURATION_LABEL in labels(each) for each in containers)


def is_redirected(task_definition: Mapping[str, Any]) -> bool:
    """Return whether ECS sends calls of the services' addresses to the sidecar: one listener for all.

    A proxyConfiguration of another container, such as App Mesh's Envoy, changes nothing for the sidecar.
    """
    proxy = task_definition.get("proxyConfiguration")
    sidecar = sidecar_of(task_definition)
    if not isinstance(proxy, Mapping) or sidecar is None:
        return False
    return (proxy.get("type") or "APPMESH") == "APPMESH" and proxy.get("containerName") == sidecar.get("name")


def own_ports(given: Mapping[str, str]) -> dict[int, str]:
    """Return the ports of a sidecar with these variables, whatever it offers, and the variable of each."""
    own = {}
    for variable, default in OWN_PORTS.items():
        port = (given.get(variable) or default).rpartition(":")[2]
        if port.isascii() and port.isdigit():  # `off` else
            own[int(port)] = variable
    return own


def advice_of(task_definition: Mapping[str, Any], parsed: Definition | DefinitionError | None) -> Advice:
    """Return what is wrong with DescribeTaskDefinition's `taskDefinition`, of which `parsed` was made."""
    name = short_name(str(task_definition.get("taskDefinitionArn", "")))
    result = [findings.unknown_key(name, key) for key in unknown_keys(task_definition)]
    if isinstance(parsed, DefinitionError):
        result.insert(0, findings.bad_label(parsed))
    elif parsed is not None:
        result += _of_members(name, task_definition, parsed)
    namespace = parsed.namespace if isinstance(parsed, Definition) else _namespace(task_definition)
    return Advice(namespace, tuple(result[:MOST_ADVICE]))


def _of_members(name: str, task_definition: Mapping[str, Any], parsed: Definition) -> Iterator[Found]:
    resource = findings.of_definition(name)
    containers: Sequence[Mapping[str, Any]] = task_definition.get("containerDefinitions") or ()
    sidecar = sidecar_of(task_definition)
    if sidecar is None:
        if parsed.network_mode != "awsvpc":
            return  # a sidecar would not share the app's network; the service is called without one
        what = f"no container has the label {SIDECAR_LABEL}, so its tasks cannot call services by name"
        yield findings.found(
            findings.NO_SIDECAR, resource, "containerDefinitions", what, _sidecar_remedy(name, containers)
        )
        return
    ports = TcpPorts(apps_of(task_definition) if parsed.network_mode != "bridge" else ())
    yield from _own_ports(resource, sidecar, ports, parsed)
    if not is_redirected(task_definition):
        yield from _clashes(resource, ports, parsed)
    yield from _other_names(resource, sidecar, parsed)


def _sidecar_remedy(name: str, containers: Sequence[Mapping[str, Any]]) -> str:
    """Name the container that looks like the sidecar, if there is one."""
    for each in containers:
        if any(name.startswith("TRAMO_") for name in variables(each)):
            return f'mark container {each.get("name")} with the label {SIDECAR_LABEL}: "true"'
    return f"add the sidecar: tramo inject writes {name.partition(':')[0]} with it"


def _own_ports(resource: str, sidecar: Mapping[str, Any], ports: TcpPorts, parsed: Definition) -> Iterator[Found]:
    """Yield where the sidecar's own listeners, the ingress ports and the apps are in each other's way."""
    own = own_ports(variables(sidecar))
    for offer in parsed.offers:
        if offer.port in own:
            place = f"ingress port {offer.port} of {offer.service}"
            what = f"the sidecar has port {offer.port} for {own[offer.port]} already, so it ends at its start"
            remedy = f"choose another ingressPortOverride, or another port in {own[offer.port]}"
            yield findings.found(findings.OWN_PORT, resource, place, what, remedy)
    for number, variable in own.items():
        if (app := ports.single(number)) is not None:
            place = f"container {app}, port {number}"
            what = f"the sidecar has port {number} for {variable}, and only one of the two can listen on it"
            remedy = f"let the app listen on another port, or write another one into {variable}"
            yield findings.found(findings.OWN_PORT, resource, place, what, remedy)
    needed = own | {offer.port: f"the ingress of {offer.service}" for offer in parsed.offers}
    for number, purpose in needed.items():
        if ports.single(number) is None and (app := ports.in_range(number)) is not None:
            what = (
                f"its range of ports has {number}, which the sidecar needs for {purpose}: the app cannot listen there"
            )
            remedy = "choose a range without it, or another port for the sidecar"
            yield findings.found(findings.PORT_CLASH, resource, f"container {app}, port {number}", what, remedy)


def _clashes(resource: str, ports: TcpPorts, parsed: Definition) -> Iterator[Found]:
    for offer in parsed.offers:
        for alias in offer.aliases:
            app = ports.holder(alias.port)
            if app is None:
                continue
            place = f"alias {alias.dns_name}:{alias.port}"
            what = f"container {app} has port {alias.port} too, and only one of the two can listen on it"
            yield findings.found(findings.PORT_CLASH, resource, place, what, clash_remedy(alias.port))


def clash_remedy(port: int) -> str:
    """Return what to do when an alias and an app have this port."""
    other = "the app or the alias another port" if port == 80 else "the alias another port, such as 80"
    return f"give {other}; or one listener for all: tramo inject --redirect"


def _other_names(resource: str, sidecar: Mapping[str, Any], parsed: Definition) -> Iterator[Found]:
    """Yield where the sidecar's variables name another namespace or mesh than the label."""
    expected = {
        "TRAMO_NAMESPACE": (parsed.namespace, findings.OTHER_NAMESPACE, "the sidecar never sees itself"),
        "TRAMO_MESH": (parsed.mesh, findings.OTHER_MESH, "its metrics are not with the mesh's"),
    }
    for name, value in variables(sidecar).items():
        if name not in expected:
            continue
        label, kind, consequence = expected[name]
        if value not in ("", label):
            what = f"{name} is {value}, the label says {label}: {consequence}"
            yield findings.found(kind, resource, f"container {sidecar.get('name')}, {name}", what, kind.remedy)


def _namespace(task_definition: Mapping[str, Any]) -> str | None:
    """Return the namespace that a label names which cannot be read as a whole, or is misspelled."""
    prefix = CONFIGURATION_LABEL.partition("-")[0]
    for each in task_definition.get("containerDefinitions") or ():
        for label, text in labels(each).items():
            if not label.startswith(prefix) or not isinstance(text, str) or len(text) > LABEL_BYTES:
                continue
            try:
                configuration = json.loads(text)
            except (ValueError, RecursionError):
                continue
            namespace = configuration.get("namespace") if isinstance(configuration, dict) else None
            if isinstance(namespace, str) and NAMESPACE_PATTERN.fullmatch(namespace):
                return namespace
    return None
