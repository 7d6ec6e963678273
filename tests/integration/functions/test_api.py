"""The API through its handler, over a table in DynamoDB Local."""

from __future__ import annotations

import dataclasses
import json
import re
import time
import uuid
from typing import Any

import pytest

from registry.domain.owners import Claim
from registry.domain.service_events import parse_service_event
from registry.domain.snapshot import iso
from registry.dynamodb.keys import part_key
from registry.dynamodb.store import Store
from registry.publishing import Changes, Publisher
from tests.integration.functions.conftest import Deployed
from tests.support.control_plane import aws
from tests.support.control_plane.building import declaration, declare, task
from tests.support.control_plane.ecs import event
from tests.support.control_plane.gateway import USER, Answer, Gateway, session
from tests.support.control_plane.schemas import check

NOW = 1_795_345_200.0


class Api:
    """A namespace with the services orders (two tasks) and stock (none), and a client."""

    def __init__(self, gateway: Gateway, store: Store) -> None:
        self.gateway = gateway
        self.store = store
        self.namespace = f"n{uuid.uuid4().hex[:8]}.local"
        self.publisher = Publisher(store, clock=lambda: NOW, pause=lambda _: None)
        for name in ("orders", "stock"):
            declare(store, name, self.namespace)
        store.tasks.ensure_namespace(self.namespace, NOW)
        self.task("aa")
        self.task("bb")

    @property
    def epoch(self) -> str:
        head = self.store.snapshots.head(self.namespace, consistent=True)
        assert head is not None
        assert head.epoch
        return head.epoch

    def tag(self, revision: int) -> str:
        return f'"{self.epoch}-{revision}"'

    def task(self, task_id: str, service: str = "orders", **changes: Any) -> None:
        self.store.tasks.apply(task(task_id, service, namespace=self.namespace, **changes))
        self.publish(tasks=frozenset({task_id}))

    def publish(self, **changes: Any) -> None:
        self.publisher.publish(self.namespace, Changes(**changes))

    def call(self, method: str, path: str, body: Any = None, caller: str | None = "", **headers: str) -> Answer:
        """Call a path below the namespace (or an absolute one); health of tasks as the task itself."""
        if caller == "":
            caller = session(path.split("/")[1]) if path.startswith("tasks/") else USER
        if not path.startswith("/v1"):
            path = f"/v1/namespaces/{self.namespace}/{path}"
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        raw = None
        if body is not None:
            raw = body if isinstance(body, bytes) else json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/json")
        return self.gateway.call(method, path, raw, sent, caller)

    def get(self, path: str, **headers: str) -> Answer:
        return self.call("GET", path, **headers)


@pytest.fixture
def api(deployed: Deployed) -> Api:
    from api.app import app, store

    return Api(Gateway(deployed.api, deployed.context, app.routes), store)


def problem(response: Answer, status: int, kind: str, field: str | None = None) -> str:
    """Check a problem document and return its detail."""
    assert response.status_code == status, response.body
    assert response.headers["content-type"] == "application/problem+json"
    body = json.loads(response.body)
    assert (body["type"], body["status"]) == (f"urn:tramo:problem:{kind}", status)
    assert body.get("field") == field
    assert body["title"]
    return str(body["detail"])


def names(response: Answer) -> list[str]:
    assert response.status_code == 200, response.body
    return [each["name"] for each in response.json_body["services"]]


def parameter(description: Any, path: str, name: str) -> Any:
    """The description of a parameter in the query."""
    return next(each for each in description["paths"][path]["get"]["parameters"] if each["name"] == name)


def test_health_needs_nothing(api: Api) -> None:
    response = api.get("/v1/health")
    assert (response.status_code, response.json_body) == (200, {"status": "ok"})
    assert response.headers["content-type"] == "application/json"


def test_namespaces(api: Api) -> None:
    assert {"name": api.namespace} in api.get("/v1/namespaces").json_body["namespaces"]


def test_services_come_in_pages(api: Api) -> None:
    first = api.get("services?limit=1").json_body
    assert [each["name"] for each in first["services"]] == ["orders"]
    assert first["services"][0]["endpoints"] == {"ready": 2}
    assert (first["namespace"], first["revision"], first["next"]) == (api.namespace, 2, "orders")
    second = api.get(f"services?limit=1&next={first['next']}").json_body
    assert [each["name"] for each in second["services"]] == ["stock"]
    assert (second["services"][0]["endpoints"], second["next"]) == ({}, None)
    assert names(api.get("services")) == ["orders", "stock"]


