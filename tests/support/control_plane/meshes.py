"""Meshes with known numbers for the console: who calls whom, how often, and what fails."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from infra.client.api import ApiError
from tests.support.control_plane.mesh_metrics import Datum, datum

CLUSTER: Final = "shop"


@dataclass(frozen=True, slots=True)
class Call:
    """The calls of one service to another, each minute: how many, what share of them fails, and how."""

    source: str
    target: str
    rate: int
    time: float = 10.0
    fails: Callable[[int], float] = lambda _: 0.0
    """Share by the number of the minute."""
    flag: str = ""
    """Empty if the service answers 5XX, else the flag of calls that do not reach it."""
    healthy: float = 3.0
    ejected: Callable[[int], float] = lambda _: 0.0
    tcp: bool = False


def data(
    minutes: list[datetime], calls: list[Call], silent: Callable[[str, int], bool] = lambda *_: False
) -> Iterator[Datum]:
    """Yield what the sidecars of these services send; `silent` says of which service nothing is sent in a minute."""
    for place, at in enumerate(minutes):
        for call in calls:
            if silent(call.target, place):
                continue
            failed = round(call.rate * call.fails(place))
            reached = call.rate if not call.flag else call.rate - failed
            client = {"TargetDiscoveryName": call.target}
            for dimensions in (client, {**client, "ServiceName": call.source, "ClusterName": CLUSTER}):
                yield from _seen_by_caller(at, call, failed, call.ejected(place), dimensions)
            server = {"DiscoveryName": call.target}
            for dimensions in (server, {**server, "ServiceName": call.target, "ClusterName": CLUSTER}):
                if reached:
                    yield datum(
                        "NewConnectionCount", at, [float(reached if call.tcp else max(reached // 40, 1))], **dimensions
                    )
                    yield datum("ActiveConnectionCount", at, [4.0], **dimensions)
                    yield datum("ProcessedBytes", at, [reached * 2150.0], **dimensions)
                    if not call.tcp:
                        yield datum("RequestCount", at, [float(reached)], **dimensions)


def _seen_by_caller(
    at: datetime, call: Call, failed: int, ejected: float, dimensions: Mapping[str, str]
) -> Iterator[Datum]:
    yield datum("HealthyEndpoints", at, [call.healthy - ejected], **dimensions)
    yield datum("RequestCountPerTarget", at, [call.rate / max(call.healthy, 1)], **dimensions)
    if ejected:
        yield datum("EjectedEndpoints", at, [ejected], **dimensions)
    if failed and call.flag:
        yield datum(f"ResponseFlag_{call.flag}_Count", at, [float(failed)], **dimensions)
        yield datum("ConnectErrors", at, [float(3 * failed)], **dimensions)
        yield datum("Retries", at, [float(2 * failed)], **dimensions)
    if call.tcp:
        return
    if failed and not call.flag:
        yield datum("HTTPCode_Target_5XX_Count", at, [float(failed)], **dimensions)
    if call.rate > failed:
        yield datum("HTTPCode_Target_2XX_Count", at, [float(call.rate - failed)], **dimensions)
    if call.rate > failed or not call.flag:
        times = [call.time * factor for factor in (0.6, 1.0, 1.9, 3.4)]
        yield datum("TargetResponseTime", at, times, [40.0, 40.0, 16.0, 4.0], **dimensions)


SHOP: Final = {
    "web": {"catalog": 3400, "cart": 1250, "accounts": 900, "search": 1600},
    "mobile-gateway": {"catalog": 2100, "cart": 800, "accounts": 700, "orders": 420},
    "partner-gateway": {"orders": 160, "catalog": 300},
    "catalog": {"pricing": 2600, "media": 1900, "stock": 1500},
    "search": {"catalog-index": 1500, "ranking": 1450},
    "ranking": {"features": 1400},
    "cart": {"pricing": 1200, "stock": 1000, "sessions": 2000},
    "accounts": {"sessions": 1300, "mailer": 40},
    "orders": {"stock": 480, "payments": 430, "shipping": 390, "mailer": 380, "ledger": 400},
    "payments": {"fraud": 410, "ledger": 405, "card-gateway": 400},
    "shipping": {"rates": 380, "mailer": 60},
    "pricing": {"promotions": 2000},
    "reports": {"ledger": 30, "orders": 12},
}
"""Who calls whom how often a minute: the services, and four callers that offer nothing, are named."""

TCP: Final = ("sessions",)
USUAL: Final = {"payments": 48.0, "card-gateway": 110.0, "search": 31.0, "ranking": 22.0, "ledger": 7.0, "pricing": 4.0}


def always(share: float) -> Callable[[int], float]:
    """Return a share that is the same in every minute."""
    return lambda _: share


def wave(place: int, name: str) -> float:
    """Return how busy a minute is, around 1."""
    return 1 + 0.12 * math.sin(place / 9 + len(name)) + 0.03 * math.sin(place * 1.7)


def shop(minutes: list[datetime], stock_fails: int | None = None, sessions_end: int | None = None) -> Iterator[Datum]:
    """Yield a shop of 20 services; from a minute on `stock` answers 500, from another nobody reaches `sessions`."""

    def broken(name: str, place: int) -> float:
        if stock_fails is None or place < stock_fails:
            return 0.0
        return {"stock": 1.0, "orders": 0.62, "cart": 0.41, "catalog": 0.3}.get(name, 0.0)

    for place, at in enumerate(minutes):
        calls = []
        for source, targets in SHOP.items():
            for target, rate in targets.items():
                dead = target == "sessions" and sessions_end is not None and place >= sessions_end
                tcp = target in TCP
                share = 1.0 if dead else broken(target, place)
                calls.append(
                    Call(
                        source,
                        target,
                        round(rate * wave(place, target)),
                        USUAL.get(target, 9.0 + len(target)),
                        always(share),
                        "UF" if dead else "",
                        0.0 if dead else 4.0,
                        always(2.0 * share if target == "stock" else 0.0),
                        tcp,
                    )
                )
        yield from data([at], calls)


def thousand(minutes: list[datetime], failing: str = "svc0500") -> Iterator[Datum]:
    """Yield a thousand services in layers of a hundred; number n calls n + 100 and n + 101, n * 60 times a minute.

    One answers 500 to everything, and who calls it fails half of the time.
    """
    number = int(failing[3:])
    share = {number: 1.0, number - 100: 0.5, number - 101: 0.5}
    pairs = [(name(each), each + step, each + 1) for each in range(900) for step in (100, 101) if each + step < 1000]
    pairs += [("edge", target, target + 1) for target in range(100)]
    calls = [
        Call(source, name(target), rate * 60, fails=always(share.get(target, 0.0))) for source, target, rate in pairs
    ]
    yield from data(minutes, calls)


def name(number: int) -> str:
    """Return the name of one of the thousand."""
    return f"svc{number:04}"


ANSWERS: Final[dict[str, object]] = {
    "clusters": {
        "clusters": [
            {
                "name": "stock",
                "endpoints": [
                    {"id": "a1173316d40a45dea9/http", "ejected": True, "health_check": None},
                    {"id": "5f0b77c2a81e4d339c/http", "ejected": False, "health_check": {"state": "failing"}},
                    {"id": "d94e20b7715a4c7f8b/http", "ejected": False, "health_check": None},
                ],
            }
        ]
    },
    "tap": {
        "requests": [
            {
                "direction": "outbound",
                "upstream_cluster": "stock",
                "method": "GET",
                "path": "/items/7",
                "response_code": 503,
                "duration": 2.5,
                "response_flags": "UF",
            }
        ]
    },
}


class FakeRegistry:
    """The registry's part of the mesh's API: documents by namespace and name."""

    def __init__(
        self, documents: Mapping[str, Mapping[str, dict[str, object]]], findings: list[dict[str, object]] | None = None
    ) -> None:
        self._documents = documents
        self._findings = findings or []
        self.error = ""

    def namespaces(self) -> list[str]:
        """Return the names of all namespaces."""
        if self.error:
            raise ApiError(self.error)
        return sorted(self._documents)

    def services(self, namespace: str) -> Iterator[dict[str, object]]:
        """Yield the services as the list has them: with the numbers of their endpoints."""
        for service in self._documents[namespace].values():
            endpoints = service["endpoints"]
            assert isinstance(endpoints, list)
            states = [each["state"] for each in endpoints]
            yield {**service, "endpoints": {state: states.count(state) for state in states}}

    def findings(self, namespace: str | None) -> Iterator[dict[str, object]]:
        """Yield what is wrong in a namespace."""
        yield from self._findings if namespace else []

    def ask(self, _: str, question: dict[str, object]) -> dict[str, object]:
        """Take a question; the one sidecar is of cart."""
        return {"id": str(question["subject"]), "asked": ["ca" * 16]}

    def answers(self, _: str, question: str, __: str = "") -> dict[str, object]:
        """Answer it: stock has an endpoint that cart does not call, and a request that failed."""
        return {
            "answers": [{"task": "ca" * 16, "at": "2026-11-22T12:00:00Z", "answer": ANSWERS[question]}],
            "next": None,
        }

    def task(self, _: str, __: str) -> dict[str, object]:
        """Return what is known of the sidecar's task."""
        return {"services": ["cart"], "task_definition": "cart:3"}

    def service(self, namespace: str, name: str) -> dict[str, object]:
        """Return one service."""
        found = self._documents[namespace].get(name)
        if found is None:
            raise ApiError(f"namespace {namespace} has no service {name}", 404)
        return found
