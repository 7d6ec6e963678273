"""Who sends, as OpenTelemetry names it."""

from __future__ import annotations

from sidecar import config as configuration
from sidecar.metadata import TaskIdentity
from sidecar.telemetry.otlp_resource import UNKNOWN_SERVICE, resource

ENVIRONMENT = {
    "TRAMO_API_URL": "https://api.example",
    "TRAMO_NAMESPACE": "shop.local",
    "AWS_REGION": "eu-west-1",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318",
}
INBOUND = {"TRAMO_INBOUND": "orders=15100:8080/http,stock=15101:8081/http"}
TASK = TaskIdentity(
    "abc",
    "orders-svc",
    "main",
    "eu-west-1a",
    "eu-west-1",
    task_arn="arn:aws:ecs:eu-west-1:111122223333:task/main/abc",
    family="orders",
    revision="7",
    launch_type="FARGATE",
)


def found(task: TaskIdentity, **variables: str) -> dict[str, object]:
    return dict(resource(configuration.read(ENVIRONMENT | variables), task))


def test_a_task_of_ecs_says_all() -> None:
    attributes = found(TASK, **INBOUND)
    del attributes["telemetry.distro.version"]
    assert attributes == {
        "service.name": "orders",
        "service.namespace": "shop.local",
        "service.instance.id": "abc",
        "telemetry.distro.name": "tramo",
        "cloud.provider": "aws",
        "cloud.platform": "aws_ecs",
        "cloud.region": "eu-west-1",
        "cloud.availability_zone": "eu-west-1a",
        "cloud.account.id": "111122223333",
        "aws.ecs.service.name": "orders-svc",
        "aws.ecs.task.arn": "arn:aws:ecs:eu-west-1:111122223333:task/main/abc",
        "aws.ecs.task.id": "abc",
        "aws.ecs.cluster.arn": "arn:aws:ecs:eu-west-1:111122223333:cluster/main",
        "aws.ecs.task.family": "orders",
        "aws.ecs.task.revision": "7",
        "aws.ecs.launchtype": "fargate",
    }


def test_the_name_is_the_first_that_is_known() -> None:
    given = {"OTEL_RESOURCE_ATTRIBUTES": "service.name=shop"}
    assert found(TASK, **INBOUND, **given, OTEL_SERVICE_NAME="mine")["service.name"] == "mine"
    assert found(TASK, **INBOUND, **given)["service.name"] == "shop"
    assert found(TASK, **INBOUND)["service.name"] == "orders"
    assert found(TASK)["service.name"] == "orders-svc"
    assert found(TaskIdentity())["service.name"] == UNKNOWN_SERVICE


def test_what_is_given_comes_first_and_what_is_unknown_is_left_out() -> None:
    attributes = found(TaskIdentity(), OTEL_RESOURCE_ATTRIBUTES="cloud.region=mars,deployment.environment.name=a%20b")
    assert (attributes["cloud.region"], attributes["deployment.environment.name"]) == ("mars", "a b")
    assert not {"cloud.provider", "aws.ecs.task.arn", "service.instance.id"} & attributes.keys()
