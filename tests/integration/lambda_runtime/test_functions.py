"""The built functions with the permissions of the template: events over HTTP, effects in DynamoDB."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from infra.local import pattern
from tests.support.control_plane import aws, ecs, sam
from tests.support.control_plane.gateway import session
from tests.support.control_plane.lambda_runtime import FunctionError
from tests.support.control_plane.schemas import check

if TYPE_CHECKING:
    from tests.integration.lambda_runtime.conftest import Stack

SCHEDULED = {"source": "aws.events", "detail-type": "Scheduled Event", "id": "a7b1", "detail": {}}
# What no call of a function's own needs: Lambda and the traces' daemon use these.
OF_LAMBDA = {
    "sqs:SendMessage",
    "logs:CreateLogStream",
    "logs:PutLogEvents",
    "xray:PutTraceSegments",
    "xray:PutTelemetryRecords",
    "dynamodb:DescribeStream",
    "dynamodb:GetRecords",
    "dynamodb:GetShardIterator",
    "dynamodb:ListStreams",
}
# What this task's way does not need: services that are forgotten or unused for days, and the feed's whole documents,
# for which the functions have no bucket here.
OF_OTHER_WAYS = {"dynamodb:DeleteItem", "s3:PutObject"}


def as_lambda_passes(value: Any) -> Any:
    """Return a record of DynamoDB's stream as JSON has it: seconds for times, base64 for bytes."""
    match value:
        case dict():
            return {key: as_lambda_passes(each) for key, each in value.items()}
        case list():
            return [as_lambda_passes(each) for each in value]
        case datetime():
            return value.timestamp()
        case bytes():
            return base64.b64encode(value).decode()
    return value


def publish(stack: Stack, namespace: str) -> Any:
    """Bring a namespace's part of the table's stream to the publisher, through the filter of its event source."""
    (source,) = sam.resources("AWS::Lambda::EventSourceMapping").values()
    (only,) = source["FilterCriteria"]["Filters"]
    records = as_lambda_passes(aws.stream_records(stack.dynamodb, stack.table))
    selected = [
        each
        for each in records
        if pattern.matches(json.loads(only["Pattern"]), each)
        and each["dynamodb"]["Keys"]["pk"] == {"S": f"NAMESPACE#{namespace}"}
    ]
    assert selected
    return stack.publisher.invoke({"Records": selected})


def call(
    stack: Stack, method: str, resource: str, body: Any = None, headers: dict[str, str] | None = None, **names: str
) -> Any:
    """Call the API as API Gateway does (AWS_PROXY of a REST API) and return its answer."""
    headers = {"Content-Type": "application/json", **(headers or {})}
    return stack.api.invoke(
        {
            "resource": resource,
            "path": resource.format(**names),
            "httpMethod": method,
            "headers": headers,
            "multiValueHeaders": {name: [value] for name, value in headers.items()},
            "queryStringParameters": None,
            "multiValueQueryStringParameters": None,
            "pathParameters": names or None,
            "stageVariables": None,
            "requestContext": {
                "resourcePath": resource,
                "httpMethod": method,
                "path": "/live" + resource.format(**names),
                "stage": "live",
                "requestId": "4bbe0da6",
                "identity": {"userArn": session(names.get("task", "operator"))},
            },
            "body": None if body is None else json.dumps(body),
            "isBase64Encoded": False,
        }
    )


def snapshot(stack: Stack, namespace: str) -> dict[str, Any]:
    answer = call(stack, "GET", "/v1/namespaces/{namespace}/snapshot", namespace=namespace)
    assert answer["statusCode"] == 200, answer
    document: dict[str, Any] = json.loads(answer["body"])
    check("snapshot", document)
    return document


