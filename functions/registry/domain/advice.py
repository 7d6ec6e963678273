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
from registry.domain.definition import SIDECAR_LABEL, parse, short_name
from registry.domain.findings import Found
from registry.domain.label import CONFIGURATION_LABEL
from registry.domain.offer import NAMESPACE_PATTERN, Definition, DefinitionError
from registry.domain.unknown_keys import unknown_keys

MOST_ADVICE: Final = 32  # of one definition: 16 unknown keys, and a few of each other kind


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
    return any(CONFIGURATION_LABEL in (each.get("dockerLabels") or {}) for each in containers)


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
    if not parsed.has_sidecar:
        what = f"no container has the label {SIDECAR_LABEL}, so its tasks cannot call services by name"
        yield findings.found(
            findings.NO_SIDECAR, resource, "containerDefinitions", what, _sidecar_remedy(name, containers)
        )
        return
    proxy = task_definition.get("proxyConfiguration") or {}
    if not isinstance(proxy, dict) or proxy.get("type") != "APPMESH":
        yield from _clashes(resource, containers, parsed)
    yield from _other_names(resource, containers, parsed)


def _sidecar_remedy(name: str, containers: Sequence[Mapping[str, Any]]) -> str:
    """Name the container that looks like the sidecar, if there is one."""
    for each in containers:
        variables = each.get("environment") or ()
        if any(str(variable.get("name")).startswith("TRAMO_") for variable in variables):
            return f'mark container {each.get("name")} with the label {SIDECAR_LABEL}: "true"'
    return f"add the sidecar: tramo inject writes {name.partition(':')[0]} with it"


def _clashes(resource: str, containers: Sequence[Mapping[str, Any]], parsed: Definition) -> Iterator[Found]:
    taken = {
        mapping.get("containerPort"): str(each.get("name"))
        for each in containers
        if (each.get("dockerLabels") or {}).get(SIDECAR_LABEL) != "true"
        for mapping in each.get("portMappings") or ()
    }
    for offer in parsed.offers:
        for alias in offer.aliases:
            if alias.port not in taken:
                continue
            place = f"alias {alias.dns_name}:{alias.port}"
            what = f"container {taken[alias.port]} has port {alias.port} too, and only one of the two can listen on it"
            remedy = (
                "give the alias a port that no app of the mesh has, such as 80; or one listener for all: "
                "tramo inject --redirect"
            )
            yield findings.found(findings.PORT_CLASH, resource, place, what, remedy)


def _other_names(resource: str, containers: Sequence[Mapping[str, Any]], parsed: Definition) -> Iterator[Found]:
    """Yield where the sidecar's variables name another namespace or mesh than the label."""
    expected = {
        "TRAMO_NAMESPACE": (parsed.namespace, findings.OTHER_NAMESPACE, "the sidecar never sees itself"),
        "TRAMO_MESH": (parsed.mesh, findings.OTHER_MESH, "its metrics are not with the mesh's"),
    }
    for each in containers:
        if (each.get("dockerLabels") or {}).get(SIDECAR_LABEL) != "true":
            continue
        for variable in each.get("environment") or ():
            name, value = str(variable.get("name")), str(variable.get("value"))
            if name not in expected:
                continue
            label, kind, consequence = expected[name]
            if value not in ("", label):
                what = f"{name} is {value}, the label says {label}: {consequence}"
                yield findings.found(kind, resource, f"container {each.get('name')}, {name}", what, kind.remedy)


def _namespace(task_definition: Mapping[str, Any]) -> str | None:
    """Return the namespace that a label names which cannot be read as a whole, or is misspelled."""
    prefix = CONFIGURATION_LABEL.partition("-")[0]
    for each in task_definition.get("containerDefinitions") or ():
        for label, text in (each.get("dockerLabels") or {}).items():
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
