"""Findings from those who see them to the API's answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from registrar.app import handle
from registry.aws.ecs import Lookups
from registry.domain import findings
from registry.domain.findings import Found, found
from registry.domain.reports import Finding, Level
from registry.dynamodb.finding_store import KEPT_SECONDS, REFRESHED_SECONDS
from registry.dynamodb.store import Store
from tests.integration.functions.conftest import Deployed
from tests.integration.functions.test_reconciler import sweep
from tests.support.control_plane.ecs import CLUSTER, NAMESPACE, FakeEcs, event, failure, life, task_definition
from tests.support.control_plane.gateway import USER, Gateway, session

NOW = 1_795_349_160.0
FOUND = found(findings.BAD_LABEL, "taskdef/orders:7", "label", "it is wrong", "correct it")


def codes(store: Store, namespace: str | None = NAMESPACE, now: float = NOW) -> list[str]:
    return [each.found.finding.code for each in store.findings.all(namespace, now)]


def broken(**changes: Any) -> FakeEcs:
    """An ECS whose orders:7 has an unknown port name, and one task of it."""
    ecs = FakeEcs(task_definition(services=[{"portName": "nope"}], **changes))
    ecs.tasks = {CLUSTER: [life("aa")[3]["detail"]]}
    return ecs


def test_what_is_seen_again_is_written_before_its_time_is_over(store: Store) -> None:
    assert store.findings.see(NAMESPACE, [FOUND, FOUND], NOW) == 1
    assert store.findings.see(NAMESPACE, [FOUND], NOW + REFRESHED_SECONDS - 1) == 0
    (kept,) = store.findings.all(NAMESPACE, NOW)
    assert (kept.found, kept.since, kept.seen_at) == (FOUND, NOW, NOW)
    store.findings.see(NAMESPACE, [FOUND], NOW + REFRESHED_SECONDS)
    (kept,) = store.findings.all(NAMESPACE, NOW + KEPT_SECONDS)
    assert (kept.since, kept.seen_at) == (NOW, NOW + REFRESHED_SECONDS)
    assert store.findings.all(NAMESPACE, NOW + KEPT_SECONDS + REFRESHED_SECONDS) == []
    assert store.findings.see(NAMESPACE, [FOUND], NOW + 2 * KEPT_SECONDS) == 1, "it is new again"


def test_pages_follow_each_other_and_leave_out_what_is_over(store: Store) -> None:
    many = [found(findings.BAD_LABEL, f"taskdef/o:{number}", "label", "x", "y") for number in range(5)]
    store.findings.see(None, many, NOW)
    store.findings.end(None, store.findings.all(None, NOW)[1:2], NOW + 1)
    first, following = store.findings.page(None, 2, "", NOW + 2)
    assert following == first[-1].found.key
    second, last = store.findings.page(None, 2, following, NOW + 2)
    assert [each.found.resource for each in (*first, *second)] == [f"taskdef/o:{number}" for number in (0, 2, 3, 4)]
    assert last is None


def test_the_registrar_keeps_what_is_wrong_with_a_definition(store: Store) -> None:
    ecs = broken()
    handle(event("fargate_running"), store, Lookups(lambda: ecs, lambda: ecs), NOW)
    assert codes(store) == ["TRM0101"]
    handle(event("fargate_running"), store, Lookups(lambda: ecs, lambda: ecs), NOW)
    assert codes(store) == ["TRM0101"], "one item, however often it is seen"


def test_the_end_of_a_task_says_nothing_of_its_definition(store: Store) -> None:
    ecs = broken()
    handle(event("fargate_stopped"), store, Lookups(lambda: ecs, lambda: ecs), NOW)
    assert codes(store) == []


def test_the_end_of_a_task_that_never_ran_does(store: Store) -> None:
    stopped = event("fargate_stopped")
    del stopped["detail"]["startedAt"]
    ecs = broken()
    handle(stopped, store, Lookups(lambda: ecs, lambda: ecs), NOW)
    assert codes(store) == ["TRM0101"]


def test_a_sweep_finds_what_no_event_told_and_ends_it_with_the_last_task(store: Store) -> None:
    ecs = broken()
    report = sweep(store, ecs)
    assert (codes(store), report.open_findings) == (["TRM0101"], 1)
    ecs.tasks = {CLUSTER: []}
    store.tasks.ensure_namespace(NAMESPACE, NOW)
    assert sweep(store, ecs, now=NOW + 60).open_findings == 0
    assert codes(store, now=NOW + 60) == []


def test_a_sweep_that_did_not_read_the_definition_keeps_what_is_known_of_it(store: Store, lookups: Lookups) -> None:
    good = FakeEcs(task_definition(sidecar=False))
    good.tasks = {CLUSTER: [life("aa")[3]["detail"]]}
    handle(life("aa")[3], store, Lookups(lambda: good, lambda: good), NOW)
    assert codes(store) == ["TRM0104"]
    sweep(store, good, now=NOW + 60)
    assert codes(store, now=NOW + 60) == ["TRM0104"]


def test_a_sweep_that_failed_somewhere_ends_nothing(store: Store) -> None:
    ecs = broken()
    sweep(store, ecs)
    ecs.fail["list_tasks"] = failure("ServerException", operation="ListTasks")
    store.tasks.ensure_namespace(NAMESPACE, NOW)
    assert sweep(store, ecs, now=NOW + 60).failures == 1
    assert codes(store, now=NOW + 60) == ["TRM0101"]


@pytest.fixture
def gateway(deployed: Deployed) -> Gateway:
    from api.app import app

    return Gateway(deployed.api, deployed.context, app.routes)


def test_the_api_shows_what_a_sidecar_reports(gateway: Gateway) -> None:
    from api.app import store
    from tests.support.control_plane.building import declare, task

    store.tasks.ensure_namespace("seen.local", NOW)
    declare(store, "orders", "seen.local")
    store.tasks.apply(task("aa", namespace="seen.local"))
    finding = {"code": "TRM0303", "level": "error", "where": "app port 8080", "what": "nobody", "remedy": "see the log"}
    # The registrar says the same of the task definition.
    label = {**finding, "code": "TRM0310", "where": "container app, label tramo.x"}
    body = json.dumps({"status": "UNKNOWN", "findings": [finding, label]}).encode()
    headers = {"Content-Type": "application/json"}
    path = "/v1/namespaces/seen.local/tasks/aa/health"
    assert gateway.call("POST", path, body, headers, session("aa")).status_code == 200
    answer = gateway.call("GET", "/v1/namespaces/seen.local/findings", None, {}, USER).json_body
    (shown,) = answer["findings"]
    assert shown.pop("since")
    assert shown == {"resource": "taskdef/orders:7", **finding}
    assert answer["next"] is None
    assert gateway.call("GET", "/v1/namespaces/nobody.local/findings", None, {}, USER).json_body["findings"] == []
    refused = gateway.call("GET", "/v1/findings?next=nonsense", None, {}, USER)
    assert refused.status_code == 400


def test_the_api_of_another_mesh_keeps_what_the_sidecar_of_a_stray_task_says(gateway: Gateway) -> None:
    finding = {"level": "error", "where": "TRAMO_API_URL", "what": "the API is that of Tramo", "remedy": "correct it"}
    both = [{"code": code, **finding} for code in ("TRM0313", "TRM0301")]
    body = json.dumps({"status": "UNKNOWN", "findings": both}).encode()
    path = "/v1/namespaces/stray.local/tasks/cc/health"
    refused = gateway.call("POST", path, body, {"Content-Type": "application/json"}, session("cc"))
    assert (refused.status_code, refused.headers["tramo-mesh"]) == (404, "Tramo")
    answer = gateway.call("GET", "/v1/namespaces/stray.local/findings", None, {}, USER)
    assert answer.headers["tramo-mesh"] == "Tramo"
    (shown,) = answer.json_body["findings"]
    assert (shown["resource"], shown["code"]) == ("task/cc", "TRM0313")


def test_a_sweep_leaves_what_stray_tasks_say_to_its_own_time(store: Store, lookups: Lookups) -> None:
    ecs = FakeEcs(task_definition())
    ecs.tasks = {CLUSTER: []}
    store.tasks.ensure_namespace(NAMESPACE, NOW)
    stray = Finding(findings.ASTRAY, Level.ERROR, "TRAMO_API_URL", "of another mesh", "correct it")
    store.findings.see(NAMESPACE, [FOUND, Found(findings.of_task("cc"), stray)], NOW)
    sweep(store, ecs, now=NOW + 60)
    assert codes(store, now=NOW + 61) == ["TRM0313"]
    assert codes(store, now=NOW + KEPT_SECONDS) == []


def test_found_is_told_apart_by_code_resource_and_place() -> None:
    same = Found(FOUND.resource, FOUND.finding)
    assert same.key == FOUND.key
    other = found(findings.BAD_LABEL, "taskdef/orders:7", "another label", "it is wrong", "correct it")
    assert other.key != FOUND.key
