from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import pytest

from infra.local import network
from infra.local.network import Networks, claim_socket
from infra.local.settings import LocalError


def claim(_: int) -> AbstractContextManager[object]:
    return nullcontext()


def test_addresses() -> None:
    assert network.address(7) == "127.7.0.1"
    assert network.network(7) == "127.7.0.0/16"


def test_a_freed_network_comes_last() -> None:
    networks = Networks(claim)
    first, second = networks.take(), networks.take()
    networks.give_back(first)
    networks.give_back(second)
    following = [networks.take() for _ in range(250)]
    assert len(set(following)) == 250
    assert following[-2:] == [first, second]


def test_none_is_handed_out_twice_and_the_end_is_an_error() -> None:
    networks = Networks(claim)
    assert {networks.take() for _ in range(250)} == set(range(1, 251))
    with pytest.raises(LocalError, match="250"):
        networks.take()


def test_what_another_process_has_is_left_out() -> None:
    networks = Networks(lambda index: None if index < 4 else nullcontext())
    assert [networks.take() for _ in range(3)] == [4, 5, 6]


def test_a_claim_is_seen_by_everyone_on_the_machine() -> None:
    index = next(i for i in range(250, 0, -1) if (holder := claim_socket(i)) and not holder.__exit__(None, None, None))
    mine = claim_socket(index)
    assert mine is not None
    with mine:
        assert claim_socket(index) is None
    again = claim_socket(index)
    assert again is not None
    again.__exit__(None, None, None)