@pytest.mark.parametrize("limit", ["0", "501", "-1", "x", "1.5", "²"])
def test_a_limit_is_a_number_in_its_bounds(api: Api, limit: str) -> None:
    assert "from 1 to 500" in problem(api.get(f"services?limit={limit}"), 400, "bad-parameter", "limit")


def test_one_service(api: Api) -> None:
    response = api.get("services/orders")
    assert [each["id"] for each in response.json_body["endpoints"]] == ["aa/http", "bb/http"]
    problem(api.get("services/ghost"), 404, "unknown-service", "service")
    problem(api.get("services/Ghost"), 400, "bad-parameter", "service")


def test_a_snapshot_and_its_etag(api: Api) -> None:
    response = api.get("snapshot")
    check("snapshot", response.json_body)
    assert names(response) == ["orders", "stock"]
    assert (response.headers["etag"], response.headers["tramo-poll-seconds"]) == (api.tag(2), "5")


@pytest.mark.parametrize("header", ["{2}", "W/{2}", "{1}, {2}", " {2}"])
def test_an_unchanged_snapshot_is_not_sent_again(api: Api, header: str) -> None:
    response = api.get("snapshot", If_None_Match=header.format(*map(api.tag, range(3))))
    assert (response.status_code, response.body) == (304, b"")
    assert (response.headers["etag"], response.headers["tramo-poll-seconds"]) == (api.tag(2), "5")


@pytest.mark.parametrize("header", ["{1}", "{3}", '"2"', '"0ddba11-2"', "2", '"two"', "*"])
def test_another_snapshot_is_sent(api: Api, header: str) -> None:
    sent = header.format(*map(api.tag, range(4)))
    assert names(api.get("snapshot", If_None_Match=sent)) == ["orders", "stock"]


def test_a_delta(api: Api) -> None:
    api.task("cc", "stock")
    response = api.get(f"snapshot?since={api.epoch}-2")
    check("snapshot", response.json_body)
    assert names(response) == ["stock"]
    body = response.json_body
    assert (body["epoch"], body["revision"], body["since"], body["removed"]) == (api.epoch, 3, 2, [])
    assert names(api.get(f"snapshot?since={api.epoch}-3")) == []
    assert names(api.get(f"snapshot?since={api.epoch}-1")) == ["orders", "stock"]


def test_a_sidecar_that_sends_the_number_alone_gets_a_delta_for_its_etag(api: Api) -> None:
    api.task("cc", "stock")
    response = api.get("snapshot?since=2", If_None_Match=api.tag(2))
    assert (names(response), response.json_body["since"]) == (["stock"], 2)


@pytest.mark.parametrize("since", ["{epoch}-0", "{epoch}-99", "2", "0ddba11-2", "0"])
def test_no_delta_from_what_was_never_published(api: Api, since: str) -> None:
    response = api.get(f"snapshot?since={since.format(epoch=api.epoch)}")
    assert names(response) == ["orders", "stock"]
    assert "since" not in response.json_body


@pytest.mark.parametrize("since", ["x", "-1", "1.5", "", "9" * 20, "1" * 5000, "-", "a1-", "A1-2", "a1-2-3"])
def test_since_is_a_version(api: Api, since: str) -> None:
    problem(api.get(f"snapshot?since={since}"), 400, "bad-parameter", "since")


def test_only_some_services(api: Api) -> None:
    assert names(api.get("snapshot?services=stock,ghost")) == ["stock"]
    assert names(api.get("snapshot?services=")) == []
    api.task("cc", "stock")
    response = api.get(f"snapshot?services=orders&since={api.epoch}-2")
    assert (names(response), response.json_body["since"]) == ([], 2)
    problem(api.get("snapshot?services=a,B"), 400, "bad-parameter", "service")


def test_an_unknown_namespace(api: Api) -> None:
    for path in ("snapshot", "services", "services/orders"):
        response = api.get(f"/v1/namespaces/nobody.local/{path}")
        assert "nobody.local" in problem(response, 404, "unknown-namespace", "namespace")
    problem(api.get("/v1/namespaces/a$b/snapshot"), 400, "bad-parameter", "namespace")


