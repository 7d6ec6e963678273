from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import pytest

from infra.local.definition import ProxyConfiguration
from infra.local.network import LoopbackNetwork, claim_socket, loopback_network
from infra.local.settings import LocalError


def claim(_: str) -> AbstractContextManager[object]:
    return nullcontext()


def test_addresses() -> None:
    assert LoopbackNetwork(claim).take() == "127.1.0.1"
    assert loopback_network("127.7.0.1") == "127.7.0.0/16"


def test_a_freed_address_comes_last() -> None:
    network = LoopbackNetwork(claim)
    first, second = network.take(), network.take()
    network.give_back(first)
    network.give_back(second)
    following = [network.take() for _ in range(250)]
    assert len(set(following)) == 250
    assert following[-2:] == [first, second]


def test_none_is_handed_out_twice_and_the_end_is_an_error() -> None:
    network = LoopbackNetwork(claim)
    assert {network.take() for _ in range(250)} == {f"127.{number}.0.1" for number in range(1, 251)}
    with pytest.raises(LocalError, match="250"):
        network.take()


def test_what_another_process_has_is_left_out() -> None:
    network = LoopbackNetwork(lambda name: None if name.endswith(("127.1.0.1", "127.2.0.1")) else nullcontext())
    assert [network.take() for _ in range(2)] == ["127.3.0.1", "127.4.0.1"]


def test_a_proxy_needs_a_namespace() -> None:
    with pytest.raises(LocalError, match="be root"):
        LoopbackNetwork(claim).attach("127.1.0.1", "0e:00:00:00:00:01", ProxyConfiguration(15001, ignored_gid=1337))


def test_a_claim_is_seen_by_everyone_on_the_machine() -> None:
    mine = claim_socket("tramo-test-of-a-claim")
    assert mine is not None
    with mine:
        assert claim_socket("tramo-test-of-a-claim") is None
    again = claim_socket("tramo-test-of-a-claim")
    assert again is not None
    again.__exit__(None, None, None)
