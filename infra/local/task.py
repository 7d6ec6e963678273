"""A task as ECS shows it: in events (times as text) and in DescribeTasks (times as numbers).

The fields are those of "Amazon ECS task state change events" in the ECS developer guide and of the Task type
in the ECS API. An event has no healthStatus; that is only in the API.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from infra.local.definition import Container, TaskDefinition
from infra.local.service import Failure
from infra.local.settings import ACCOUNT
from infra.local.state import ContainerState, Health, Status, TaskState

_ZONES: Final = "abc"


@dataclass(frozen=True, slots=True)
class TaskIdentity:
    """What does not change in a task's life."""

    task_id: str
    cluster: str
    region: str
    zone: str
    definition: TaskDefinition
    group: str
    started_by: str | None
    address: str  # of the network interface, see network.py
    attachment_id: str
    interface: str
    subnet: str
    mac_address: str
    container_ids: Mapping[str, str]
    runtime_ids: Mapping[str, str]
    overrides: Sequence[Mapping[str, Any]] = field(default_factory=tuple)

    @property
    def arn(self) -> str:
        """Return the task's ARN."""
        return f"arn:aws:ecs:{self.region}:{ACCOUNT}:task/{self.cluster}/{self.task_id}"

    @property
    def cluster_arn(self) -> str:
        """Return the cluster's ARN."""
        return f"arn:aws:ecs:{self.region}:{ACCOUNT}:cluster/{self.cluster}"

    @property
    def service(self) -> str | None:
        """Return the name of the service that started the task, None if none did."""
        return self.group.removeprefix("service:") if self.group.startswith("service:") else None

    @property
    def role(self) -> str:
        """Return the name of the role that the task has."""
        return str(self.definition.document["taskRoleArn"]).rpartition("/")[2]

    def override(self, container: str) -> Mapping[str, Any]:
        """Return the override of a container, empty if there is none."""
        return next((o for o in self.overrides if o["name"] == container), {})


def new_identity(
    definition: TaskDefinition,
    *,
    cluster: str,
    region: str,
    zone: str,
    group: str,
    started_by: str | None,
    address: str,
    overrides: Sequence[Mapping[str, Any]] = (),
) -> TaskIdentity:
    """Return a new identity with random ids of the form that ECS gives."""
    task_id = uuid.uuid4().hex
    names = [container.name for container in definition.containers]
    return TaskIdentity(
        task_id=task_id,
        cluster=cluster,
        region=region,
        zone=zone,
        definition=definition,
        group=group,
        started_by=started_by,
        address=address,
        attachment_id=str(uuid.uuid4()),
        interface=f"eni-{uuid.uuid4().hex[:17]}",
        subnet=f"subnet-{_ZONES.index(zone[-1]) + 1:017x}",
        mac_address=":".join(f"{byte:02x}" for byte in (0x0E, *uuid.uuid4().bytes[:5])),
        container_ids={name: str(uuid.uuid4()) for name in names},
        runtime_ids={name: f"{task_id}-{random.randrange(10**10):010d}" for name in names},  # noqa: S311 - a name
        overrides=tuple(overrides),
    )


def zones(region: str) -> list[str]:
    """Return the availability zones of the region."""
    return [region + letter for letter in _ZONES]


def event_detail(identity: TaskIdentity, state: TaskState) -> dict[str, Any]:
    """Return the `detail` of a task state change event."""
    return {key: _in_event(value) for key, value in _task(identity, state).items() if value is not None}


def description(identity: TaskIdentity, state: TaskState) -> dict[str, Any]:
    """Return the task as DescribeTasks has it: with health, with Unix times, and with tags."""
    task: dict[str, Any] = {k: _in_api(v) for k, v in _task(identity, state).items() if v is not None}
    for container, container_state in zip(task["containers"], state.containers, strict=True):
        container["healthStatus"] = container_state.health.value
    for attachment in task["attachments"]:
        attachment["type"] = "ElasticNetworkInterface"  # events say "eni" for the same thing
    del task["updatedAt"]  # only events have it
    return {**task, "healthStatus": state.health.value, "tags": []}


