"""Where the reconciler's next sweep starts, in DynamoDB. IO.

It stands in the table because Lambda may give the next sweep to a new process, which would begin at the first
cluster again and never come to the last.
"""

from __future__ import annotations

from registry.dynamodb.keys import RECONCILER, SWEEP
from registry.dynamodb.table import Table, change, maybe


class SweepStore:
    """Reads and writes the SWEEP item."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def next_cluster(self) -> str | None:
        """Return the cluster with which to start, None for the first one."""
        model = self._table.sweeps
        try:
            item = model.get(RECONCILER, SWEEP, consistent_read=True)
        except model.DoesNotExist:
            return None
        return maybe(item.next_cluster)

    def set_next_cluster(self, cluster: str | None) -> None:
        """Remember with which cluster to start."""
        model = self._table.sweeps
        model(RECONCILER, SWEEP).update(actions=[change(model.next_cluster, cluster)])
