"""The API through Chalice's test client, over a table in moto."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from chalice.test import Client, HTTPResponse

from publisher.build import Changes, Publisher
from registry.store import Store
from tests.integration.functions.conftest import Deployed
from tests.support import aws
from tests.support.building import offer, task
from tests.support.schemas import check

NOW = 1_795_345_200.0

# Chalice says of each request that its test gateway does not check IAM.
pytestmark = pytest.mark.filterwarnings("ignore:IAMAuthorizer is not a supported in local mode:UserWarning")


class Api:
    """A namespace with the services orders (two tasks) and stock (none), and a client."""

    def __init__(self, client: Client, store: Store) -> None:
        self._client = client
        self.store = store
        self.namespace = f"n{uuid.uuid4().hex[:8]}.local"
        self.publisher = Publisher(store, clock=lambda: NOW, pause=lambda _: None)
        for name in ("orders", "stock"):
            store.services.declare(self.namespace, offer(name), 1.0, NOW)
        store.tasks.ensure_namespace(self.namespace, NOW)
        self.task("aa")
        self.task("bb")

    def task(self, task_id: str, service: str = "orders", **changes: Any) -> None:
        self.store.tasks.apply(task(task_id, service, namespace=self.namespace, **changes))
        self.publish(tasks=frozenset({task_id}))

    def publish(self, **changes: Any) -> None:
        self.publisher.publish(self.namespace, Changes(**changes))

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> HTTPResponse:
        """Call a path below the namespace (or an absolute one)."""
        if not path.startswith("/v1"):
            path = f"/v1/namespaces/{self.namespace}/{path}"
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        raw = b""
        if body is not None:
            raw = body if isinstance(body, bytes) else json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/json")
        found: HTTPResponse = self._client.http.request(method, path, headers=sent, body=raw)
        return found

    def get(self, path: str, **headers: str) -> HTTPResponse:
        return self.call("GET", path, **headers)


@pytest.fixture
def api(deployed: Deployed) -> Iterator[Api]:
    from api.app import app, metrics, store

    with Client(app) as client:
        yield Api(client, store)
    metrics.clear_metrics()  # the handler would have written them


def problem(response: HTTPResponse, status: int, kind: str, field: str | None = None) -> str:
    """Check a problem document and return its detail."""
    assert response.status_code == status, response.body
    assert response.headers["Content-Type"] == "application/problem+json"
    body = json.loads(response.body)
    assert (body["type"], body["status"]) == (f"urn:tramo:problem:{kind}", status)
    assert body.get("field") == field
    assert body["title"]
    return str(body["detail"])


def names(response: HTTPResponse) -> list[str]:
    assert response.status_code == 200, response.body
    return [each["name"] for each in response.json_body["services"]]


def test_health_needs_nothing(api: Api) -> None:
    response = api.get("/v1/health")
    assert (response.status_code, response.json_body) == (200, {"status": "ok"})
    assert response.headers["Content-Type"] == "application/json"


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
    assert response.headers["ETag"] == '"2"'
    problem(api.get("services/ghost"), 404, "unknown-service", "service")
    problem(api.get("services/Ghost"), 400, "bad-parameter", "service")


def test_a_snapshot_and_its_etag(api: Api) -> None:
    response = api.get("snapshot")
    check("snapshot", response.json_body)
    assert names(response) == ["orders", "stock"]
    assert (response.headers["ETag"], response.headers["Tramo-Poll-Seconds"]) == ('"2"', "5")


@pytest.mark.parametrize("header", ['"2"', 'W/"2"', '"1", "2"', ' "2"'])
def test_an_unchanged_snapshot_is_not_sent_again(api: Api, header: str) -> None:
    response = api.get("snapshot", If_None_Match=header)
    assert (response.status_code, response.body) == (304, b"")
    assert (response.headers["ETag"], response.headers["Tramo-Poll-Seconds"]) == ('"2"', "5")


@pytest.mark.parametrize("header", ['"1"', '"3"', "2", '"two"', "*"])
def test_another_snapshot_is_sent(api: Api, header: str) -> None:
    assert names(api.get("snapshot", If_None_Match=header)) == ["orders", "stock"]


def test_a_delta(api: Api) -> None:
    api.task("cc", "stock")
    response = api.get("snapshot?since=2")
    check("snapshot", response.json_body)
    assert names(response) == ["stock"]
    body = response.json_body
    assert (body["revision"], body["since"], body["removed"]) == (3, 2, [])
    assert names(api.get("snapshot?since=3")) == []
    assert names(api.get("snapshot?since=1")) == ["orders", "stock"]


@pytest.mark.parametrize("since", ["0", "99"])
def test_no_delta_from_what_was_never_published(api: Api, since: str) -> None:
    response = api.get(f"snapshot?since={since}")
    assert names(response) == ["orders", "stock"]
    assert "since" not in response.json_body


@pytest.mark.parametrize("since", ["x", "-1", "1.5", "", "9" * 20])
def test_since_is_a_number(api: Api, since: str) -> None:
    problem(api.get(f"snapshot?since={since}"), 400, "bad-parameter", "since")


def test_only_some_services(api: Api) -> None:
    assert names(api.get("snapshot?services=stock,ghost")) == ["stock"]
    assert names(api.get("snapshot?services=")) == []
    api.task("cc", "stock")
    response = api.get("snapshot?services=orders&since=2")
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
    assert (empty.json_body, empty.headers["ETag"]) == ({}, '"0"')
    policy = {"retries": {"count": 1, "on": ["503"]}, "timeouts": {"connect_seconds": 0.25}}
    written = api.call("PUT", path, policy, If_Match='"0"')
    assert (written.status_code, written.json_body, written.headers["ETag"]) == (200, policy, '"1"')
    assert api.get(path).json_body == policy
    stale = api.call("PUT", path, {}, If_Match='"0"')
    assert "at revision 1, not 0" in problem(stale, 412, "precondition-failed", "If-Match")
    assert stale.headers["ETag"] == '"1"'
    api.publish(services=frozenset({"orders"}))
    assert api.get("services/orders").json_body["policy"] == policy
    problem(api.call("DELETE", path, If_Match='"7"'), 412, "precondition-failed", "If-Match")
    gone = api.call("DELETE", path, If_Match='"1"')
    assert (gone.status_code, gone.body) == (204, b"")
    assert (api.get(path).json_body, api.get(path).headers["ETag"]) == ({}, '"2"')
    assert api.call("PUT", path, policy).status_code == 200
    assert api.call("PUT", path, {}, If_Match="*").headers["ETag"] == '"4"'


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
    old = {"status": "HEALTHY", "observed_at": "2020-01-01T00:00:00Z"}
    assert api.call("POST", path, old).json_body == {"outcome": "stale"}
    api.publish(tasks=frozenset({"aa"}))
    states = {each["id"]: each["state"] for each in api.get("services/orders").json_body["endpoints"]}
    assert states == {"aa/http": "unhealthy", "bb/http": "ready"}


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
        ({"status": "HEALTHY", "observed_at": "2026-11-22T12:00:00"}, "$.observed_at"),
    ],
)
def test_wrong_health_reports(api: Api, report: Any, field: str) -> None:
    problem(api.call("POST", "tasks/aa/health", report), 422, "bad-health-report", field)


def test_health_reports_of_unknown_tasks(api: Api) -> None:
    problem(api.call("POST", "tasks/zz/health", {"status": "HEALTHY"}), 404, "unknown-task", "task")
    problem(api.call("POST", "tasks/z_z/health", {"status": "HEALTHY"}), 400, "bad-parameter", "task")


def test_a_snapshot_that_cannot_be_read_whole_is_tried_later(api: Api, deployed: Deployed) -> None:
    items = aws.client("dynamodb", deployed.endpoint)
    head = api.store.snapshots.head(api.namespace, consistent=True)
    assert head is not None
    for number in head.parts:
        key = {"pk": {"S": f"NAMESPACE#{api.namespace}"}, "sk": {"S": f"PART#{number:02d}"}}
        items.delete_item(TableName=deployed.table, Key=key)
    response = api.get("snapshot")
    problem(response, 503, "busy")
    assert response.headers["Retry-After"] == "1"


def test_the_description_is_served(api: Api) -> None:
    body = api.get("/v1/openapi.json").json_body
    assert body["openapi"] == "3.1.0"
    assert "/v1/namespaces/{namespace}/snapshot" in body["paths"]