@dataclass(frozen=True, slots=True)
class _Time:
    seconds: float


def _in_event(value: object) -> object:
    if isinstance(value, _Time):
        moment = datetime.fromtimestamp(value.seconds, UTC)
        return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
    return value


def _in_api(value: object) -> object:
    return round(value.seconds, 3) if isinstance(value, _Time) else value


def _task(identity: TaskIdentity, state: TaskState) -> dict[str, Any]:
    document = identity.definition.document
    attached = state.attachment in ("ATTACHED", "DELETED")
    return {
        "attachments": [_attachment(identity, state, attached)],
        "attributes": [{"name": "ecs.cpu-architecture", "value": "x86_64"}],
        "availabilityZone": identity.zone,
        "capacityProviderName": "FARGATE",
        "clusterArn": identity.cluster_arn,
        "connectivity": "CONNECTED" if state.connectivity_at else None,
        "connectivityAt": _time(state.connectivity_at),
        "containers": [
            _container(identity, identity.definition.containers[i], container, attached)
            for i, container in enumerate(state.containers)
        ],
        "cpu": str(document.get("cpu", "256")),
        "createdAt": _time(state.created_at),
        "desiredStatus": state.desired.value,
        "enableExecuteCommand": False,
        "ephemeralStorage": {"sizeInGiB": 20},
        "executionStoppedAt": _time(state.execution_stopped_at),
        "group": identity.group,
        "lastStatus": state.status.value,
        "launchType": "FARGATE",
        "memory": str(document.get("memory", "512")),
        "overrides": {
            "containerOverrides": [
                dict(identity.override(container.name)) or {"name": container.name}
                for container in identity.definition.containers
            ]
        },
        "platformFamily": "Linux",
        "platformVersion": "1.4.0",
        "pullStartedAt": _time(state.pull_started_at),
        "pullStoppedAt": _time(state.pull_stopped_at),
        "startedAt": _time(state.started_at),
        "startedBy": identity.started_by,
        "stopCode": state.stop_code.value if state.stop_code else None,
        "stoppedAt": _time(state.stopped_at),
        "stoppedReason": state.stopped_reason,
        "stoppingAt": _time(state.stopping_at),
        "taskArn": identity.arn,
        "taskDefinitionArn": identity.definition.arn,
        "updatedAt": _time(state.updated_at),
        "version": state.version,
    }


def _time(seconds: float | None) -> _Time | None:
    return None if seconds is None else _Time(seconds)


def _attachment(identity: TaskIdentity, state: TaskState, attached: bool) -> dict[str, Any]:
    details = [{"name": "subnetId", "value": identity.subnet}]
    if attached:
        name = f"ip-{identity.address.replace('.', '-')}.ec2.internal"
        details += [
            {"name": "networkInterfaceId", "value": identity.interface},
            {"name": "macAddress", "value": identity.mac_address},
            {"name": "privateDnsName", "value": name},
            {"name": "privateIPv4Address", "value": identity.address},
        ]
    return {"id": identity.attachment_id, "type": "eni", "status": state.attachment, "details": details}


def _container(identity: TaskIdentity, definition: Container, state: ContainerState, attached: bool) -> dict[str, Any]:
    interfaces = [{"attachmentId": identity.attachment_id, "privateIpv4Address": identity.address}]
    container: dict[str, Any] = {
        "containerArn": (
            f"arn:aws:ecs:{identity.region}:{ACCOUNT}:container/{identity.cluster}/{identity.task_id}"
            f"/{identity.container_ids[definition.name]}"
        ),
        "taskArn": identity.arn,
        "name": definition.name,
        "image": definition.image,
        "lastStatus": state.status.value,
        "networkInterfaces": interfaces if attached else [],
        "cpu": str(definition.cpu),
    }
    if definition.memory is not None:
        container["memory"] = str(definition.memory)
    if state.launched:
        container["runtimeId"] = identity.runtime_ids[definition.name]
    if state.exit_code is not None:
        container["exitCode"] = state.exit_code
    if state.reason is not None:
        container["reason"] = state.reason
    return container


