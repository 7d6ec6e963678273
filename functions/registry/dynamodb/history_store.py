"""The recent history of ECS services in DynamoDB. IO.

One item per event: its key has the event's time and id, so that events may come twice and in any order. TTL
removes them after `KEPT_SECONDS`.
"""

from __future__ import annotations

from typing import Final

from registry.domain.service_events import ServiceEvent
from registry.dynamodb.keys import history_key
from registry.dynamodb.table import Table, change

KEPT_SECONDS: Final = 7 * 24 * 3600
LATEST: Final = 20


class HistoryStore:
    """Reads and writes EVENT# items."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def add(self, event: ServiceEvent) -> None:
        """Keep an event; a repeated one changes nothing."""
        model = self._table.history
        # Fixed width, so that the order of the keys is the order of the times.
        item = model(history_key(event.service), f"EVENT#{event.at:017.3f}#{event.event_id}")
        item.update(
            actions=[
                model.kind.set(event.kind),
                model.name.set(event.name),
                model.level.set(event.level),
                change(model.deployment, event.deployment),
                change(model.reason, event.reason),
                model.expires_at.set(int(event.at) + KEPT_SECONDS),
            ]
        )

    def latest(self, service: str, now: float) -> list[ServiceEvent]:
        """Return the latest events of an ECS service (cluster/name), newest first, at most `LATEST`."""
        model = self._table.history
        found = model.query(history_key(service), scan_index_forward=False, limit=LATEST)
        events = []
        for item in found:
            if item.expires_at < now:  # TTL takes its time, up to days
                break
            _, at, event_id = item.sk.split("#", 2)
            events.append(
                ServiceEvent(
                    event_id, service, float(at), item.kind, item.name, item.level, item.deployment, item.reason
                )
            )
        return events
