"""What DynamoDB charges, and how long things take."""

from __future__ import annotations

import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry.store import Store
from tests.support import aws

FUNCTIONS = Path(__file__).parents[3] / "functions"


@dataclass(slots=True)
class Units:
    """Consumed capacity units, and the calls that consumed them."""

    read: float = 0.0
    write: float = 0.0
    calls: int = 0

    def add(self, operation: str, answer: Any) -> None:
        """Add what an answer says that it cost."""
        self.calls += 1
        if operation == "TransactWriteItems":
            return  # see `transaction_units`
        consumed = answer.get("ConsumedCapacity") or []
        total = sum(each["CapacityUnits"] for each in (consumed if isinstance(consumed, list) else [consumed]))
        if operation in ("GetItem", "BatchGetItem", "Query"):
            self.read += total
        else:
            self.write += total


@contextmanager
def charged(store: Store) -> Iterator[Units]:
    """Yield what the calls of a store cost meanwhile. PynamoDB asks for it with every call."""
    connection: Any = store.tasks._table.connection
    dispatch = connection.dispatch
    units = Units()

    def counting(operation: str, arguments: Any) -> Any:
        answer = dispatch(operation, arguments)
        units.add(operation, answer)
        return answer

    connection.dispatch = counting
    try:
        yield units
    finally:
        connection.dispatch = dispatch


def transaction_units(endpoint: str, table: str, namespace: str, parts: int) -> int:
    """Return what the namespace's last publication cost, which wrote `parts` parts and the head.

    DynamoDB Local's own figure for a transaction is not AWS's rule: two units for each KB of each item that is
    written, the item being its names and values
    (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html).
    """
    items = aws.client("dynamodb", endpoint).query(
        TableName=table,
        ConsistentRead=True,
        KeyConditionExpression="pk = :pk AND sk BETWEEN :first AND :last",
        ExpressionAttributeValues={
            ":pk": {"S": f"NAMESPACE#{namespace}"},
            ":first": {"S": "HEAD"},
            ":last": {"S": "PART#99"},
        },
    )["Items"]
    head = next(each for each in items if each["sk"]["S"] == "HEAD")
    written = [each for each in items if each is not head and each["revision"] == head["revision"]]
    assert len(written) == parts, (len(written), parts)
    return sum(2 * math.ceil(item_bytes(each) / 1024) for each in (head, *written))


def item_bytes(item: Mapping[str, Any]) -> int:
    """Return an item's size by DynamoDB's rules."""
    return sum(len(name.encode()) + _value_bytes(value) for name, value in item.items())


def _value_bytes(value: Mapping[str, Any]) -> int:
    ((kind, found),) = value.items()
    match kind:
        case "S":
            return len(found.encode())
        case "B":
            return len(found)
        case "N":
            return math.ceil(len(found.replace(".", "").lstrip("-").rstrip("0")) / 2) + 1
        case "M":
            return 3 + sum(len(name.encode()) + _value_bytes(each) + 1 for name, each in found.items())
    return 1


def milliseconds(run: Callable[[], object], times: int = 1) -> float:
    """Return the median time of a call."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken) * 1000


def import_milliseconds(module: str, times: int = 5) -> float:
    """Return the median time that a new interpreter needs to import a module, beyond its own start."""
    script = "import time; start = time.perf_counter(); import {}; print((time.perf_counter() - start) * 1000)"
    environment = {**aws.ENVIRONMENT, "PYTHONPATH": str(FUNCTIONS), "PATH": "/usr/bin:/bin"}
    found = [
        float(
            subprocess.run(
                [sys.executable, "-c", script.format(module)],
                env=environment,
                check=True,
                capture_output=True,
                text=True,
                timeout=60,
            ).stdout.splitlines()[-1]
        )
        for _ in range(times)
    ]
    return statistics.median(found)