def metadata(identity: TaskIdentity, state: TaskState) -> dict[str, Any]:
    """Return what the task metadata endpoint, version 4, answers for the task on Fargate."""
    return {
        "Cluster": identity.cluster_arn,
        "TaskARN": identity.arn,
        "Family": identity.definition.family,
        "Revision": str(identity.definition.revision),
        **({"ServiceName": identity.service} if identity.service else {}),
        "DesiredStatus": state.desired.value,
        "KnownStatus": state.status.value,
        "Limits": {"CPU": 0.25, "Memory": 512},
        "AvailabilityZone": identity.zone,
        "LaunchType": "FARGATE",
        "Containers": [
            container_metadata(identity, state, container.name) for container in state.containers if container.launched
        ],
    }


def container_metadata(identity: TaskIdentity, state: TaskState, name: str) -> dict[str, Any]:
    """Return what the task metadata endpoint answers for one container."""
    container = state.container(name)
    definition = next(d for d in identity.definition.containers if d.name == name)
    return {
        "DockerId": identity.runtime_ids[name],
        "Name": name,
        "DockerName": name,
        "Image": definition.image,
        "Labels": {
            "com.amazonaws.ecs.cluster": identity.cluster_arn,
            "com.amazonaws.ecs.container-name": name,
            "com.amazonaws.ecs.task-arn": identity.arn,
            "com.amazonaws.ecs.task-definition-family": identity.definition.family,
            "com.amazonaws.ecs.task-definition-version": str(identity.definition.revision),
            **definition.labels,
        },
        "DesiredStatus": state.desired.value,
        "KnownStatus": container.status.value,
        "Limits": {"CPU": definition.cpu},
        "Type": "NORMAL",
        **({"Health": _health(container)} if container.has_health_check else {}),
        **({"ExitCode": container.exit_code} if container.exit_code is not None else {}),
        "Networks": [
            {
                "NetworkMode": "awsvpc",
                "IPv4Addresses": [identity.address],
                "MACAddress": identity.mac_address,
                "PrivateDNSName": f"ip-{identity.address.replace('.', '-')}.ec2.internal",
            }
        ],
    }


def _health(container: ContainerState) -> dict[str, Any]:
    since = {"statusSince": _in_event(_Time(container.health_at))} if container.health_at else {}
    return {"status": container.health.value, **since}


def is_healthy(state: TaskState) -> bool:
    """Say whether a RUNNING task counts as healthy: not judged yet, or judged and HEALTHY."""
    return state.health is Health.HEALTHY or not any(c.essential and c.has_health_check for c in state.containers)


def ready_at(state: TaskState) -> float:
    """Return when a task became what `is_healthy` asks for, if it is."""
    judged = (c.health_at for c in state.containers if c.essential and c.has_health_check)
    return max((state.started_at or 0.0, *judged))


def failure(identity: TaskIdentity, state: TaskState, reason: str | None = None) -> Failure:
    """Return what is known of a task that failed: its essential container that ended, else one that is unhealthy."""
    essential = [c for c in state.containers if c.essential]
    ended = next((c for c in essential if c.status is Status.STOPPED), None)
    sick = next((c for c in essential if c.health is Health.UNHEALTHY), None)
    culprit = ended or sick
    return Failure(
        task_id=identity.task_id,
        deployment_id=str(identity.started_by),
        container=None if culprit is None else culprit.name,
        exit_code=None if culprit is None else culprit.exit_code,
        reason=reason or state.stopped_reason or "unknown",
    )
