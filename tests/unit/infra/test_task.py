"""The shape of events, held against the samples of "Amazon ECS task state change events" in the ECS developer guide."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from infra.local import lifecycle as life
from infra.local.definition import parse
from infra.local.events import task_state_change
from infra.local.lifecycle import advance, create
from infra.local.state import Health, StopCode, TaskState
from infra.local.task import TaskIdentity, description, event_detail, metadata, new_identity, zones

ENVELOPE = {"version", "id", "detail-type", "source", "account", "time", "region", "resources", "detail"}

# The detail of AWS's sample of a RUNNING task of a service on Fargate.
RUNNING = {
    "attachments",
    "attributes",
    "availabilityZone",
    "capacityProviderName",
    "clusterArn",
    "connectivity",
    "connectivityAt",
    "containers",
    "cpu",
    "createdAt",
    "desiredStatus",
    "enableExecuteCommand",
    "ephemeralStorage",
    "group",
    "launchType",
    "lastStatus",
    "memory",
    "overrides",
    "platformVersion",
    "pullStartedAt",
    "pullStoppedAt",
    "startedAt",
    "startedBy",
    "taskArn",
    "taskDefinitionArn",
    "updatedAt",
    "version",
}
STOPPED = RUNNING | {"executionStoppedAt", "stopCode", "stoppedAt", "stoppedReason", "stoppingAt"}
CONTAINER = {
    "containerArn",
    "lastStatus",
    "name",
    "image",
    "runtimeId",
    "taskArn",
    "networkInterfaces",
    "cpu",
    "memory",
}

DEFINITION = parse(
    {
        "family": "web",
        "networkMode": "awsvpc",
        "cpu": "256",
        "memory": "512",
        "containerDefinitions": [
            {
                "name": "web",
                "image": "shop",
                "command": ["run"],
                "cpu": 99,
                "memory": 100,
                "healthCheck": {"command": ["CMD", "probe"]},
            }
        ],
    },
    revision=5,
    region="us-east-1",
)


def identity(**changes: Any) -> TaskIdentity:
    values: dict[str, Any] = {
        "cluster": "example",
        "region": "us-east-1",
        "zone": "us-east-1b",
        "group": "service:web",
        "started_by": "ecs-svc/8646900195280463695",
        "address": "127.7.0.1",
    }
    return new_identity(DEFINITION, **{**values, **changes})


def life_of(*inputs: life.Input) -> list[TaskState]:
    states: list[TaskState] = []
    state, commands = create(DEFINITION, 1746529333.877)
    for number, what in enumerate((None, *inputs)):
        if what is not None:
            state, commands = advance(state, what, 1746529334.0 + number)
        states += [command.state for command in commands if isinstance(command, life.Publish)]
    return states


START = (life.Placed(), life.InterfaceAttached(), life.ContainerStarted("web"))
STOP = (
    life.StopRequested(StopCode.SERVICE_SCHEDULER_INITIATED, "Scaling activity initiated by (deployment ecs-svc/1)"),
    life.ContainerExited("web", 0),
    life.InterfaceDetached(),
)


def test_the_envelope() -> None:
    detail = event_detail(identity(), life_of(*START)[-1])
    event = task_state_change(detail, "us-east-1", 1746529354.0)
    assert set(event) == ENVELOPE
    assert (event["version"], event["source"], event["detail-type"]) == ("0", "aws.ecs", "ECS Task State Change")
    assert event["resources"] == [detail["taskArn"]]
    assert event["time"] == "2025-05-06T11:02:34Z"
    assert event["detail"] == detail


def test_a_running_task_has_the_fields_of_the_sample() -> None:
    detail = event_detail(identity(), life_of(*START)[-1])
    assert set(detail) - {"platformFamily"} == RUNNING
    [container] = detail["containers"]
    assert set(container) == CONTAINER
    assert (container["cpu"], container["memory"]) == ("99", "100")
    assert container["networkInterfaces"] == [
        {"attachmentId": detail["attachments"][0]["id"], "privateIpv4Address": "127.7.0.1"}
    ]
    assert container["containerArn"].startswith("arn:aws:ecs:us-east-1:123456789012:container/example/")
    assert detail["taskArn"].startswith("arn:aws:ecs:us-east-1:123456789012:task/example/")
    assert detail["taskDefinitionArn"] == "arn:aws:ecs:us-east-1:123456789012:task-definition/web:5"
    assert (detail["cpu"], detail["memory"]) == ("256", "512")


def test_a_stopped_task_has_the_fields_of_the_sample() -> None:
    detail = event_detail(identity(), life_of(*START, *STOP)[-1])
    assert set(detail) - {"platformFamily"} == STOPPED
    assert (detail["lastStatus"], detail["desiredStatus"]) == ("STOPPED", "STOPPED")
    assert detail["stopCode"] == "ServiceSchedulerInitiated"
    assert detail["containers"][0]["exitCode"] == 0


def test_the_address_comes_with_the_interface() -> None:
    states = life_of(*START)
    details = [event_detail(identity(), state) for state in states]
    attachments = [detail["attachments"][0] for detail in details]
    assert [attachment["status"] for attachment in attachments[:3]] == ["PRECREATED", "ATTACHING", "ATTACHED"]
    names = [[d["name"] for d in attachment["details"]] for attachment in attachments]
    assert names[0] == names[1] == ["subnetId"]
    assert names[2] == ["subnetId", "networkInterfaceId", "macAddress", "privateDnsName", "privateIPv4Address"]
    assert [bool(detail["containers"][0]["networkInterfaces"]) for detail in details[:3]] == [False, False, True]


def test_versions_rise_by_one_and_times_are_texts() -> None:
    details = [event_detail(identity(), state) for state in life_of(*START, *STOP)]
    assert [detail["version"] for detail in details] == list(range(1, len(details) + 1))
    for detail in details:
        for name in (name for name in detail if name.endswith("At")):
            assert datetime.fromisoformat(detail[name]).tzinfo is not None


def test_health_is_in_the_api_and_not_in_events() -> None:
    states = life_of(*START, life.HealthChanged("web", Health.HEALTHY))
    state, _ = advance(states[-1], life.HealthChanged("web", Health.HEALTHY), 1.0)
    assert "healthStatus" not in event_detail(identity(), state)
    described = description(identity(), state)
    assert described["healthStatus"] == described["containers"][0]["healthStatus"] == "HEALTHY"


def test_the_api_has_numbers_for_times_and_another_name_for_the_attachment() -> None:
    described = description(identity(), life_of(*START)[-1])
    assert isinstance(described["createdAt"], float)
    assert described["attachments"][0]["type"] == "ElasticNetworkInterface"
    assert "updatedAt" not in described


def test_a_standalone_task_has_no_deployment() -> None:
    alone = identity(group="family:web", started_by=None)
    assert alone.service is None
    assert "startedBy" not in event_detail(alone, life_of(*START)[-1])


def test_overrides_are_shown_as_they_were_given() -> None:
    given = {"name": "web", "environment": [{"name": "A", "value": "1"}]}
    detail = event_detail(identity(overrides=[given]), life_of()[-1])
    assert detail["overrides"] == {"containerOverrides": [given]}
    assert event_detail(identity(), life_of()[-1])["overrides"] == {"containerOverrides": [{"name": "web"}]}


def test_metadata() -> None:
    state = life_of(*START)[-1]
    found = metadata(identity(), state)
    assert (found["Family"], found["Revision"], found["ServiceName"]) == ("web", "5", "web")
    assert (found["AvailabilityZone"], found["KnownStatus"]) == ("us-east-1b", "RUNNING")
    [container] = found["Containers"]
    assert container["Health"] == {"status": "UNKNOWN"}
    assert container["Networks"][0]["IPv4Addresses"] == ["127.7.0.1"]
    healthy = life_of(
        *START, life.HealthChanged("web", Health.HEALTHY), life.StopRequested(StopCode.USER_INITIATED, "x")
    )
    assert metadata(identity(), healthy[-1])["Containers"][0]["Health"] == {
        "status": "HEALTHY",
        "statusSince": "2025-05-06T11:02:18.000Z",
    }
    assert "ServiceName" not in metadata(identity(group="family:web"), state)


def test_zones() -> None:
    assert zones("eu-west-1") == ["eu-west-1a", "eu-west-1b", "eu-west-1c"]
