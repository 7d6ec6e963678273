from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ConnectTimeoutError, ParamValidationError, ReadTimeoutError
from pynamodb.exceptions import CancellationReason, GetError, TransactWriteError, UpdateError, VerboseClientError

from registry.aws.ecs import ExternalInstanceError, UnknownTaskDefinitionError
from registry.domain.events import EventError
from registry.domain.offer import DefinitionError
from registry.dynamodb.snapshot_store import PartTooLargeError, SnapshotBusyError
from registry.dynamodb.vip_store import VipsExhaustedError
from registry.failures import Failure, failure_of
from registry.publishing import PublishConflictError
from tests.support.control_plane.ecs import failure


@pytest.mark.parametrize(
    "error",
    [
        EventError("$", "no object"),
        DefinitionError("orders:7", None, "$", "a mistake", "a remedy"),
        UnknownTaskDefinitionError(),
        ExternalInstanceError(),
        VipsExhaustedError(),
        PartTooLargeError("shop.local", 3, 2, 1),
        RecursionError(),
        OverflowError(),
        KeyError("a bug of ours"),
        UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"),
        failure("ValidationException"),
        failure("InvalidParameterException"),
        UpdateError("too long a key", failure("ValidationException")),
        ParamValidationError(report="a parameter of the wrong type"),
    ],
    ids=repr,
)
def test_what_the_same_input_brings_again_is_permanent(error: Exception) -> None:
    assert failure_of(error) is Failure.PERMANENT


@pytest.mark.parametrize(
    "error",
    [
        failure("ThrottlingException"),
        failure("AccessDeniedException"),
        failure("ServerException"),
        ConnectTimeoutError(endpoint_url="http://127.0.0.1"),
        UpdateError("throttled", failure("ProvisionedThroughputExceededException")),
        GetError("no answer in time", ConnectTimeoutError(endpoint_url="http://127.0.0.1")),
        UpdateError("no answer in time", ReadTimeoutError(endpoint_url="http://127.0.0.1")),
        TransactWriteError("no answer in time", ReadTimeoutError(endpoint_url="http://127.0.0.1")),
        TransactWriteError("cancelled", failure("TransactionCanceledException")),
        PublishConflictError(),
        SnapshotBusyError(),
        ConnectionResetError(),
        MemoryError(),
    ],
    ids=repr,
)
def test_what_may_go_otherwise_the_next_time_is_passing(error: Exception) -> None:
    assert failure_of(error) is Failure.PASSING


def test_a_transaction_with_an_item_that_is_wrong_is_permanent() -> None:
    answer: Any = failure("TransactionCanceledException").response
    reasons = [None, CancellationReason("ValidationError", "the key is too long")]
    cause = VerboseClientError(answer, "TransactWriteItems", {}, cancellation_reasons=reasons)
    assert failure_of(TransactWriteError("cancelled", cause)) is Failure.PERMANENT
