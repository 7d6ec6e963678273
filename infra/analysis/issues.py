"""What is wrong with task definitions before they are registered, alone or laid over the services of a mesh.

Rules:
1. The registry's own rules judge, and those of the sidecar, so that what passes here is not found wrong later.
2. Task definitions are judged by themselves, then against each other, then against the services of a mesh.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Final

from infra.analysis import wiring
from infra.analysis.documents import Document
from infra.client import findings

if TYPE_CHECKING:
    from registry.domain.findings import Found
    from registry.domain.offer import Definition

FUNCTIONS: Final = Path(__file__).parents[2] / "functions"
"""Not part of the wheel: the registry's own rules judge."""
LABEL: Final = "tramo.service-connect"
LEVELS: Final = ("info", "warning", "error")
_FIELDS: Final = ("proxyConfiguration", "readonlyRootFilesystem", "user", "dockerLabels", "portMappings", "environment")
"""Fields whose line a finding gives."""


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
    from sidecar.core.findings import HOSTS_NOT_WRITTEN, INBOUND_MISMATCH, NO_REDIRECT, UNKNOWN_VARIABLE

    for kind in KINDS:
        if kind.code in LASTING or kind is ALIAS_TAKEN:
            yield kind.code, kind.level.value, kind.meaning
    warned = HOSTS_NOT_WRITTEN._replace(level="warning")  # the app may find names in another way
    for own in (UNKNOWN_VARIABLE, INBOUND_MISMATCH, warned, NO_REDIRECT, findings.BAD_VARIABLE):
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


def without_label(found: Sequence[Document]) -> list[Path]:
    """Return the files in which no task definition has the label: nothing of them joins the mesh."""
    _functions()
    from registry.domain.containers import labels

    labelled = {
        document.path
        for document in found
        if any(LABEL in labels(each) for each in document.task_definition["containerDefinitions"])
    }
    return sorted({document.path for document in found} - labelled)


def _add(issues: dict[tuple[str, str, str, str], Issue], document: Document, found: Found) -> None:
    finding = found.finding
    resource = found.resource.removesuffix(":0")
    label = next((word for word in finding.where.split() if word.startswith("tramo.")), "")
    variable = next((word for word in f"{finding.where} {finding.what}".split() if word.startswith("TRAMO_")), "")
    field = next((word for word in finding.where.split() if word in _FIELDS), "")
    needles = (f'"{label}"' if label else "", label, field, variable.rstrip(",:"), document.name.partition(":")[0])
    place = document.place(*needles)
    issue = Issue(finding.code, finding.level.value, resource, place, finding.where, finding.what, finding.remedy)
    issues.setdefault((issue.code, issue.file, issue.where, issue.what), issue)


def _of_sidecar(document: Document) -> Iterator[Found]:
    """Yield what the sidecar itself would find, or for which it would not start."""
    from registry.domain.containers import labels
    from registry.domain.definition import sidecar_of
    from registry.domain.findings import Found, of_definition
    from registry.domain.reports import Finding, Level

    sidecar = sidecar_of(document.task_definition)
    if sidecar is None:
        return
    texts = [labels(each).get(LABEL) for each in document.task_definition["containerDefinitions"]]
    label = next((str(text) for text in texts if isinstance(text, str)), "")
    for each in wiring.of_sidecar(document.task_definition, sidecar, label):
        finding = Finding(each.code, Level(each.level), each.where, each.what, each.remedy)
        yield Found(of_definition(document.name), finding)


def _offered(document: Document, definition: Definition) -> Iterator[Served]:
    for offer in definition.offers:
        aliases = frozenset((alias.dns_name, alias.port) for alias in offer.aliases)
        yield Served(definition.namespace, offer.service, aliases, str(document.path))


def _between(document: Document, definition: Definition, others: Sequence[Served]) -> Iterator[Found]:
    """Yield where a task definition and the services of its namespace do not go together."""
    from registry.domain.advice import clash_remedy, is_redirected
    from registry.domain.containers import TcpPorts
    from registry.domain.definition import apps_of
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
    task = document.task_definition
    if not definition.has_sidecar or definition.network_mode == "bridge" or is_redirected(task):
        return
    ports = TcpPorts(apps_of(task))
    for other in near:
        for name, port in sorted(other.aliases):
            app = ports.holder(port)
            if other.service in own or app is None:
                continue
            where = f"alias {name}:{port} of {other.service} ({other.where})"
            what = f"container {app} has port {port}, on which the sidecar must listen for {other.service}"
            yield made(PORT_CLASH, of_definition(document.name), where, what, clash_remedy(port))


def _moved(found: Found, where: str) -> Found:
    from dataclasses import replace

    return replace(found, finding=replace(found.finding, where=where))
