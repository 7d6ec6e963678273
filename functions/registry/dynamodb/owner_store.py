"""Rules of namespaces, and claims of names that were refused, in DynamoDB. IO.

Refused claims are kept for a week, one item for each service and claimant, so that people see who tried.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Final

from pynamodb.expressions.condition import Condition
from pynamodb.expressions.update import Action

from registry.domain.owners import NO_RULES, Claim, NamespaceRules
from registry.dynamodb.keys import NAMESPACES, claim_key, namespace_key
from registry.dynamodb.table import Table, maybe, update_if

KEPT_SECONDS: Final = 7 * 24 * 3600


class RulesConflictError(Exception):
    """The rules are not at the revision that the writer knows. `revision` is the present one."""

    def __init__(self, revision: int) -> None:
        self.revision = revision
        super().__init__(f"the rules are at revision {revision}")


@dataclass(frozen=True, slots=True)
class StoredRules:
    """The rules of a namespace, and how often they were changed."""

    rules: NamespaceRules = NO_RULES
    revision: int = 0


class OwnerStore:
    """Reads and writes CLAIM# items, and the rules in the list of namespaces."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def rules(self, namespace: str) -> StoredRules:
        """Return the rules of a namespace, consistently read; without any everything is let in."""
        model = self._table.namespaces
        try:
            item = model.get(NAMESPACES, namespace_key(namespace), consistent_read=True)
        except model.DoesNotExist:
            return StoredRules()
        document = maybe(item.rules)
        rules = NO_RULES if document is None else NamespaceRules.from_document(document.as_dict())
        return StoredRules(rules, int(item.rules_revision or 0))

    def set_rules(self, namespace: str, rules: NamespaceRules, expected: int | None, now: float) -> StoredRules:
        """Replace the rules of a namespace, before or after the first task has joined it.

        Raises RulesConflictError when `expected` is given and is not the present revision.
        """
        model = self._table.namespaces
        known = self.rules(namespace)
        if expected not in (None, known.revision):
            raise RulesConflictError(known.revision)
        same: Condition = (
            model.rules_revision == known.revision if known.revision else model.rules_revision.does_not_exist()
        )
        item = model(NAMESPACES, namespace_key(namespace))
        actions: list[Action] = [
            model.created_at.set(model.created_at | now),
            model.rules.set(rules.document()),
            model.rules_revision.set(known.revision + 1),
        ]
        if not update_if(item, actions, same):
            raise RulesConflictError(self.rules(namespace).revision)
        return StoredRules(rules, known.revision + 1)

    def refuse(self, namespace: str, claim: Claim) -> None:
        """Keep a refused claim; one of the same claimant is replaced."""
        model = self._table.claims
        model(namespace_key(namespace), claim_key(claim.service, claim.claimant)).update(
            actions=[
                model.task_definition.set(claim.task_definition),
                model.reason.set(claim.reason),
                model.at.set(claim.at),
                model.expires_at.set(int(claim.at) + KEPT_SECONDS),
            ]
        )

    def refused(self, namespace: str, now: float, service: str | None = None) -> dict[str, list[Claim]]:
        """Return the refused claims by service, of all services or of one."""
        model = self._table.claims
        prefix = "CLAIM#" if service is None else claim_key(service, "")
        found: defaultdict[str, list[Claim]] = defaultdict(list)
        for item in model.query(namespace_key(namespace), model.sk.startswith(prefix)):
            if item.expires_at >= now:  # TTL takes its time, up to days
                _, name, claimant = item.sk.split("#", 2)
                found[name].append(Claim(name, claimant, item.task_definition, item.reason, float(item.at)))
        return dict(found)
