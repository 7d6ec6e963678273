"""Lambda's reader of a DynamoDB stream: batches, filters, partial failures, retries, bisection.

Rules, from "Using AWS Lambda with Amazon DynamoDB" in the Lambda developer guide:

1. Records come in order, in batches of at most `batch_size` that pass a filter. No later record is read
   before a batch is done.
2. A result with `batchItemFailures` makes everything from the first failed record on come again. An
   identifier that is not in the batch, or an empty one, fails the whole batch.
3. A failed function makes the batch come again, in halves if the source says bisect, at most `retries` times;
   then the batch is a dead letter and reading goes on.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from infra.local.eventbus import DeadLetters, Invocable
from infra.local.functions import FunctionError
from infra.local.pattern import matches
from infra.local.template import StreamSource

Record = Mapping[str, Any]

_PAUSE: Final = 0.2
_LONGEST_PAUSE: Final = 10.0


def to_event_record(record: Mapping[str, Any], stream_arn: str) -> Record:
    """Return a record of boto3's GetRecords in the form in which Lambda hands it to a function."""
    return {**_plain(record), "eventSourceARN": stream_arn}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, datetime):
        return int(value.timestamp())
    return value


class StreamDelivery:
    """Delivers the records of one stream to one function."""

    def __init__(
        self,
        function: Invocable,
        source: StreamSource,
        dead_letters: DeadLetters,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._function = function
        self._source = source
        self._dead_letters = dead_letters
        self._sleep = sleep

    async def deliver(self, records: Sequence[Record]) -> None:
        """Return when every record was handled or is a dead letter."""
        if self._source.filters:
            records = [r for r in records if any(matches(condition, r) for condition in self._source.filters)]
        for start in range(0, len(records), self._source.batch_size):
            await self._work(records[start : start + self._source.batch_size], attempt=0)

    async def _work(self, batch: Sequence[Record], attempt: int) -> None:
        try:
            result = await self._function.invoke({"Records": list(batch)})
        except FunctionError as error:
            await self._again(batch, attempt, str(error))
            return
        failed = (result or {}).get("batchItemFailures") or []
        if not failed:
            return
        numbers = [record["dynamodb"]["SequenceNumber"] for record in batch]
        identifiers = {failure.get("itemIdentifier") for failure in failed}
        known = identifiers <= set(numbers)
        first = min(numbers.index(i) for i in identifiers) if known else 0
        await self._again(batch[first:], attempt, "the function reported failed records", bisect=False)

    async def _again(self, batch: Sequence[Record], attempt: int, error: str, *, bisect: bool = True) -> None:
        if 0 <= self._source.retries <= attempt:
            self._dead_letters.add(self._function.spec.name, error, {"Records": list(batch)})
            return
        await self._sleep(min(_LONGEST_PAUSE, _PAUSE * 2**attempt))
        if bisect and self._source.bisect and len(batch) > 1:
            middle = len(batch) // 2
            await self._work(batch[:middle], attempt + 1)
            await self._work(batch[middle:], attempt + 1)
        else:
            await self._work(batch, attempt + 1)


async def follow(read: Callable[[], Awaitable[Sequence[Record]]], delivery: StreamDelivery, pause: float) -> None:
    """Read the stream and deliver, until cancelled; after an empty read wait `pause` seconds."""
    while True:
        records = await read()
        if records:
            await delivery.deliver(records)
        else:
            await asyncio.sleep(pause)