def test_a_policys_life(api: Api) -> None:
    path = "services/orders/policy"
    empty = api.get(path)
    assert (empty.json_body, empty.headers["etag"]) == ({}, '"0"')
    policy = {"retries": {"count": 1, "on": ["503"]}, "timeouts": {"connect_seconds": 0.25}}
    written = api.call("PUT", path, policy, If_Match='"0"')
    assert (written.status_code, written.json_body, written.headers["etag"]) == (200, policy, '"1"')
    assert api.get(path).json_body == policy
    stale = api.call("PUT", path, {}, If_Match='"0"')
    assert "at revision 1, not 0" in problem(stale, 412, "precondition-failed", "If-Match")
    assert stale.headers["etag"] == '"1"'
    api.publish(services=frozenset({"orders"}))
    assert api.get("services/orders").json_body["policy"] == policy
    problem(api.call("DELETE", path, If_Match='"7"'), 412, "precondition-failed", "If-Match")
    gone = api.call("DELETE", path, If_Match='"1"')
    assert (gone.status_code, gone.body) == (204, b"")
    assert (api.get(path).json_body, api.get(path).headers["etag"]) == ({}, '"2"')
    assert api.call("PUT", path, policy).status_code == 200
    assert api.call("PUT", path, {}, If_Match="*").headers["etag"] == '"4"'


@pytest.mark.parametrize("header", ['W/"0"', "0", '"x"', '"0", "1"'])
def test_if_match_is_one_strong_tag(api: Api, header: str) -> None:
    response = api.call("PUT", "services/orders/policy", {}, If_Match=header)
    problem(response, 412, "precondition-failed", "If-Match")


@pytest.mark.parametrize(
    ("policy", "field", "words"),
    [
        ({"retries": {"count": "x"}}, "$.retries.count", "must be integer"),
        ({"retries": {"count": 11}}, "$.retries.count", "smaller than or equal to 10"),
        ({"retry": {}}, "$", "must not contain"),
        ({"retries": {"on": ["503", "x"]}}, "$.retries.on.1", "must be one of"),
        ([], "$", "must be object"),
        (None, "$", "not JSON"),
    ],
)
def test_a_wrong_policy_is_refused_and_its_field_named(api: Api, policy: Any, field: str, words: str) -> None:
    body = b"" if policy is None else policy
    response = api.call("PUT", "services/orders/policy", body)
    kind, status = ("bad-body", 400) if policy is None else ("bad-policy", 422)
    assert words in problem(response, status, kind, field)
    assert api.get("services/orders/policy").json_body == {}


def test_policies_of_unknown_services(api: Api) -> None:
    path = "services/ghost/policy"
    problem(api.get(path), 404, "unknown-service", "service")
    problem(api.call("PUT", path, {}), 404, "unknown-service", "service")
    problem(api.call("DELETE", path), 404, "unknown-service", "service")


def test_only_json_is_taken(api: Api) -> None:
    response = api.call("PUT", "services/orders/policy", b"retries: 1", Content_Type="text/yaml")
    problem(response, 415, "unsupported-media-type")


def test_methods_that_are_not_there(api: Api) -> None:
    response = api.call("POST", "services/orders/policy", {})
    problem(response, 405, "method-not-allowed")


def test_health_reports(api: Api) -> None:
    path = "tasks/aa/health"
    assert api.call("POST", path, {"status": "UNKNOWN"}).json_body == {"outcome": "ignored"}
    assert api.call("POST", path, {"status": "UNHEALTHY"}).json_body == {"outcome": "applied"}
    assert api.call("POST", path, {"status": "UNHEALTHY"}).json_body == {"outcome": "unchanged"}
    old = {"status": "HEALTHY", "observed_at": "2020-01-01T00:00:00Z"}
    assert api.call("POST", path, old).json_body == {"outcome": "stale"}
    api.publish(tasks=frozenset({"aa"}))
    states = {each["id"]: each["state"] for each in api.get("services/orders").json_body["endpoints"]}
    assert states == {"aa/http": "unhealthy", "bb/http": "ready"}


FINDING = {
    "code": "TRM0301",
    "level": "error",
    "where": "orders:80",
    "what": "Two listeners want the port.",
    "remedy": "Give the app another port.",
}


