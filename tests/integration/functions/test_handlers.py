"""The handlers as Lambda calls them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from publisher.app import NothingPublishedError, failures_among
from registry.metric_names import METRICS
from registry.publishing import PublishConflictError
from tests.integration.functions.conftest import Context, Deployed
from tests.support.control_plane import aws
from tests.support.control_plane.ecs import event, life, task_definition
from tests.support.waiting import until

ROOT = Path(__file__).parents[3]


def metrics(output: str) -> dict[str, float]:
    """Return the metrics in EMF lines."""
    found: dict[str, float] = {}
    for line in output.splitlines():
        document = json.loads(line) if line.startswith('{"_aws"') else {}
        for directive in document.get("_aws", {}).get("CloudWatchMetrics", ()):
            assert directive["Namespace"] == "Tramo"
            assert directive["Dimensions"] == [["service"]]
            for metric in directive["Metrics"]:
                found[metric["Name"]] = sum(document[metric["Name"]])
    return found


def gateway_event(method: str, resource: str, **parameters: str) -> dict[str, Any]:
    """Return what API Gateway passes for a route."""
    return {
        "resource": resource,
        "path": resource.format(**parameters),
        "httpMethod": method,
        "headers": {"Accept": "application/json"},
        "multiValueQueryStringParameters": None,
        "pathParameters": parameters,
        "stageVariables": None,
        "requestContext": {"requestId": "r-1", "resourcePath": resource, "httpMethod": method},
        "body": None,
        "isBase64Encoded": False,
    }


def registrar_logger() -> Any:
    from registrar.app import log

    return log


def registered(deployed: Deployed, namespace: str) -> str:
    """Register a task definition in moto's ECS and return its ARN."""
    definition = task_definition(namespace=namespace)
    ecs = aws.client("ecs", deployed.endpoint)
    answer = ecs.register_task_definition(
        family="orders",
        taskRoleArn=definition["taskRoleArn"],
        networkMode="awsvpc",
        containerDefinitions=[{**each, "memory": 128} for each in definition["containerDefinitions"]],
    )
    return str(answer["taskDefinition"]["taskDefinitionArn"])


def test_from_event_to_snapshot(deployed: Deployed, capfd: pytest.CaptureFixture[str]) -> None:
    arn = registered(deployed, "handlers.local")
    each = life("f00d")[3]
    each["detail"]["taskDefinitionArn"] = arn
    deployed.registrar(each, deployed.context)
    assert metrics(capfd.readouterr().out) == {"EventsApplied": 1}
    keys = registrar_logger().get_current_keys()
    assert (keys["correlation_id"], keys["task"]) == (each["id"], each["detail"]["taskArn"])

    assert deployed.publish("handlers.local") == {"batchItemFailures": []}
    counted = metrics(capfd.readouterr().out)
    assert counted["SnapshotsPublished"] >= 1
    assert counted["PublishConflicts"] == 0
    assert 0 < counted["PublishTime"] < 60_000

    resource = "/v1/namespaces/{namespace}/snapshot"
    answer = deployed.api(gateway_event("GET", resource, namespace="handlers.local"), deployed.context)
    assert answer["statusCode"] == 200
    (service,) = json.loads(answer["body"])["services"]
    assert [endpoint["id"] for endpoint in service["endpoints"]] == ["f00d/http"]
    assert metrics(capfd.readouterr().out) == {}

    resource = "/v1/namespaces/{namespace}/tasks/{task}/health"
    report = gateway_event("POST", resource, namespace="handlers.local", task="f00d")
    report["headers"] = {"content-type": "application/json"}
    report["requestContext"]["identity"] = {"userArn": "arn:aws:sts::123456789012:assumed-role/orders/f00d"}
    report["body"] = '{"status": "HEALTHY"}'
    assert deployed.api(report, deployed.context)["statusCode"] == 200
    assert metrics(capfd.readouterr().out) == {"HealthReports": 1}

    counts = deployed.reconciler({}, deployed.context)
    assert counts["next_cluster"] is None
    swept = metrics(capfd.readouterr().out)
    assert set(swept) == {each.name for each in METRICS if each.function == "reconciler"}
    assert swept["SnapshotServices"] >= 1
    assert swept["SnapshotEndpoints"] >= 1