def task(stack: Stack, namespace: str, task_id: str) -> dict[str, Any]:
    key = {"pk": {"S": f"NAMESPACE#{namespace}"}, "sk": {"S": f"TASK#{task_id}"}}
    item = aws.client("dynamodb", stack.dynamodb).get_item(TableName=stack.table, Key=key, ConsistentRead=True)
    found: dict[str, Any] = item.get("Item", {})
    return found


def know(stack: Stack, name: str, namespace: str, network_mode: str = "awsvpc") -> None:
    """Register a task definition with ECS."""
    definition = ecs.task_definition(name, namespace=namespace, network_mode=network_mode)
    stack.ecs.definitions[definition["taskDefinitionArn"]] = definition


@contextmanager
def away(stack: Stack, service: str) -> Iterator[None]:
    """Have a service of AWS fail for a while."""
    stack.door.away.add(service)
    try:
        yield
    finally:
        stack.door.away.discard(service)


def test_a_tasks_way_and_the_permissions_that_it_needs(stack: Stack) -> None:
    namespace, first, second = "way.local", "11111111111111111111111111111111", "22222222222222222222222222222222"
    know(stack, "way:1", namespace)
    know(stack, "bridge:1", namespace, network_mode="bridge")
    events = ecs.life(first, definition="way:1", address="10.0.7.7")

    # From the event to the snapshot.
    assert stack.registrar.invoke(events[3]) is None
    assert task(stack, namespace, first)["version"] == {"N": "4"}
    assert publish(stack, namespace) == {"batchItemFailures": []}
    (service,) = snapshot(stack, namespace)["services"]
    assert service["name"] == "orders"
    assert [(each["address"], each["port"], each["state"]) for each in service["endpoints"]] == [
        ("10.0.7.7", 15100, "ready")
    ]

    # A sidecar's report of its health, and the answer when nothing has changed.
    health = {"status": "UNHEALTHY"}
    answer = call(
        stack, "POST", "/v1/namespaces/{namespace}/tasks/{task}/health", health, namespace=namespace, task=first
    )
    assert answer["statusCode"] in (200, 202, 204), answer
    publish(stack, namespace)
    (service,) = snapshot(stack, namespace)["services"]
    assert service["endpoints"][0]["state"] == "unhealthy"
    answer = call(stack, "GET", "/v1/namespaces/{namespace}/snapshot", namespace=namespace)
    etag = answer["multiValueHeaders"].get("ETag", [answer["headers"].get("ETag")])[0]
    answer = call(
        stack, "GET", "/v1/namespaces/{namespace}/snapshot", headers={"If-None-Match": etag}, namespace=namespace
    )
    assert answer["statusCode"] == 304
    assert not answer["body"]
    assert json.loads(call(stack, "GET", "/v1/namespaces")["body"]) == {"namespaces": [{"name": namespace}]}

    # Events that never came: a sweep finds the task, in bridge mode with the address of its host.
    bridge = ecs.event("ec2_bridge")
    bridge["detail"] |= {
        "taskArn": f"arn:aws:ecs:us-east-1:{ecs.ACCOUNT}:task/example/{second}",
        "taskDefinitionArn": ecs.definition_arn("bridge:1"),
    }
    host = bridge["detail"]["containerInstanceArn"]
    stack.ecs.instances[host], stack.ecs.addresses["i-0123456789abcdef0"] = "i-0123456789abcdef0", "10.0.9.9"
    stack.ecs.tasks[bridge["detail"]["clusterArn"]] = [events[3]["detail"], bridge["detail"]]
    assert stack.reconciler.invoke(SCHEDULED)["drift"] == 1
    assert task(stack, namespace, second)["address"] == {"S": "10.0.9.9"}
    bridge["detail"]["version"] += 1
    assert stack.registrar.invoke(bridge) is None
    publish(stack, namespace)
    assert len(snapshot(stack, namespace)["services"][0]["endpoints"]) == 2

    # The end of the task.
    for event in events[4:]:
        stack.registrar.invoke(event)
    publish(stack, namespace)
    (service,) = snapshot(stack, namespace)["services"]
    assert [each["address"] for each in service["endpoints"]] == ["10.0.9.9"]

    # The roles allow what was asked for on this way, and no more.
    for name, granted in stack.door.granted.items():
        assert stack.door.asked[name] == granted - OF_LAMBDA - OF_OTHER_WAYS, name