def test_a_task_that_must_stop_drains_for_good(api: Api) -> None:
    path = "tasks/aa/health"
    stop = {"status": "UNKNOWN", "desired_status": "STOPPED"}
    assert api.call("POST", path, stop).json_body == {"outcome": "applied"}
    assert api.call("POST", path, stop).json_body == {"outcome": "unchanged"}
    back = {"status": "HEALTHY", "desired_status": "RUNNING"}
    assert api.call("POST", path, back).json_body == {"outcome": "applied"}
    api.publish(tasks=frozenset({"aa"}))
    states = {each["id"]: each["state"] for each in api.get("services/orders").json_body["endpoints"]}
    assert states == {"aa/http": "draining", "bb/http": "ready"}
    assert api.get("tasks/aa").json_body["state"] == "draining"


def test_findings_stand_on_the_task_and_its_service_until_the_next_ones(api: Api) -> None:
    path = "tasks/aa/health"
    found = {"status": "UNKNOWN", "findings": [FINDING]}
    assert api.call("POST", path, found).json_body == {"outcome": "applied"}
    assert api.call("POST", path, found).json_body == {"outcome": "unchanged"}
    assert api.call("POST", path, {"status": "HEALTHY"}).json_body == {"outcome": "applied"}
    assert api.get("tasks/aa").json_body["findings"] == [FINDING]
    assert api.get("tasks/bb").json_body["findings"] == []
    assert api.get("services/orders").json_body["findings"] == [{"task": "aa", **FINDING}]
    assert api.call("POST", path, {"status": "HEALTHY", "findings": []}).json_body == {"outcome": "applied"}
    assert api.get("services/orders").json_body["findings"] == []


def test_what_is_known_of_a_task(api: Api) -> None:
    api.call("POST", "tasks/aa/health", {"status": "UNHEALTHY"})
    found = api.get("tasks/aa").json_body
    assert found["arn"].endswith("/aa")
    assert (found["id"], found["state"], found["health"]) == ("aa", "unhealthy", "UNHEALTHY")
    assert found["services"] == ["orders"]
    problem(api.get("tasks/zz"), 404, "unknown-task", "task")


def test_a_clock_ahead_does_not_win_for_long(api: Api) -> None:
    ahead = {"status": "UNHEALTHY", "observed_at": "2999-01-01T00:00:00Z"}
    assert api.call("POST", "tasks/aa/health", ahead).json_body == {"outcome": "applied"}
    record = api.store.tasks.get(api.namespace, "aa")
    assert record is not None
    assert record.health_at is not None
    assert record.health_at <= time.time() + 5.5


@pytest.mark.parametrize(
    ("report", "field"),
    [
        ([], "$"),
        ({}, "$.status"),
        ({"status": "healthy"}, "$.status"),
        ({"status": "HEALTHY", "observed_at": "now"}, "$.observed_at"),
        ({"status": "HEALTHY", "observed_at": 5}, "$.observed_at"),
        ({"status": []}, "$.status"),
        ({"status": "HEALTHY", "desired_status": "STOP"}, "$.desired_status"),
        ({"status": "HEALTHY", "findings": {}}, "$.findings"),
        ({"status": "HEALTHY", "findings": [FINDING] * 17}, "$.findings"),
        ({"status": "HEALTHY", "findings": ["TRM0301"]}, "$.findings[0]"),
        ({"status": "HEALTHY", "findings": [FINDING, FINDING | {"code": "TRM03011"}]}, "$.findings[1].code"),
        ({"status": "HEALTHY", "findings": [FINDING | {"level": "bad"}]}, "$.findings[0].level"),
        ({"status": "HEALTHY", "findings": [FINDING | {"where": "x" * 121}]}, "$.findings[0].where"),
        ({"status": "HEALTHY", "findings": [FINDING | {"remedy": None}]}, "$.findings[0].remedy"),
        ({"status": "HEALTHY", "findings": [FINDING | {"what": "\ud800"}]}, "$.findings[0].what"),
        ({"status": "HEALTHY", "observed_at": "2026-11-22T12:00:00"}, "$.observed_at"),
    ],
)
def test_wrong_health_reports(api: Api, report: Any, field: str) -> None:
    problem(api.call("POST", "tasks/aa/health", report), 422, "bad-health-report", field)


def test_health_reports_of_unknown_tasks(api: Api) -> None:
    problem(api.call("POST", "tasks/zz/health", {"status": "HEALTHY"}), 404, "unknown-task", "task")
    problem(api.call("POST", "tasks/z_z/health", {"status": "HEALTHY"}), 400, "bad-parameter", "task")


