"""`tramo proxy TASK endpoints`: the rows of what a sidecar holds."""

from __future__ import annotations

from typing import Any

from infra.cli.proxy import endpoint_rows
from infra.cli.tables import Row

ENDPOINT: dict[str, Any] = {
    "id": "e1/http",
    "address": "10.0.1.5",
    "port": 15100,
    "state": "ready",
    "ejected": True,
    "health_check": None,
    "same_zone": False,
    "active_requests": 0,
    "latency_ms": 1.25,
    "requests": 3,
    "failures": 3,
}


def rows(*endpoints: dict[str, Any]) -> list[Row]:
    return endpoint_rows({"clusters": [{"name": "orders", "endpoints": list(endpoints)}]})


def test_an_endpoint_says_why_it_could_not_be_connected() -> None:
    (row,) = rows({**ENDPOINT, "connect_failure": "timed out"})
    assert (row["address"], row["outlier"], row["connect_failure"]) == ("10.0.1.5:15100", "ejected", "timed out")


def test_a_sidecar_of_an_earlier_release_does_not_say_it() -> None:
    connected, earlier = rows({**ENDPOINT, "connect_failure": ""}, ENDPOINT)
    assert (connected["connect_failure"], earlier["connect_failure"]) == (None, None)
