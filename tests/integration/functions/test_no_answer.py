"""A write that gets no answer in time is no lost race: it is raised, and passes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from botocore.exceptions import ReadTimeoutError
from pynamodb.exceptions import PynamoDBException

from registry.domain.offer import Alias
from registry.dynamodb.store import Store
from registry.failures import Failure, failure_of
from tests.support.control_plane.building import declaration, declare, record, task
from tests.support.control_plane.ecs import NAMESPACE
from tests.support.stepping import before_each_call


def declare_new(store: Store) -> None:
    declare(store, "stock")


def declare_more(store: Store) -> None:
    store.services.declare(NAMESPACE, "orders", declaration(name="orders:8", at=2.0), 2.0, record())


def claim(store: Store) -> None:
    store.services.aliases.claim(NAMESPACE, "orders", [Alias("free", 80)])


def shrink(store: Store) -> None:
    known = store.services.get(NAMESPACE, "orders")
    assert known is not None
    store.services.shrink(NAMESPACE, known, known.declarations, ())


def apply(store: Store) -> None:
    store.tasks.apply(task("aa"))


@pytest.mark.parametrize("write", [declare_new, declare_more, claim, shrink, apply])
def test_a_write_without_an_answer_is_raised_and_passes(store: Store, write: Callable[[Store], None]) -> None:
    declare(store)

    def stay_silent(call: str) -> None:
        if call.startswith(("UpdateItem", "TransactWriteItems")):
            raise ReadTimeoutError(endpoint_url="http://127.0.0.1")

    with before_each_call(store, stay_silent), pytest.raises(PynamoDBException) as caught:
        write(store)
    assert failure_of(caught.value) is Failure.PASSING
