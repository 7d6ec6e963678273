"""Whose a service's name is, and what a namespace lets in. Pure.

Rules:
1. A task claims a name as its ECS service and as its task role; one that no service started as its task role, or as
   its family in its cluster when it has none (`principals_of`). They are ARNs, except the family.
2. A name belongs to the principals of the task that claimed it first. Any other claim is refused, unless it shares a
   principal with the owner or an operator has allowed one of its own.
3. A namespace's rules come first: a list that is empty lets everything in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from registry.domain.names import is_allowed
from registry.domain.rules import TaskRecord


@dataclass(frozen=True, slots=True)
class NamespaceRules:
    """What an operator has said of a namespace: who may offer services, and which public names they may have.

    `clusters` are names or ARNs, `accounts` numbers, `roles` ARNs of task roles, `dns_suffixes` names with all below.
    """

    clusters: tuple[str, ...] = ()
    accounts: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    dns_suffixes: tuple[str, ...] = ()

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> NamespaceRules:
        """Return the rules in a policy as the API takes it; what it does not know is left out."""
        return cls(**{name: tuple(document.get(name) or ()) for name in cls.__slots__})

    def document(self) -> dict[str, Any]:
        """Return the rules as the API shows them, without empty lists."""
        return {name: list(values) for name, values in asdict(self).items() if values}

    def refusal(self, task: TaskRecord) -> str | None:
        """Return why a task may offer nothing in this namespace, None when it may."""
        account = task.cluster_arn.split(":")[4] if task.cluster_arn.count(":") > 4 else ""
        cluster = task.cluster_arn.rpartition("/")[2]
        if self.clusters and not {task.cluster_arn, cluster} & set(self.clusters):
            return f"the namespace does not let in cluster {cluster}"
        if self.accounts and account not in self.accounts:
            return f"the namespace does not let in account {account}"
        if self.roles and task.task_role not in self.roles:
            return f"the namespace does not let in task role {task.task_role or 'none'}"
        return None

    def allows_name(self, name: str, namespace: str) -> bool:
        """Return whether a service of the namespace may have this DNS name."""
        return is_allowed(name, namespace, self.dns_suffixes)


NO_RULES: Final = NamespaceRules()


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim of a service's name that was refused. `claimant` is the principal to allow, if it shall be allowed."""

    service: str
    claimant: str
    task_definition: str
    reason: str
    at: float


def principals_of(task: TaskRecord) -> tuple[str, ...]:
    """Return as whom a task claims names, the first one being what an operator would allow."""
    service = _service_of(task)
    found = [principal for principal in (service, task.task_role) if principal]
    return tuple(found) or (f"{task.cluster_arn}/family/{task.task_definition.partition(':')[0]}",)


def _service_of(task: TaskRecord) -> str | None:
    kind, _, name = (task.group or "").partition(":")
    if kind != "service" or not (task.started_by or "").startswith("ecs-svc/"):
        return None
    return f"{task.cluster_arn.replace(':cluster/', ':service/', 1)}/{name}"