def test_a_snapshot_that_cannot_be_read_whole_is_tried_later(api: Api, deployed: Deployed) -> None:
    items = aws.client("dynamodb", deployed.dynamodb)
    head = api.store.snapshots.head(api.namespace, consistent=True)
    assert head is not None
    for number, places in head.parts.items():
        key = {"pk": {"S": f"NAMESPACE#{api.namespace}"}, "sk": {"S": part_key(number, places.base.slot)}}
        items.delete_item(TableName=deployed.table, Key=key)
    response = api.get("snapshot")
    problem(response, 503, "busy")
    assert response.headers["retry-after"] == "1"


def test_the_description_is_served(api: Api) -> None:
    body = api.get("/v1/openapi.json").json_body
    assert body["openapi"] == "3.1.0"
    assert "/v1/namespaces/{namespace}/snapshot" in body["paths"]


def test_a_service_shows_since_when_its_policy_holds(api: Api) -> None:
    declare(api.store, "stock", api.namespace)
    api.publish(services=frozenset({"stock"}))
    before = api.get("services/stock").json_body
    api.store.services.set_policy(api.namespace, "stock", {"retries": {"count": 1}}, None, now=NOW)
    after = api.get("services/stock").json_body
    assert [(each["policy_revision"], each["policy_since"]) for each in (before, after)] == [(0, None), (1, iso(NOW))]


def test_a_service_shows_its_conflicts_and_history(api: Api) -> None:
    declare(api.store, "stock", api.namespace, name="stock:2", at=2.0, ecs_service="example/stock")
    api.store.services.declare(api.namespace, "twin", declaration("stock"), NOW, task("aa"))
    api.publish(services=frozenset({"twin", "stock"}))
    happened = parse_service_event(event("deployment_failed"))
    assert happened is not None
    at = float(int(time.time()) - 60)  # whole: the table keeps milliseconds
    api.store.history.add(dataclasses.replace(happened, service="example/stock", at=at))
    stock, twins = (api.get(f"services/{name}").json_body for name in ("stock", "twin"))
    assert (stock["conflicts"], stock["ecs_service"]) == ([], "example/stock")
    assert stock["history"] == [
        {
            "at": iso(at),
            "kind": "ECS Deployment State Change",
            "event": "SERVICE_DEPLOYMENT_FAILED",
            "level": "ERROR",
            "deployment": "ecs-svc/8646900195280463695",
            "reason": "ECS deployment circuit breaker: task failed to start.",
        }
    ]
    assert {each["holder"] for each in twins["conflicts"]} == {"stock"}
    assert (twins["aliases"], twins["history"]) == ([], [])


def test_who_may_offer_a_service_is_read_and_changed(api: Api) -> None:
    owners = [
        "arn:aws:ecs:us-east-1:123456789012:service/example/orders",
        "arn:aws:iam::123456789012:role/orders",
    ]
    first = api.get("services/orders/owners")
    assert first.json_body == {"owners": owners, "allowed": [], "refused": []}
    other = "arn:aws:ecs:us-east-1:123456789012:service/sandbox/evil"
    api.store.owners.refuse(api.namespace, Claim("orders", other, "evil:1", "it belongs to others", time.time()))
    listed = api.get("services").json_body["services"][0]["refused"]
    assert [(each["claimant"], each["task_definition"], each["reason"]) for each in listed] == [
        (other, "evil:1", "it belongs to others")
    ]
    assert api.get("services/orders").json_body["refused"] == listed
    # Who reads sees the new claim, who writes need not have seen it.
    seen = api.call("GET", "services/orders/owners", If_None_Match=first.headers["etag"])
    assert (seen.status_code, seen.json_body["refused"]) == (200, listed)
    changed = api.call("PUT", "services/orders/owners", {"allowed": [other]}, If_Match=first.headers["etag"])
    assert changed.json_body == {"owners": owners, "allowed": [other], "refused": listed}
    stale = api.call("PUT", "services/orders/owners", {"allowed": []}, If_Match=seen.headers["etag"])
    assert "at revision 1, not 0" in problem(stale, 412, "precondition-failed", "If-Match")
    foreign = api.call("PUT", "services/orders/owners", {"allowed": []}, If_Match='"1"')
    problem(foreign, 412, "precondition-failed", "If-Match")
    assert api.get("services/orders/owners").json_body == changed.json_body
    again = api.call("PUT", "services/orders/owners", {"allowed": [other]}, If_Match=changed.headers["etag"])
    assert again.status_code == 200
    assert api.call("PUT", "services/orders/owners", {"allowed": [other]}, If_Match="*").status_code == 200
    problem(api.call("PUT", "services/none/owners", {"allowed": []}), 404, "unknown-service", "service")
    bodies: list[dict[str, Any]] = [{}, {"allowed": ["evil"]}, {"allowed": [other], "owners": []}]
    for body in bodies:
        assert api.call("PUT", "services/orders/owners", body).json_body["type"] == "urn:tramo:problem:bad-owners"


