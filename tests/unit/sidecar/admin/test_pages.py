"""The admin pages, on a mesh that was given a snapshot."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from sidecar import config as configuration
from sidecar.admin.pages import ACTIONS, PAGES, Pages
from sidecar.core.findings import Finding, app_refuses
from sidecar.core.meters import Meters
from sidecar.core.snapshot import Snapshot, apply, decode
from sidecar.findings import Findings
from sidecar.proxy.base.runtime import Runtime
from sidecar.proxy.mesh import Mesh
from sidecar.registry.client import Answer, CallError
from sidecar.registry.gate import MARGIN_SECONDS, Gate
from sidecar.registry.poller import Poller
from sidecar.registry.sources import Sources
from sidecar.telemetry.vitals import Vitals

ENVIRONMENT = {
    "TRAMO_NAMESPACE": "shop.local",
    "TRAMO_API_URL": "https://api.example/prod",
    "AWS_REGION": "eu-west-1",
    "TRAMO_INBOUND": "web=15100:8080/http",
    "TRAMO_VIP_NETWORK": "127.99.0.0/16",
}
SERVICE = {
    "name": "orders",
    "protocol": "http",
    "vip": "127.254.0.7",
    "revision": 5,
    "aliases": [],
    "endpoints": [
        {"id": "a/http", "address": "10.0.0.1", "port": 15100, "state": "ready"},
        {"id": "b/http", "address": "10.0.0.2", "port": 15100, "state": "draining"},
    ],
}


def snapshot() -> Snapshot:
    document = {"schema": 1, "namespace": "shop.local", "revision": 5, "services": [SERVICE]}
    return apply(None, decode(json.dumps(document).encode(), "shop.local"))


class Away:
    """An API that does not answer."""

    def fetch(self, etag: str, since: str | None) -> Answer:
        raise CallError("away")


class Case:
    """Pages with what is behind them."""

    def __init__(self) -> None:
        config = configuration.read(ENVIRONMENT)
        self.meters = Meters("", "")
        self.runtime = Runtime(asyncio.get_running_loop())
        self.mesh = Mesh(self.runtime, config, self.meters, "")
        sources = Sources(Away(), None, self.runtime.now)
        self.poller = Poller(self.runtime, "shop.local", sources, None, self.mesh.apply, 5.0)
        self.gate = Gate("a", ["orders"], list)
        self.found: list[Finding] = []
        findings = Findings(lambda: self.found)
        vitals = Vitals(self.meters, self.mesh.destinations, self.poller, self.runtime, findings.current)
        self.pages = Pages(config, self.mesh, self.poller, None, self.meters, vitals, self.gate, findings, sources)


def run(test: Callable[[Case], Awaitable[None]]) -> None:
    async def main() -> None:
        case = Case()
        await test(case)
        case.mesh.close()

    asyncio.run(main())


def test_ready_needs_listeners_a_snapshot_memory_and_no_drain() -> None:
    async def test(case: Case) -> None:
        assert case.pages.get("/ready") == (
            503,
            {
                "ready": False,
                "inbound": False,
                "snapshot": False,
                "draining": False,
                "shedding": False,
                "registry": "api",
                "findings": [],
            },
        )
        case.pages.inbound_bound = True
        assert case.pages.get("/ready")[0] == 503
        await case.mesh.apply(snapshot())
        assert case.pages.get("/ready")[0] == 200
        case.runtime.shedding = True
        assert case.pages.get("/ready")[0] == 503
        case.runtime.shedding = False
        assert case.pages.get("/ready")[0] == 200
        case.mesh.drain()
        assert case.pages.get("/ready")[0] == 503
        assert case.pages.get("/live")[0] == 200

    run(test)


def test_the_gate_opens_once_callers_know_this_task() -> None:
    async def test(case: Case) -> None:
        assert case.pages.get("/gate")[0] == 503
        case.gate.observe(snapshot(), case.runtime.now() - MARGIN_SECONDS - 5.0, 5.0)
        assert case.pages.get("/gate") == (200, {"state": "open"})

    run(test)


def test_findings_are_listed_and_counted_and_do_not_end_readiness() -> None:
    async def test(case: Case) -> None:
        case.pages.inbound_bound = True
        await case.mesh.apply(snapshot())
        case.found.append(app_refuses("orders", "127.0.0.1", 8080))
        status, page = case.pages.get("/ready")
        assert status == 200
        assert [finding["code"] for finding in page["findings"]] == ["TRM0303"]
        assert b"tramo_findings 1" in case.pages.metrics(None)[1]

    run(test)


def test_clusters_show_what_the_sidecar_holds() -> None:
    async def test(case: Case) -> None:
        status, before = case.pages.get("/clusters")
        assert (status, before["revision"], before["source"], before["age_seconds"]) == (200, 0, "none", None)
        await case.mesh.apply(snapshot())
        case.mesh.destinations["orders"].cluster.endpoints[0].begin(0.0)
        _, page = case.pages.get("/clusters")
        assert page["revision"] == 5
        (cluster,) = page["clusters"]
        assert (cluster["name"], cluster["protocol"], cluster["vip"]) == ("orders", "http", "127.99.0.7")
        ready, draining = cluster["endpoints"]
        assert (ready["id"], ready["state"], ready["active_requests"], ready["ejected"]) == (
            "a/http",
            "ready",
            1,
            False,
        )
        assert draining["state"] == "draining"
        assert ready["connect_failure"] == "", "none has been tried"
        json.dumps(page)

    run(test)


def test_every_page_is_there_and_no_other() -> None:
    async def test(case: Case) -> None:
        await case.mesh.apply(snapshot())
        for path in PAGES:
            if path != "/metrics":
                assert case.pages.get(path)[0] in (200, 503)
        status, page = case.pages.get("/nothing")
        assert (status, page["pages"]) == (404, list(PAGES))
        config: Any = case.pages.get("/config")[1]
        assert config["vip_network"] == "127.99.0.0/16"
        assert config["inbound"] == [{"name": "web", "ingress_port": 15100, "app_port": 8080, "protocol": "http"}]

    run(test)


def test_the_log_has_another_level_until_the_next_start() -> None:
    root = logging.getLogger()
    before = root.level

    async def test(case: Case) -> None:
        root.setLevel("INFO")
        assert case.pages.get("/logging") == (200, {"level": "INFO"})
        assert case.pages.post("/logging", "level=debug") == (200, {"level": "DEBUG"})
        assert root.level == logging.DEBUG
        for wrong in ("", "level=", "level=LOUD", "DEBUG"):
            status, answer = case.pages.post("/logging", wrong)
            assert (status, "DEBUG, INFO, WARNING, ERROR" in answer["error"]) == (400, True)
        assert case.pages.get("/logging") == (200, {"level": "DEBUG"})

    try:
        run(test)
    finally:
        root.setLevel(before)


def test_a_drain_can_be_asked_for_twice() -> None:
    async def test(case: Case) -> None:
        for _ in range(2):
            assert case.pages.post("/drain", "") == (200, {"draining": True, "work": 0})
        assert case.pages.get("/ready")[0] == 503

    run(test)


def test_only_actions_are_posted() -> None:
    async def test(case: Case) -> None:
        for path in ("/ready", "/", "/nothing"):
            assert case.pages.post(path, "")[0] == 405
        assert set(case.pages.get("/")[1]["actions"]) == set(ACTIONS)

    run(test)
