"""The keys of the items of the one DynamoDB table. Pure.

| pk | sk | model |
|---|---|---|
| NAMESPACES | NAMESPACE#{namespace} | NamespaceItem |
| NAMESPACE#{namespace} | TASK#{task id} | TaskItem |
| NAMESPACE#{namespace} | SERVICE#{name} | ServiceItem |
| NAMESPACE#{namespace} | VIP#{address} | VipItem |
| NAMESPACE#{namespace} | HEAD | HeadItem |
| NAMESPACE#{namespace} | PART#{00..63}#{A,B} | PartItem |
| NAMESPACE#{namespace} | PART#{00..63}#{A,B}#{1..3} | PartItem, the rest of a large one |
| NAMESPACE#{namespace} | CHANGES#{00..63}#{A,B} | PartItem |
| NAMESPACE#{namespace} | ALIAS#{port}#{name} | AliasItem |
| NAMESPACE#{namespace} | CLAIM#{service}#{principal} | ClaimItem |
| NAMESPACE#{namespace}, FINDINGS | FINDING#{code}#{resource}#{place} | FindingItem |
| QUESTION#{namespace}#{id} | QUESTION | AnswerItem, counts the answers |
| QUESTION#{namespace}#{id} | ANSWER#{task}#{time} | AnswerItem |
| HISTORY#{cluster}/{ECS service} | EVENT#{time}#{id} | HistoryItem |
| RECONCILER | SWEEP | SweepItem |
"""

from __future__ import annotations

from typing import Final

NAMESPACES: Final = "NAMESPACES"
HEAD: Final = "HEAD"
RECONCILER: Final = "RECONCILER"
SWEEP: Final = "SWEEP"


def namespace_key(namespace: str) -> str:
    """Return the partition key of a namespace's items, and its sort key in the list of namespaces."""
    return f"NAMESPACE#{namespace}"


def task_key(task_id: str) -> str:
    """Return the sort key of a task."""
    return f"TASK#{task_id}"


def service_key(name: str) -> str:
    """Return the sort key of a service."""
    return f"SERVICE#{name}"


def vip_key(address: str) -> str:
    """Return the sort key of a claim of a VIP."""
    return f"VIP#{address}"


def alias_key(dns_name: str, port: int) -> str:
    """Return the sort key of a claim of an alias."""
    return f"ALIAS#{port}#{dns_name}"


def claim_key(service: str, principal: str) -> str:
    """Return the sort key of a refused claim of a service's name."""
    return f"CLAIM#{service}#{principal}"


def findings_key(namespace: str | None) -> str:
    """Return the partition key of a namespace's findings, or of those of definitions that name none."""
    return "FINDINGS" if namespace is None else namespace_key(namespace)


def finding_key(key: str) -> str:
    """Return the sort key of a finding."""
    return f"FINDING#{key}"


def question_key(namespace: str, question: str) -> str:
    """Return the partition key of a question to sidecars, and of its answers."""
    return f"QUESTION#{namespace}#{question}"


def answer_key(task: str, at: float) -> str:
    """Return the sort key of an answer; a task may give several."""
    return f"ANSWER#{task}#{at:017.3f}"


def history_key(ecs_service: str) -> str:
    """Return the partition key of the history of an ECS service (cluster/name)."""
    return f"HISTORY#{ecs_service}"


def part_key(number: int, slot: int) -> str:
    """Return the sort key of the base of a part of the snapshot."""
    return f"PART#{number:02d}#{'AB'[slot]}"


def changes_key(number: int, slot: int) -> str:
    """Return the sort key of the changes of a part of the snapshot."""
    return f"CHANGES#{number:02d}#{'AB'[slot]}"


def chunk_keys(key: str, count: int) -> list[str]:
    """Return the sort keys of the items over which a blob is spread; the first is its own."""
    return [key, *(f"{key}#{number}" for number in range(1, count))]
