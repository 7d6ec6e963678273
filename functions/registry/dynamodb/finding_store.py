"""Findings in DynamoDB. IO; what they say is decided in `domain/findings.py`.

Rules:
1. One item for each finding of a namespace; those of definitions that name no namespace stand by themselves.
2. Whoever sees a finding says so again and again. It is written when it is new, when its text has changed, and before
   its time is over: `KEPT_SECONDS` after it was seen last it is no more.
3. What is over is given a time that has passed. Readers leave it out, and TTL removes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from pynamodb.expressions.update import Action

from registry.domain.findings import Found
from registry.domain.reports import Finding, Level
from registry.dynamodb.keys import finding_key, findings_key
from registry.dynamodb.models import FindingItem
from registry.dynamodb.table import Table

KEPT_SECONDS: Final = 900  # fifteen sweeps
REFRESHED_SECONDS: Final = KEPT_SECONDS / 2
"""What was seen within this time is not written again: a broken fleet must not cost a write for each event."""


@dataclass(frozen=True, slots=True)
class StoredFinding:
    """A finding, and when it was seen first and last (to `REFRESHED_SECONDS`)."""

    found: Found
    since: float
    seen_at: float


class FindingStore:
    """Reads and writes FINDING# items."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def see(self, namespace: str | None, findings: Iterable[Found], now: float) -> int:
        """Keep what is so now; return how many of them are new."""
        unique = {each.key: each for each in findings}
        if not unique:
            return 0
        pk = findings_key(namespace)
        keys = [(pk, finding_key(key)) for key in unique]
        known = {item.sk: item for item in self._table.findings.batch_get(keys)}
        return sum(self._see(pk, each, known.get(finding_key(key)), now) for key, each in unique.items())

    def _see(self, pk: str, found: Found, known: FindingItem | None, now: float) -> bool:
        is_new = known is None or known.expires_at <= now
        if known is not None and not is_new:
            fresh = now - known.seen_at < REFRESHED_SECONDS
            if fresh and (known.what, known.remedy) == (found.finding.what, found.finding.remedy):
                return False
        model, finding = self._table.findings, found.finding
        actions: list[Action] = [
            model.resource.set(found.resource),
            model.level.set(finding.level.value),
            model.where.set(finding.where),
            model.what.set(finding.what),
            model.remedy.set(finding.remedy),
            model.seen_at.set(now),
            model.expires_at.set(int(now) + KEPT_SECONDS),
            model.since.set(now if is_new else (model.since | now)),
        ]
        model(pk, finding_key(found.key)).update(actions=actions)
        return is_new

    def end(self, namespace: str | None, findings: Iterable[StoredFinding], now: float) -> None:
        """Say of findings that they are over."""
        model = self._table.findings
        for each in findings:
            item = model(findings_key(namespace), finding_key(each.found.key))
            item.update(actions=[model.expires_at.set(int(now))])

    def page(self, namespace: str | None, limit: int, after: str, now: float) -> tuple[list[StoredFinding], str | None]:
        """Return at most so many findings behind a key, in the order of their keys, and the key to go on from."""
        result: list[StoredFinding] = []
        for each in self._read(namespace, after, now):
            if len(result) == limit:
                return result, result[-1].found.key
            result.append(each)
        return result, None

    def all(self, namespace: str | None, now: float) -> list[StoredFinding]:
        """Return every finding of a namespace, or of the definitions that name none."""
        return list(self._read(namespace, "", now))

    def _read(self, namespace: str | None, after: str, now: float) -> Iterator[StoredFinding]:
        model = self._table.findings
        # The ends of the range are keys that no finding has: an empty one, and ~, which is behind all letters.
        condition = model.sk.between(finding_key(after), finding_key("~"))
        for item in model.query(findings_key(namespace), condition):
            if item.expires_at > now and item.sk != finding_key(after):
                yield _stored(item)


def _stored(item: FindingItem) -> StoredFinding:
    code = item.sk.split("#")[1]
    finding = Finding(code, Level(item.level), item.where, item.what, item.remedy)
    return StoredFinding(Found(item.resource, finding), float(item.since), float(item.seen_at))
