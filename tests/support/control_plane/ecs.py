"""ECS for tests of the control plane: task definitions, events from tests/events, and a small fake client."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

EVENTS = Path(__file__).parents[2] / "events"
ACCOUNT = "123456789012"
CLUSTER = f"arn:aws:ecs:us-east-1:{ACCOUNT}:cluster/example"
NAMESPACE = "shop.local"


def event(name: str) -> dict[str, Any]:
    """Return an event of tests/events."""
    loaded: dict[str, Any] = json.loads((EVENTS / f"{name}.json").read_text())
    return loaded


def definition_arn(name: str) -> str:
    """Return the ARN of a task definition family:revision."""
    return f"arn:aws:ecs:us-east-1:{ACCOUNT}:task-definition/{name}"


def label(services: Iterable[Mapping[str, Any]] | None, namespace: str = NAMESPACE) -> str:
    """Return a tramo.service-connect label; None for a client only."""
    value: dict[str, Any] = {"enabled": True, "namespace": namespace}
    if services is not None:
        value["services"] = list(services)
    return json.dumps(value)


def task_definition(
    name: str = "orders:7",
    *,
    services: Iterable[Mapping[str, Any]] | None = (
        {"portName": "http", "discoveryName": "orders", "clientAliases": [{"port": 80}]},
    ),
    namespace: str = NAMESPACE,
    sidecar: bool = True,
    app_protocol: str | None = "http",
    network_mode: str | None = "awsvpc",
    health_check: Mapping[str, Any] | None = None,
    raw_label: str | None = None,
    role: str | None = "orders",
) -> dict[str, Any]:
    """Return a task definition with an application on port 8080 named http and, if wished, a sidecar."""
    mapping: dict[str, Any] = {"name": "http", "containerPort": 8080, "protocol": "tcp"}
    if app_protocol:
        mapping["appProtocol"] = app_protocol
    app: dict[str, Any] = {
        "name": "app",
        "image": "orders:7",
        "essential": True,
        "portMappings": [mapping],
        "dockerLabels": {"tramo.service-connect": raw_label or label(services, namespace)},
    }
    if health_check is not None:
        app["healthCheck"] = dict(health_check)
    containers = [app]
    if sidecar:
        containers.append(
            {
                "name": "tramo",
                "image": "tramo-sidecar:1",
                "essential": True,
                "portMappings": [{"containerPort": 15100, "protocol": "tcp"}],
                "dockerLabels": {"tramo.sidecar": "true"},
            }
        )
    family, _, revision = name.partition(":")
    result: dict[str, Any] = {
        "taskDefinitionArn": definition_arn(name),
        "family": family,
        "revision": int(revision),
        "containerDefinitions": containers,
    }
    if network_mode:
        result["networkMode"] = network_mode
    if role:
        result["taskRoleArn"] = f"arn:aws:iam::{ACCOUNT}:role/{role}"
    return result


def poison() -> dict[str, dict[str, Any]]:
    """Return task definitions by their ARNs that nobody can register."""
    nested = '{"namespace": "shop.local", "unknown": ' + 1000 * "[" + 1000 * "]" + "}"
    large = json.dumps({"namespace": NAMESPACE, "unknown": "y" * 40_000})
    found = (
        task_definition("nested:1", raw_label=nested),
        task_definition("large:1", raw_label=large),
        task_definition("namespace:1", namespace="n" * 1020),
    )
    return {each["taskDefinitionArn"]: each for each in found}


def life(
    task_id: str,
    *,
    definition: str = "orders:7",
    address: str = "10.0.1.5",
    started_by: str = "ecs-svc/1",
    minute: int = 0,
) -> list[dict[str, Any]]:
    """Return the events of a whole task life in order, versions 1 to 8."""
    base = event("fargate_running")
    arn = f"arn:aws:ecs:us-east-1:{ACCOUNT}:task/example/{task_id}"
    steps = [
        ("PROVISIONING", "RUNNING", {}),
        ("PENDING", "RUNNING", {}),
        ("ACTIVATING", "RUNNING", {}),
        ("RUNNING", "RUNNING", {"startedAt": f"2026-11-22T12:{minute:02d}:10Z"}),
        ("RUNNING", "STOPPED", {"stoppingAt": f"2026-11-22T13:{minute:02d}:00.5Z"}),
        ("DEACTIVATING", "STOPPED", {}),
        ("DEPROVISIONING", "STOPPED", {}),
        (
            "STOPPED",
            "STOPPED",
            {"stoppedAt": f"2026-11-22T13:{minute:02d}:40Z", "stopCode": "ServiceSchedulerInitiated"},
        ),
    ]
    events: list[dict[str, Any]] = []
    facts: dict[str, Any] = {"createdAt": f"2026-11-22T12:{minute:02d}:00Z"}
    for number, (last, desired, more) in enumerate(steps, start=1):
        facts = facts | more
        current = copy.deepcopy(base)
        detail = current["detail"]
        detail.pop("startedAt")
        if number < 3:
            detail["attachments"] = []
            for container in detail["containers"]:
                container["networkInterfaces"] = []
        else:
            detail["attachments"][0]["details"][-1]["value"] = address
            for container in detail["containers"]:
                container["networkInterfaces"][0]["privateIpv4Address"] = address
        detail.update(
            facts,
            taskArn=arn,
            taskDefinitionArn=definition_arn(definition),
            startedBy=started_by,
            lastStatus=last,
            desiredStatus=desired,
            version=number,
            updatedAt=f"2026-11-22T{12 if number < 5 else 13}:{minute:02d}:{number:02d}.25Z",
        )
        current["id"] = f"{task_id}-{number}"
        current["resources"] = [arn]
        events.append(current)
    return events


def failure(code: str, message: str = "for a test", operation: str = "DescribeTaskDefinition") -> ClientError:
    """Return an error as botocore raises it."""
    return ClientError({"Error": {"Code": code, "Message": message}}, operation)


class FakeEcs:
    """The calls of ECS and EC2 that the control plane makes, over dictionaries.

    `tasks` maps cluster ARNs to tasks as DescribeTasks returns them (the `detail` of an event will do).
    `fail` maps a call's name to the error that it raises; with `fail_in` only for that cluster.
    """

    def __init__(self, *definitions: Mapping[str, Any]) -> None:
        self.definitions = {each["taskDefinitionArn"]: each for each in definitions}
        self.tasks: dict[str, list[dict[str, Any]]] = {}
        self.instances: dict[str, str] = {}
        self.addresses: dict[str, str] = {}
        self.fail: dict[str, ClientError] = {}
        self.fail_in: str | None = None
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.page_size = 100
        self.on_list_tasks: Callable[[], object] | None = None

    def _called(self, call: str, arguments: dict[str, Any]) -> None:
        self.calls.append((call, arguments))
        if call in self.fail and self.fail_in in (None, arguments.get("cluster")):
            raise self.fail[call]

    def count(self, call: str) -> int:
        return sum(1 for name, _ in self.calls if name == call)

    def describe_task_definition(self, **arguments: Any) -> dict[str, Any]:
        self._called("describe_task_definition", arguments)
        found = self.definitions.get(arguments["taskDefinition"])
        if found is None:
            raise failure("ClientException", "Unable to describe task definition.")
        return {"taskDefinition": copy.deepcopy(found)}

    def describe_container_instances(self, **arguments: Any) -> dict[str, Any]:
        self._called("describe_container_instances", arguments)
        arn = arguments["containerInstances"][0]
        if arn not in self.instances:
            return {"containerInstances": [], "failures": [{"arn": arn, "reason": "MISSING"}]}
        return {"containerInstances": [{"containerInstanceArn": arn, "ec2InstanceId": self.instances[arn]}]}

    def describe_instances(self, **arguments: Any) -> dict[str, Any]:
        self._called("describe_instances", arguments)
        instance = arguments["InstanceIds"][0]
        if instance not in self.addresses:
            raise failure("InvalidInstanceID.NotFound", operation="DescribeInstances")
        return {"Reservations": [{"Instances": [{"PrivateIpAddress": self.addresses[instance]}]}]}

    def _page(self, items: list[str], key: str, token: str | None) -> dict[str, Any]:
        start = int(token or 0)
        answer: dict[str, Any] = {key: items[start : start + self.page_size]}
        if start + self.page_size < len(items):
            answer["nextToken"] = str(start + self.page_size)
        return answer

    def list_clusters(self, **arguments: Any) -> dict[str, Any]:
        self._called("list_clusters", arguments)
        return self._page(sorted(self.tasks), "clusterArns", arguments.get("nextToken"))

    def list_tasks(self, **arguments: Any) -> dict[str, Any]:
        self._called("list_tasks", arguments)
        if self.on_list_tasks is not None:
            self.on_list_tasks()
        arns = [
            task["taskArn"]
            for task in self._cluster(arguments["cluster"])
            if task["desiredStatus"] == arguments["desiredStatus"]
        ]
        return self._page(arns, "taskArns", arguments.get("nextToken"))

    def describe_tasks(self, **arguments: Any) -> dict[str, Any]:
        self._called("describe_tasks", arguments)
        assert len(arguments["tasks"]) <= 100, "DescribeTasks takes at most 100 tasks"
        known = {task["taskArn"]: task for task in self._cluster(arguments["cluster"])}
        return {
            "tasks": [copy.deepcopy(known[arn]) for arn in arguments["tasks"] if arn in known],
            "failures": [{"arn": arn, "reason": "MISSING"} for arn in arguments["tasks"] if arn not in known],
        }

    def _cluster(self, cluster: str) -> list[dict[str, Any]]:
        for arn, tasks in self.tasks.items():
            if cluster in (arn, arn.rpartition("/")[2]):
                return tasks
        raise failure("ClusterNotFoundException", "Cluster not found.", "DescribeTasks")