def test_the_rules_of_a_namespace_are_read_and_changed(api: Api) -> None:
    first = api.get("rules")
    assert (first.json_body, first.headers["etag"]) == ({}, '"0"')
    rules = {"clusters": ["prod"], "accounts": ["123456789012"], "dns_suffixes": ["example.com"]}
    changed = api.call("PUT", "rules", rules, if_match='"0"')
    assert (changed.json_body, changed.headers["etag"]) == (rules, '"1"')
    assert api.get("rules").json_body == rules
    problem(api.call("PUT", "rules", {}, if_match='"0"'), 412, "precondition-failed", "If-Match")
    bodies: list[dict[str, Any]] = [{"clusters": "prod"}, {"accounts": ["1"]}, {"dns_suffixes": [".com"]}, {"x": []}]
    for body in bodies:
        assert api.call("PUT", "rules", body).json_body["type"] == "urn:tramo:problem:bad-rules"


GETS = [
    "/v1/health",
    "/v1/openapi.json",
    "/v1/namespaces",
    "services",
    "services/orders",
    "services/orders/policy",
    "services/orders/owners",
    "rules",
    "snapshot",
]


@pytest.mark.parametrize("path", GETS)
def test_every_get_has_an_etag(api: Api, path: str) -> None:
    first = api.get(path)
    tag = first.headers["etag"]
    assert (first.status_code, api.get(path).headers["etag"]) == (200, tag)
    for header in (tag, f"W/{tag}", f'"other", {tag}'):
        again = api.get(path, If_None_Match=header)
        assert (again.status_code, again.body, again.headers["etag"]) == (304, b"", tag)
    assert api.get(path, If_None_Match='"other"').status_code == 200


def test_the_etag_of_a_service_changes_with_its_endpoints(api: Api) -> None:
    tag = api.get("services/orders").headers["etag"]
    api.task("cc")
    assert api.get("services/orders", If_None_Match=tag).status_code == 200


@pytest.mark.parametrize(
    ("caller", "allowed"),
    [
        (session("aa"), True),
        (session("bb"), False),
        (session("aa2"), False),
        (session("somebody/aa"), False),
        (session("aa").replace("arn:aws:", "arn:aws-cn:"), True),
        (USER, False),
        ("arn:aws:iam::123456789012:user/aa", False),
        ("arn:aws:iam::123456789012:root", False),
        ("arn:aws:sts::123456789012:federated-user/aa", False),
        ("aa", False),
        (None, False),
    ],
)
def test_a_task_may_only_report_its_own_health(api: Api, caller: str | None, allowed: bool) -> None:
    response = api.call("POST", "tasks/aa/health", {"status": "UNHEALTHY"}, caller=caller)
    if allowed:
        assert response.json_body == {"outcome": "applied"}
    else:
        assert "may only report its own health" in problem(response, 403, "not-this-task", "task")
        found = api.store.tasks.get(api.namespace, "aa")
        assert found is not None
        assert found.health is None


@pytest.mark.parametrize(
    ("caller", "told"),
    [
        (session("aa", role="ecsTaskRole"), "role ecsTaskRole of account 123456789012"),
        (session("aa").replace("123456789012", "999999999999"), "role orders of account 999999999999"),
    ],
)
def test_a_task_reports_with_its_own_role(api: Api, caller: str, told: str) -> None:
    response = api.call("POST", "tasks/aa/health", {"status": "UNHEALTHY"}, caller=caller)
    assert problem(response, 403, "not-this-task", "task") == (
        "a task reports with its own task role, which is role orders of account 123456789012; the caller is " + told
    )
    found = api.store.tasks.get(api.namespace, "aa")
    assert found is not None
    assert found.health is None


def test_nobody_reports_for_a_task_without_a_role(api: Api) -> None:
    api.task("cc", task_role=None)
    response = api.call("POST", "tasks/cc/health", {"status": "UNHEALTHY"})
    assert "its definition has no taskRoleArn" in problem(response, 403, "not-this-task", "task")


