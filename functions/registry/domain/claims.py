"""Which declarations and aliases must change hands. Pure.

The registrar only adds: declarations, and claims of what is free. What ends is decided here, from everything that a
namespace has registered.

Rules:
1. A declaration ends when no living task makes it and callers do not have it (`service.pruned`).
2. A service's claim ends when none of its declarations wants the alias, or the namespace does not allow it any more.
3. A free alias goes to a service that wants it, first to one with a living task that does.
4. An alias whose holder has no living task that wants it goes to a service that has one. Nothing is taken from a
   living task, and nothing changes hands while no one lives.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from registry.domain.offer import Alias
from registry.domain.owners import NamespaceRules, principals_of
from registry.domain.rules import TaskRecord, has_run
from registry.domain.service import Declaration, Document, ServiceRecord, alias_order, pruned

# (service, family:revision) of tasks that are not gone
Living = Collection[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Shrink:
    """A service keeps these declarations and its claims of `release` end."""

    service: ServiceRecord
    declarations: tuple[Declaration, ...]
    release: tuple[Alias, ...]


@dataclass(frozen=True, slots=True)
class Move:
    """An alias goes from its holder (None: it is free) to a service (None: to nobody)."""

    alias: Alias
    holder: str | None
    service: str | None


def living_of(tasks: Iterable[TaskRecord], services: Mapping[str, ServiceRecord]) -> frozenset[tuple[str, str]]:
    """Return the services and definitions of the tasks that are not gone and whose claims are not refused."""
    return frozenset(
        (endpoint.service, task.task_definition)
        for task in tasks
        if not task.gone
        for endpoint in task.endpoints
        if endpoint.service in services and services[endpoint.service].refusal(task) is None
    )


def refused(
    tasks: Iterable[TaskRecord], services: Mapping[str, ServiceRecord], rules: NamespaceRules
) -> frozenset[tuple[str, str]]:
    """Return the services that running tasks claim and may not have, with the principal that claims each."""
    return frozenset(
        (endpoint.service, principals_of(task)[0])
        for task in tasks
        if has_run(task)
        for endpoint in task.endpoints
        if (services[endpoint.service].refusal(task) if endpoint.service in services else rules.refusal(task))
    )


def undeclared(tasks: Iterable[TaskRecord], services: Mapping[str, ServiceRecord]) -> frozenset[str]:
    """Return the ARNs of running tasks whose definition is not among their services' declarations."""
    known = {(name, each.task_definition) for name, service in services.items() for each in service.declarations}
    return frozenset(
        task.task_arn
        for task in tasks
        if has_run(task)
        and any(
            (endpoint.service, task.task_definition) not in known
            and (endpoint.service not in services or services[endpoint.service].refusal(task) is None)
            for endpoint in task.endpoints
        )
    )


def shrinking(
    services: Mapping[str, ServiceRecord],
    holders: Mapping[Alias, str],
    living: Living,
    documents: Mapping[str, Document],
) -> list[Shrink]:
    """Return what services must give up (rules 1 and 2)."""
    definitions: defaultdict[str, set[str]] = defaultdict(set)
    for service, definition in living:
        definitions[service].add(definition)
    held: defaultdict[str, set[Alias]] = defaultdict(set)
    for alias, holder in holders.items():
        held[holder].add(alias)
    steps = []
    for name, each in sorted(services.items()):
        kept = pruned(each, definitions[name], documents.get(name))
        wanted = {alias for declaration in kept for alias in declaration.aliases if each.allows(alias)}
        release = tuple(sorted(held[name] - wanted, key=alias_order))
        if kept != each.declarations or release:
            steps.append(Shrink(each, kept, release))
    return steps


def moves(services: Mapping[str, ServiceRecord], holders: Mapping[Alias, str], living: Living) -> list[Move]:
    """Return the aliases that must go to another service (rules 3 and 4), or from one that is no more."""
    wanting: defaultdict[Alias, list[tuple[bool, str]]] = defaultdict(list)
    for name, each in services.items():
        alive = {alias for one in each.declarations if (name, one.task_definition) in living for alias in one.aliases}
        for alias in filter(each.allows, each.wanted):
            wanting[alias].append((alias not in alive, name))
    steps = []
    for alias in sorted(wanting.keys() | holders.keys(), key=alias_order):
        first = min(wanting[alias], default=None)
        holder = holders.get(alias)
        if first is None:
            if holder not in services:
                steps.append(Move(alias, holder, None))
            continue
        dead, name = first
        holder_lives = holder is not None and (False, holder) in wanting[alias]
        if holder == name or holder_lives or (dead and holder in services):
            continue
        steps.append(Move(alias, holder, name))
    return steps
