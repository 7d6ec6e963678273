"""Ports that a sidecar and its apps share, in a network namespace as a task has one; the default, listening."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.proxy.sidecar import Address, Backend, Stage
from tests.support.proxy.task_network import task_network
from tests.support.waiting import until

EVERYWHERE = "0.0.0.0"


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with task_network():
        found = Stage("127.1", tmp_path_factory.mktemp("task"), TRAMO_VIP_NETWORK="127.254.0.0/16")
        try:
            found.sidecar.wait_ready()
            yield found
        finally:
            found.close()


def test_an_alias_on_port_80_and_an_app_on_8080_of_all_addresses_do_not_meet(task: Stage) -> None:
    orders = task.publish("orders", task.backend("orders-1"))
    app = Backend("own-app", EVERYWHERE, 8080)
    try:
        assert orders.get() == (200, b"orders-1")
        assert Address("127.0.0.1", 8080).get() == (200, b"own-app")
        assert f"{orders.host} orders" in task.hosts.read_text()
    finally:
        app.close()


def test_a_service_on_the_port_of_an_app_has_no_name_and_so_no_wrong_answer(task: Stage) -> None:
    app = Backend("own-app", EVERYWHERE, 9000)
    try:
        stock = task.publish("stock", task.backend("stock-1"), port=9000)
        assert stock.get() == (200, b"own-app"), "the kernel gives the app whatever is called on this port"
        assert "stock" not in task.hosts.read_text()
        (found,) = task.sidecar.page("/ready")[1]["findings"]
        assert (found["code"], found["where"]) == ("TRM0304", f"{stock.host}:9000")
        assert "listens on port 9000 already" in found["remedy"]
    finally:
        app.close()
    until(lambda: f"{stock.host} stock" in task.hosts.read_text(), 20, "the port to be tried again")
    assert stock.get() == (200, b"stock-1")


def test_an_app_cannot_take_the_port_of_a_service_that_is_listened_for(task: Stage) -> None:
    task.publish("taken", task.backend("taken-1"), port=7000)
    with pytest.raises(OSError, match="Address already in use"):
        Backend("own-app", EVERYWHERE, 7000)
