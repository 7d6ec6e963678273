"""What is wrong with task definitions before they are registered, alone or laid over the services of a mesh.

Rules:
1. The registry's own rules judge, and those of the sidecar, so that what passes here is not found wrong later.
2. Task definitions are judged by themselves, then against each other, then against the services of a mesh.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from infra.analysis.documents import Document
from infra.client import findings

if TYPE_CHECKING:
    from registry.domain.findings import Found
    from registry.domain.offer import Definition
    from sidecar.core.findings import Finding as SidecarFinding

FUNCTIONS: Final = Path(__file__).parents[2] / "functions"
"""Not part of the wheel: the registry's own rules judge."""
LABEL: Final = "tramo.service-connect"
LEVELS: Final = ("info", "warning", "error")


@dataclass(frozen=True, slots=True)
class Issue:
    """A finding in a file."""

    code: str
    level: str
    resource: str
    file: str
    where: str
    what: str
    remedy: str

    def is_at_least(self, level: str) -> bool:
        """Return whether it is as bad as this level."""
        return LEVELS.index(self.level) >= LEVELS.index(level.lower())

    def is_suppressed(self, patterns: Sequence[str]) -> bool:
        """Return whether one of the patterns CODE=RESOURCE names it; `*` stands for anything."""
        return any(fnmatchcase(f"{self.code}={self.resource}", pattern) for pattern in patterns)


@dataclass(frozen=True, slots=True)
class Served:
    """A service that somebody offers: its namespace, name and aliases, and where that is said."""

    namespace: str
    service: str
    aliases: frozenset[tuple[str, int]]
    where: str


def codes() -> Iterator[tuple[str, str, str]]:
    """Yield code, level and meaning of what can be found in files."""
    _functions()
    from registry.domain.findings import ALIAS_TAKEN, KINDS, LASTING
    from sidecar.core.findings import INBOUND_MISMATCH, UNKNOWN_VARIABLE

    for kind in KINDS:
        if kind.code in LASTING or kind is ALIAS_TAKEN:
            yield kind.code, kind.level.value, kind.meaning
    for own in (UNKNOWN_VARIABLE, INBOUND_MISMATCH, findings.BAD_VARIABLE):
        yield own.code, own.level, own.meaning


def _functions() -> None:
    if str(FUNCTIONS) not in sys.path:
        sys.path.append(str(FUNCTIONS))


def analyze(found: Sequence[Document], served: Sequence[Served] = ()) -> list[Issue]:
    """Return what is wrong with task definitions, errors first."""
    _functions()
    from registry.domain import advice

    issues: dict[tuple[str, str, str, str], Issue] = {}
    members: list[tuple[Document, Definition]] = []
    for document in found:
        parsed, advised = advice.read(document.task_definition)
        results = [*advised.found, *_of_sidecar(document)]
        if parsed is not None and not isinstance(parsed, Exception):
            members.append((document, parsed))
        for each in results:
            _add(issues, document, each)
    offered = [each for document, definition in members for each in _offered(document, definition)]
    for document, definition in members:
        for each in _between(document, definition, [*offered, *served]):
            _add(issues, document, each)
    return sorted(issues.values(), key=lambda each: (-LEVELS.index(each.level), each.code, each.file, each.where))


def _add(issues: dict[tuple[str, str, str, str], Issue], document: Document, found: Found) -> None:
    finding = found.finding
    resource = found.resource.removesuffix(":0")
    label = next((word for word in finding.where.split() if word.startswith("tramo.")), "")
    variable = next((word for word in finding.where.split() if word.startswith("TRAMO_")), "").rstrip(",")
    place = document.place(f'"{label}"' if label else "", label, variable, document.name.partition(":")[0])
    issue = Issue(finding.code, finding.level.value, resource, place, finding.where, finding.what, finding.remedy)
    issues.setdefault((issue.code, issue.file, issue.where, issue.what), issue)


def _of_sidecar(document: Document) -> Iterator[Found]:
    """Yield what the sidecar itself would find in its variables, or for which it would not start."""
    from registry.domain.findings import Found, of_definition
    from registry.domain.reports import Finding, Level

    containers = document.task_definition["containerDefinitions"]
    labels = [each["dockerLabels"] for each in containers if isinstance(each.get("dockerLabels"), Mapping)]
    text = next((each[LABEL] for each in labels if isinstance(each.get(LABEL), str)), "")
    for container in containers:
        if (container.get("dockerLabels") or {}).get("tramo.sidecar") != "true":
            continue
        variables = {str(each.get("name")): str(each.get("value")) for each in container.get("environment") or ()}
        for each in _of_variables(variables, text):
            finding = Finding(each.code, Level(each.level), each.where, each.what, each.remedy)
            yield Found(of_definition(document.name), finding)


def _of_variables(variables: Mapping[str, str], label: str) -> Iterator[SidecarFinding]:
    from sidecar import config
    from sidecar.core.findings import Finding, unknown_variables
    from sidecar.core.label import compared, read
    from sidecar.variables import VARIABLES

    yield from unknown_variables(variables, [variable.name for variable in VARIABLES])
    try:
        # The address of the API and the region are known when the task runs.
        read_config = config.read({**variables, "TRAMO_API_URL": "https://known.later", "AWS_REGION": "later"})
    except config.ConfigError as error:
        kind = findings.BAD_VARIABLE
        yield Finding(kind.code, kind.level, "sidecar's environment", str(error), kind.remedy)
        return
    told = read(label)
    if told is not None and "TRAMO_INBOUND" in variables:
        inbound = {service.name: service.ingress_port for service in read_config.inbound}
        yield from compared(told, told.namespace, inbound)


def _offered(document: Document, definition: Definition) -> Iterator[Served]:
    for offer in definition.offers:
        aliases = frozenset((alias.dns_name, alias.port) for alias in offer.aliases)
        yield Served(definition.namespace, offer.service, aliases, str(document.path))


def _between(document: Document, definition: Definition, others: Sequence[Served]) -> Iterator[Found]:
    """Yield where a task definition and the services of its namespace do not go together."""
    from registry.domain.findings import PORT_CLASH, conflict, of_definition
    from registry.domain.findings import found as made
    from registry.domain.offer import Alias

    near = [each for each in others if each.namespace == definition.namespace]
    own = {offer.service for offer in definition.offers}
    for offer in definition.offers:
        for alias in offer.aliases:
            for other in near:
                if other.service != offer.service and (alias.dns_name, alias.port) in other.aliases:
                    found = conflict(offer.service, Alias(alias.dns_name, alias.port), other.service)
                    yield _moved(found, f"{found.finding.where} ({other.where})")
    proxy: Mapping[str, Any] = document.task_definition.get("proxyConfiguration") or {}
    if not definition.has_sidecar or proxy.get("type") == "APPMESH":
        return
    taken = {offer.container_port: offer.service for offer in definition.offers}
    for other in near:
        for name, port in sorted(other.aliases):
            if other.service in own or port not in taken:
                continue
            where = f"alias {name}:{port} of {other.service} ({other.where})"
            what = f"the app of {taken[port]} has port {port}, on which the sidecar must listen for {other.service}"
            remedy = "give the alias another port, such as 80, or run tramo inject --redirect"
            yield made(PORT_CLASH, of_definition(document.name), where, what, remedy)


def _moved(found: Found, where: str) -> Found:
    from dataclasses import replace

    return replace(found, finding=replace(found.finding, where=where))
