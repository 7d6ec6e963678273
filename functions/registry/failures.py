"""Whether an input that failed is worth another try.

| exception | kind |
|---|---|
| what AWS answers with one of `_REFUSALS` | permanent: the same request gets the same answer |
| any other answer of AWS (throttled, not allowed, broken), no answer in time | passing |
| others won each time: publishers, registrars; the snapshot changed under each reader | passing |
| an error of the operating system, no memory | passing |
| everything else: our own errors and Python's | permanent: our code does the same with the same input |

Rules:
1. What passes is raised, so that AWS brings the input again; or it is counted, where a sweep comes again anyway.
2. What is permanent is logged with the name of the input and counted, and the input is done with: to try again
   would cost the same and hold up what comes after it. The reconciler sees the same task or namespace each
   minute, so nothing is lost when the cause is gone.
3. A permission that is missing counts as passing, since it is soon given: the input ends as a dead letter, which
   can be redriven.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError
from pynamodb.exceptions import PynamoDBException, TransactWriteError

from registry.dynamodb.alias_store import ClaimsBusyError
from registry.dynamodb.service_store import ServiceBusyError
from registry.dynamodb.snapshot_store import SnapshotBusyError
from registry.dynamodb.table import code_of
from registry.dynamodb.task_store import ReportConflictError
from registry.publishing import PublishConflictError


class Failure(StrEnum):
    """Whether another try may end otherwise."""

    PERMANENT = "permanent"
    PASSING = "passing"


# What DynamoDB, ECS and EC2 answer to a request that is wrong in itself.
_REFUSALS: Final = frozenset(
    {
        "ClientException",
        "InvalidParameterException",
        "InvalidParameterValue",
        "ItemCollectionSizeLimitExceededException",
        "MalformedQueryString",
        "ValidationError",  # of an item in a transaction
        "ValidationException",
    }
)

_BUSY: Final = (ClaimsBusyError, PublishConflictError, ReportConflictError, ServiceBusyError, SnapshotBusyError)
_PASSING: Final = (BotoCoreError, PynamoDBException, *_BUSY, OSError, MemoryError)


def failure_of(error: BaseException) -> Failure:
    """Return which kind an exception is."""
    if isinstance(error, ParamValidationError) or not _REFUSALS.isdisjoint(_codes(error)):
        return Failure.PERMANENT
    return Failure.PASSING if isinstance(error, (ClientError, *_PASSING)) else Failure.PERMANENT


def _codes(error: BaseException) -> set[str | None]:
    """Return the codes in an answer of AWS: of the whole, and of each item of a transaction."""
    if isinstance(error, ClientError):
        return {error.response.get("Error", {}).get("Code")}
    codes = {code_of(error)} if isinstance(error, PynamoDBException) else set()
    if isinstance(error, TransactWriteError):
        codes |= {reason.code for reason in error.cancellation_reasons if reason}
    return codes
