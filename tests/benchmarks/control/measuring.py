"""What DynamoDB charges, and how long things take."""

from __future__ import annotations

import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from registry.dynamodb.store import Store
from tests.support.control_plane import aws
from tests.support.control_plane.storm import item_bytes

READS: Final = frozenset({"GetItem", "BatchGetItem", "Query", "Scan"})
FUNCTIONS: Final = Path(__file__).parents[3] / "functions"


@dataclass(slots=True)
class Units:
    """Consumed capacity units, and the calls that consumed them."""

    read: float = 0.0
    write: float = 0.0
    calls: int = 0

    def add(self, operation: str, answer: Any) -> None:
        """Add what an answer says that it cost."""
        self.calls += 1
        consumed = answer.get("ConsumedCapacity") or []
        total = sum(each["CapacityUnits"] for each in (consumed if isinstance(consumed, list) else [consumed]))
        if operation in READS:
            self.read += total
        else:
            self.write += total


@contextmanager
def charged(store: Store, endpoint: str) -> Iterator[Units]:
    """Yield what the calls of a store cost meanwhile. PynamoDB asks for it with every call."""
    connection: Any = store.tasks._table.connection
    dispatch = connection.dispatch
    units = Units()

    def counting(operation: str, arguments: Any) -> Any:
        answer = dispatch(operation, arguments)
        if operation == "TransactWriteItems":
            units.calls += 1
            units.write += transaction_units(endpoint, arguments["TransactItems"])
        else:
            units.add(operation, answer)
        return answer

    connection.dispatch = counting
    try:
        yield units
    finally:
        connection.dispatch = dispatch


def transaction_units(endpoint: str, writes: Iterable[Mapping[str, Any]]) -> int:
    """Return what a transaction has cost that went through just now.

    DynamoDB Local's own figure for a transaction is not AWS's rule: two units for each KB of each item that is
    written, the item being its names and values
    (https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html).
    """
    client = aws.client("dynamodb", endpoint)
    total = 0
    for write in writes:
        ((_, what),) = write.items()
        key = what.get("Key") or {name: what["Item"][name] for name in ("pk", "sk")}
        item = client.get_item(TableName=what["TableName"], Key=key, ConsistentRead=True).get("Item", key)
        total += 2 * math.ceil(item_bytes(item) / 1024)
    return total


def milliseconds(run: Callable[[], object], times: int = 1) -> float:
    """Return the median time of a call."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken) * 1000


def import_milliseconds(module: str, times: int = 7) -> tuple[float, float]:
    """Return the median times, by the clock and of the processor, that a new interpreter needs to import a module.

    As in Lambda, by whose variable X-Ray's SDK knows where it is; elsewhere it makes a client of its own.
    """
    script = (
        "import time; start = time.perf_counter(), time.process_time(); import {}; "
        "print(time.perf_counter() - start[0], time.process_time() - start[1])"
    )
    environment = {
        **aws.ENVIRONMENT,
        "LAMBDA_TASK_ROOT": str(FUNCTIONS),
        "PYTHONPATH": str(FUNCTIONS),
        "PATH": "/usr/bin:/bin",
    }
    found = [
        subprocess.run(
            [sys.executable, "-c", script.format(module)],
            env=environment,
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        ).stdout.split()[-2:]
        for _ in range(times)
    ]
    clock, processor = (statistics.median(float(each[place]) for each in found) * 1000 for place in (0, 1))
    return clock, processor
