"""What a service is: declarations of task definitions in, configuration out. Pure.

Rules:
1. A task that runs declares what its definition says of a service. A service keeps one declaration for each
   definition, whose content cannot change.
2. What callers get is that of the newest ready task; with none ready, what they have already; else what was declared
   last. So a deployment that fails leaves nothing behind, and the first new task that still starts changes nothing.
3. During a rollout callers have the aliases of all ready tasks. An alias that they have stays until the last living
   task that declares it is gone.
4. Of these they get only those that the service holds and that the namespace's rules allow.
5. Tasks whose claim is refused (`owners.py`) declare nothing, and their endpoints are not published.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from registry.domain.offer import Alias, AppProtocol, Offer, Timeouts
from registry.domain.owners import NO_RULES, NamespaceRules, principals_of
from registry.domain.rules import TaskRecord

# Two of a rollout and two that it rolled back to are four. An item may have 400 KB, a declaration has 12 KB at most.
MOST_DECLARATIONS: Final = 10

# JSON objects. The schema, not the type checker, is their judge.
Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Declaration:
    """What one task definition (family:revision) says of a service.

    `declared_at` is when the newest task was created that made it the service's latest. `ecs_service` (cluster/name)
    started the first one, None for a task that no service started.
    """

    task_definition: str
    protocol: AppProtocol
    aliases: tuple[Alias, ...]
    timeouts: Timeouts = field(default_factory=Timeouts)
    declared_at: float = 0.0
    ecs_service: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Conflict:
    """An alias that a service wants and another one, the holder, has."""

    alias: Alias
    holder: str


@dataclass(frozen=True, slots=True)
class ServiceRecord:
    """A service as registered: what callers need besides its endpoints.

    `holders` says whose the aliases are that its declarations want; those that nobody holds are not in it.
    `revision` counts the changes of its declarations. `owners` and `allowed` are principals (`owners.py`), none for a
    service of tests that nobody owns; `allowed_revision` counts the changes of `allowed`. `idle_since` is when a sweep
    first found no task of it (`leftovers.py`), `policy_at` when the policy was written last, None of one
    that an earlier release wrote.
    """

    name: str
    vip: str
    declarations: tuple[Declaration, ...]
    holders: Mapping[Alias, str] = field(default_factory=dict)
    policy: Mapping[str, Any] = field(default_factory=dict)
    policy_revision: int = 0
    policy_at: float | None = None
    revision: int = field(default=0, compare=False)
    owners: tuple[str, ...] = ()
    allowed: tuple[str, ...] = ()
    allowed_revision: int = field(default=0, compare=False)
    namespace: str = ""
    rules: NamespaceRules = NO_RULES
    idle_since: float | None = None

    def refusal(self, task: TaskRecord) -> str | None:
        """Return why a task may not offer this service, None when it may."""
        reason = self.rules.refusal(task)
        if reason is not None or not self.owners:
            return reason
        if not {*self.owners, *self.allowed}.isdisjoint(principals_of(task)):
            return None
        return f"the name belongs to {' and '.join(self.owners)}"

    @property
    def refused_aliases(self) -> tuple[Alias, ...]:
        """The aliases that a declaration wants and the namespace does not allow, in order."""
        return tuple(alias for alias in sorted(self.wanted, key=alias_order) if not self.allows(alias))

    def allows(self, alias: Alias) -> bool:
        """Return whether the namespace allows an alias to the service."""
        return self.rules.allows_name(alias.dns_name, self.namespace)

    @property
    def wanted(self) -> frozenset[Alias]:
        """The aliases that any declaration wants."""
        return frozenset(alias for each in self.declarations for alias in each.aliases)

    @property
    def conflicts(self) -> tuple[Conflict, ...]:
        """The aliases that another service holds, in order."""
        return tuple(
            Conflict(alias, self.holders[alias])
            for alias in sorted(self.wanted, key=alias_order)
            if self.holders.get(alias, self.name) != self.name
        )

    @property
    def latest(self) -> Declaration:
        """The declaration that was made last."""
        return max(self.declarations, key=_order)


def declaration_of(offer: Offer, task_definition: str, created_at: float, ecs_service: str | None) -> Declaration:
    """Return what a task created at `created_at` declares of a service."""
    return Declaration(task_definition, offer.protocol, offer.aliases, offer.timeouts, created_at, ecs_service)


def declared(known: tuple[Declaration, ...], new: Declaration) -> tuple[Declaration, ...] | None:
    """Return a service's declarations after another one, latest first; None when it is no news."""
    same = next((each for each in known if each.task_definition == new.task_definition), None)
    if same is not None and (same == known[0] or new.declared_at <= known[0].declared_at):
        if replace(same, declared_at=0.0) == replace(new, declared_at=0.0):
            return None
        new = replace(new, declared_at=max(new.declared_at, same.declared_at))
    others = [each for each in known if each.task_definition != new.task_definition]
    kept = tuple(sorted([*others, new], key=_order, reverse=True)[:MOST_DECLARATIONS])
    return kept if new in kept else None


def pruned(service: ServiceRecord, living: Collection[str], document: Document | None) -> tuple[Declaration, ...]:
    """Return the declarations that are still needed: of living tasks, and the one that callers have.

    `living` are the definitions of the service's living tasks, `document` is the service as published.
    """
    in_use = None if document is None else document.get("declared_by")
    kept = tuple(
        each for each in service.declarations if each.task_definition in living or each.task_definition == in_use
    )
    return kept or (service.latest,)


@dataclass(frozen=True, slots=True)
class Configuration:
    """What callers get of a service. `declared_by` is the definition whose protocol and time-outs they have."""

    declared_by: str
    protocol: AppProtocol
    aliases: tuple[Alias, ...]
    timeouts: Timeouts


def configuration_of(service: ServiceRecord, endpoints: Iterable[Document], present: Document | None) -> Configuration:
    """Return what callers get of a service with these endpoints; `present` is what they have now."""
    endpoints = tuple(endpoints)
    by_name = {each.task_definition: each for each in service.declarations}
    known = [each for each in endpoints if each["task_definition"] in by_name]
    ready = [each for each in known if each["state"] == "ready"]
    chosen = service.latest
    if ready:
        newest = max(ready, key=lambda each: (str(each["created_at"]), str(each["id"])))
        chosen = by_name[newest["task_definition"]]
    elif present is not None and present.get("declared_by") in by_name:
        chosen = by_name[present["declared_by"]]
    entered = {chosen.task_definition} | {each["task_definition"] for each in ready}
    wanted = [alias for name, each in by_name.items() if name in entered for alias in each.aliases]
    had = set() if present is None else {Alias(each["dns_name"], each["port"]) for each in present["aliases"]}
    staying = [
        alias for name in {each["task_definition"] for each in known} for alias in by_name[name].aliases if alias in had
    ]
    first = list(chosen.aliases)
    others = sorted({*wanted, *staying} - set(first), key=alias_order)
    aliases = tuple(
        alias for alias in (*first, *others) if service.holders.get(alias) == service.name and service.allows(alias)
    )
    return Configuration(chosen.task_definition, chosen.protocol, aliases, chosen.timeouts)


def alias_order(alias: Alias) -> tuple[str, int]:
    """Return what aliases are sorted by."""
    return alias.dns_name, alias.port


def _order(declaration: Declaration) -> tuple[float, str]:
    return declaration.declared_at, declaration.task_definition