def test_the_path_of_a_role_is_not_in_its_sessions(api: Api) -> None:
    api.task("cc", task_role="arn:aws:iam::123456789012:role/team/shop/orders")
    assert api.call("POST", "tasks/cc/health", {"status": "UNHEALTHY"}).json_body == {"outcome": "applied"}


def test_the_check_of_the_task_can_be_turned_off(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    import api.app as module

    monkeypatch.setattr(module, "settings", dataclasses.replace(module.settings, checks_tasks=False))
    response = api.call("POST", "tasks/aa/health", {"status": "UNHEALTHY"}, caller=session("bb"))
    assert response.status_code == 200


@pytest.mark.parametrize("body", [b"{", b"NaN", b'{"status": NaN}', b"\xff\xfe", b"", b"[" * 15000])
def test_a_body_that_is_not_json(api: Api, body: bytes) -> None:
    for method, path in (("POST", "tasks/aa/health"), ("PUT", "services/orders/policy")):
        problem(api.call(method, path, body), 400, "bad-body", "$")


def test_bodies_have_a_largest_size(api: Api) -> None:
    body = b'{"status": "HEALTHY"' + b" " * 16 * 1024 + b"}"
    for method, path in (("POST", "tasks/aa/health"), ("PUT", "services/orders/policy")):
        problem(api.call(method, path, body), 413, "body-too-large", "$")


def test_bodies_come_in_base64_or_plain(api: Api) -> None:
    headers = {"Content-Type": "application/json"}
    path = f"/v1/namespaces/{api.namespace}/services/orders/policy"
    for binary in (True, False):
        assert api.gateway.call("PUT", path, b"{}", headers, binary=binary).status_code == 200


def test_parameters_have_bounds(api: Api) -> None:
    many = ",".join(f"s{number}" for number in range(501))
    assert "501 names" in problem(api.get(f"snapshot?services={many}"), 400, "bad-parameter", "services")
    problem(api.get("services?next=a%2Fb"), 400, "bad-parameter", "next")
    problem(api.get(f"services?next={'a' * 65}"), 400, "bad-parameter", "next")
    assert names(api.get("services?next=")) == ["orders", "stock"]
    described = parameter(api.get("/v1/openapi.json").json_body, "/v1/namespaces/{namespace}/services", "next")
    assert re.fullmatch(described["schema"]["pattern"], "")


def test_errors_that_chalice_makes_itself_are_problems(api: Api) -> None:
    assert "no route /v1/nowhere" in problem(api.get("/v1/nowhere"), 404, "unknown-route")
    assert "/v1/nowhere" not in api.get("/v1/openapi.json").json_body["paths"]
    refused = api.call("POST", "snapshot", {})
    problem(refused, 405, "method-not-allowed")
    assert refused.headers["allow"] == "GET"


def test_an_error_inside_is_a_problem_without_its_cause(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Any:
        raise RuntimeError("a secret")

    monkeypatch.setattr("api.reading.service_page", fail)
    detail = problem(api.get("services"), 500, "internal-error")
    assert "secret" not in detail


def test_a_service_without_tasks_is_forgotten_with_its_owners_policy_and_aliases(api: Api) -> None:
    api.call("PUT", "services/stock/policy", {"retries": {"count": 1}})
    api.publish(services=frozenset({"stock"}))
    revision = api.get("snapshot").json_body["revision"]
    answer = api.call("DELETE", "services/stock")
    assert (answer.status_code, answer.body) == (204, b"")
    api.publish(services=frozenset({"stock"}))
    assert names(api.get("snapshot")) == ["orders"]
    assert api.get(f"snapshot?since={api.epoch}-{revision}").json_body["removed"] == ["stock"]
    for path in ("services/stock", "services/stock/policy", "services/stock/owners"):
        problem(api.get(path), 404, "unknown-service", "service")
    assert set(api.store.services.aliases.all(api.namespace).values()) == {"orders"}
    problem(api.call("DELETE", "services/stock"), 404, "unknown-service", "service")


def test_a_service_with_tasks_is_not_forgotten(api: Api) -> None:
    detail = problem(api.call("DELETE", "services/orders"), 409, "has-tasks", "service")
    assert detail == "orders has 2 tasks; stop them first, or they register it again"
    assert names(api.get("snapshot")) == ["orders", "stock"]
