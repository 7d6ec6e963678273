"""Edges and what they add up to, from the answers of sidecars."""

from __future__ import annotations

from typing import Any

import pytest

from infra.cli.traffic import by_destination, edges_of, quantile, shown


def row(name: str, requests: int, ok: int, **more: Any) -> dict[str, Any]:
    return {"name": name, "requests": requests, "ok": ok, "failed": requests - ok, "latency": [[2.0, ok]], **more}


def answer(*rows: dict[str, Any], offers: tuple[str, ...] = (), service: str = "", seconds: float = 60.0) -> Any:
    return {"client": list(rows), "offers": offers, "service": service, "seconds": seconds}


def test_tasks_of_one_service_are_one_edge_and_their_rates_add_up() -> None:
    answers = {
        "aa": answer(row("orders", 60, 60), offers=("web",)),
        "bb": answer(row("orders", 30, 15, flags={"UF": 15}), offers=("web",), seconds=30.0),
    }
    (edge,) = edges_of("shop.local", answers, {})
    found = edge.row()
    assert (found["source"], found["destination"]) == ("web", "orders")
    assert (found["rps"], found["success"], found["requests"]) == ("2.0", "83.33%", 90)
    assert found["flags"] == ["UF:15"]


def test_a_caller_is_named_by_its_service_then_ecs_service_then_family_then_id() -> None:
    answers = {
        "a" * 32: answer(row("x", 1, 1), offers=("web",), service="web-service"),
        "b" * 32: answer(row("x", 1, 1), service="worker"),
        "c" * 32: answer(row("x", 1, 1)),
        "d" * 32: answer(row("x", 1, 1)),
    }
    found = {edge.source for edge in edges_of("n", answers, {"c" * 32: "load"})}
    assert found == {"web", "worker", "load", "task/dddddddd"}


def test_a_service_is_the_sum_of_its_callers() -> None:
    answers = {
        "aa": answer(row("stock", 10, 10, zone_known=10, zone_local=5), offers=("orders",)),
        "bb": answer(row("stock", 10, 0), row("orders", 4, 4), offers=("web",)),
    }
    total = {each.destination: each.row() for each in by_destination(edges_of("n", answers, {}))}
    assert (total["stock"]["success"], total["stock"]["sources"]) == ("50.00%", ["orders", "web"])
    assert total["stock"]["zone_local"] == "50.00%"
    assert total["orders"]["success"] == "100.00%"


def test_one_failure_in_a_million_is_not_rounded_away() -> None:
    (edge,) = edges_of("n", {"aa": answer(row("x", 1_000_000, 999_999))}, {})
    assert edge.row()["success"] == "99.99%"


@pytest.mark.parametrize(
    ("latency", "share", "expected"),
    [({}, 0.5, None), ({1.0: 1}, 0.99, 1.0), ({1.0: 98, 7.0: 1, 90.0: 1}, 0.99, 7.0), ({1.0: 1, 2.0: 1}, 0.5, 1.0)],
)
def test_quantiles(latency: dict[float, int], share: float, expected: float | None) -> None:
    assert quantile(latency, share) == expected


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(None, "-"), (0.2345, "0.234ms"), (12.34, "12.3ms"), (250.4, "250ms"), (1500.0, "1.5s")],
)
def test_durations_have_a_unit(milliseconds: float | None, text: str) -> None:
    assert shown(milliseconds) == text