def test_a_late_event_changes_nothing(stack: Stack) -> None:
    namespace, task_id = "late.local", "33333333333333333333333333333333"
    know(stack, "late:1", namespace)
    events = ecs.life(task_id, definition="late:1")
    stack.registrar.invoke(events[-1])
    buried = task(stack, namespace, task_id)
    assert buried["gone"] == {"BOOL": True}
    assert int(buried["expires_at"]["N"]) > 0
    for event in reversed(events[3:]):
        stack.registrar.invoke(event)
    assert task(stack, namespace, task_id) == buried
    assert stack.registrar.metrics()["EventsStale"] >= len(events[3:])


@pytest.mark.parametrize("event", [{}, {"source": "aws.ecs", "detail": "?"}, ["not an event"]])
def test_what_is_no_event_is_counted_and_not_tried_again(stack: Stack, event: Any) -> None:
    before = stack.registrar.metrics().get("EventsMalformed", 0)
    assert stack.registrar.invoke(event) is None
    assert stack.registrar.metrics()["EventsMalformed"] == before + 1


@pytest.mark.parametrize("service", ["ecs", "dynamodb"])
def test_a_failing_call_fails_the_invocation(stack: Stack, service: str) -> None:
    namespace = f"failing-{service}.local"
    task_id = {"ecs": "4", "dynamodb": "5"}[service] * 32
    know(stack, f"failing-{service}:1", namespace)
    event = ecs.life(task_id, definition=f"failing-{service}:1")[3]
    with away(stack, service), pytest.raises(FunctionError):
        stack.registrar.invoke(event)
    assert task(stack, namespace, task_id) == {}
    stack.registrar.invoke(event)
    assert task(stack, namespace, task_id)["version"] == {"N": "4"}


def test_a_batch_that_cannot_be_published_comes_again(stack: Stack) -> None:
    namespace, task_id = "batch.local", "66666666666666666666666666666666"
    know(stack, "batch:1", namespace)
    stack.registrar.invoke(ecs.life(task_id, definition="batch:1")[3])
    with away(stack, "dynamodb"), pytest.raises(FunctionError, match="NothingPublishedError"):
        publish(stack, namespace)
    assert publish(stack, namespace) == {"batchItemFailures": []}
    assert snapshot(stack, namespace)["revision"] == 1


def test_the_api_answers_without_the_table_when_asked_for_its_health(stack: Stack) -> None:
    with away(stack, "dynamodb"):
        answer = call(stack, "GET", "/v1/health")
    assert (answer["statusCode"], json.loads(answer["body"])) == (200, {"status": "ok"})


def test_the_apis_description_is_packed(stack: Stack) -> None:
    document = json.loads(call(stack, "GET", "/v1/openapi.json")["body"])
    assert set(document["paths"]) == set(sam.resources("AWS::ApiGateway::RestApi")["RestApi"]["Body"]["paths"])


def test_a_mistake_in_a_label_is_logged_with_the_task_and_counted(stack: Stack) -> None:
    definition = ecs.task_definition("mistaken:1", raw_label="{")
    stack.ecs.definitions[definition["taskDefinitionArn"]] = definition
    event = ecs.life("88888888888888888888888888888888", definition="mistaken:1")[3]
    assert stack.registrar.invoke(event) is None
    (line,) = [each for each in stack.registrar.lines() if each.get("task_definition") == "mistaken:1"]
    assert (line["level"], line["task"]) == ("ERROR", event["detail"]["taskArn"])
    assert line["mistake"]
    assert stack.registrar.metrics()["EventsRejected"] == 1