def test_where_a_sweep_stopped_is_remembered_in_the_table(deployed: Deployed) -> None:
    from reconciler.app import store

    ecs = aws.client("ecs", deployed.endpoint)
    for name in ("resume-a", "resume-b"):
        ecs.create_cluster(clusterName=name)
    hurried = Context(milliseconds=0)
    first = deployed.reconciler({}, hurried)["next_cluster"]
    assert first is not None
    assert first == store.sweeps.next_cluster()
    assert deployed.reconciler({}, hurried)["next_cluster"] not in (None, first)
    assert deployed.reconciler({}, deployed.context)["next_cluster"] is None
    assert store.sweeps.next_cluster() is None


def test_input_that_is_no_task_event_ends_well(
    deployed: Deployed, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    deployed.registrar({**event("service_action"), "detail-type": "ECS Something Else"}, deployed.context)
    assert metrics(capfd.readouterr().out) == {"EventsMalformed": 1}
    (line,) = [each for each in caplog.records if each.levelname == "ERROR"]
    assert line.__dict__["field"] == "detail-type"


def test_an_unknown_definition_ends_well(deployed: Deployed, capfd: pytest.CaptureFixture[str]) -> None:
    each = life("f00e")[3]
    each["detail"]["taskDefinitionArn"] = each["detail"]["taskDefinitionArn"].replace("orders:7", "ghost:1")
    deployed.registrar(each, deployed.context)
    assert metrics(capfd.readouterr().out) == {"EventsRejected": 1}


def record(number: int, namespace: str, sk: str) -> dict[str, Any]:
    keys = {"pk": {"S": f"NAMESPACE#{namespace}"}, "sk": {"S": sk}}
    return {"eventName": "MODIFY", "dynamodb": {"SequenceNumber": str(number), "Keys": keys}}


BAD = "n" * 3000
"""A namespace that cannot be published: DynamoDB refuses keys above 2048 bytes."""


def test_a_namespace_that_can_never_be_published_does_not_hold_up_its_shard(
    deployed: Deployed, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    batch = [record(1, BAD, "TASK#bb"), record(2, "good.local", "TASK#aa"), record(3, BAD, "SERVICE#x")]
    assert deployed.publisher({"Records": batch}, deployed.context) == {"batchItemFailures": []}
    counted = metrics(capfd.readouterr().out)
    assert (counted["SnapshotsPublished"], counted["PublishFailures"]) == (1, 1)
    assert [each.__dict__["namespace"] for each in caplog.records if each.levelname == "ERROR"] == [BAD]
    assert deployed.publisher({"Records": batch[:1]}, deployed.context) == {"batchItemFailures": []}


def test_the_records_of_a_namespace_that_fails_for_now_come_again(deployed: Deployed) -> None:
    batch = [record(1, "good.local", "TASK#aa"), record(2, "busy", "TASK#bb"), record(3, "good.local", "SERVICE#x")]
    busy = {"busy": PublishConflictError("for a test")}
    assert failures_among(batch, busy) == {"batchItemFailures": [{"itemIdentifier": "2"}]}
    with pytest.raises(NothingPublishedError):
        failures_among(batch[1:2], busy)


def test_records_of_our_own_output_publish_nothing(deployed: Deployed, capfd: pytest.CaptureFixture[str]) -> None:
    own = [record(1, "x.local", "HEAD"), record(2, "x.local", "PART#07"), record(3, "x.local", "VIP#127.254.0.2")]
    assert deployed.publisher({"Records": own}, deployed.context) == {"batchItemFailures": []}
    assert metrics(capfd.readouterr().out) == {"SnapshotsPublished": 0, "PublishFailures": 0}


def test_chalices_local_server_serves_the_api(deployed: Deployed, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "functions"), "AWS_ENDPOINT_URL": deployed.endpoint}
    chalice = Path(sys.executable).with_name("chalice")
    command: list[str | Path] = [chalice, "--project-dir", ROOT / "functions" / "api", "local", "--no-autoreload"]
    command += ["--port", str(port)]
    output = tmp_path / "chalice.log"
    with output.open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:

        def health() -> Any:
            assert process.poll() is None, output.read_text()
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/health") as answer:
                    return json.load(answer)
            except OSError:
                return None

        assert until(health, 30, "Chalice's local server to answer") == {"status": "ok"}
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/namespaces") as answer:
            assert "namespaces" in json.load(answer)
    finally:
        process.terminate()
        process.wait(timeout=60)
