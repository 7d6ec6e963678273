"""What must be asked of ECS and EC2: task definitions, and the addresses of container instances. IO.

Rules:
1. Answers that cannot change are kept for the life of the process: a task definition's revision is immutable,
   and a container instance keeps its private address.
2. That ECS does not know something is an answer (UnknownTaskDefinitionError, None), and so is that an instance
   is none of EC2's (ExternalInstanceError). Anything else that fails is raised as botocore raised it.
3. What is wrong with a task definition is read with it (`advice`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Final, Protocol

from botocore.exceptions import ClientError

from registry.domain import advice
from registry.domain.advice import Advice
from registry.domain.bounds import ip_address
from registry.domain.definition import short_name
from registry.domain.offer import DEFAULT_MESH, Definition, DefinitionError

REMEMBERED: Final = 2000

# ECS Anywhere registers machines with Systems Manager, whose ids EC2 takes for malformed ones.
_EXTERNAL_PREFIX: Final = "mi-"
_NO_INSTANCE: Final = frozenset({"InvalidInstanceID.NotFound", "InvalidInstanceID.Malformed"})

# ECS answers "Unable to describe task definition" with the former, a malformed name with the latter.
_UNKNOWN: Final = frozenset({"ClientException", "InvalidParameterException"})


class EcsClient(Protocol):
    """What is used of botocore's ECS client."""

    @property
    def describe_task_definition(self) -> Callable[..., Any]:
        """(taskDefinition) -> {"taskDefinition": {...}}."""

    @property
    def describe_container_instances(self) -> Callable[..., Any]:
        """(cluster, containerInstances) -> {"containerInstances": [{"ec2InstanceId": ...}]}."""

    @property
    def list_clusters(self) -> Callable[..., Any]:
        """(nextToken) -> {"clusterArns": [...], "nextToken": ...}."""

    @property
    def list_tasks(self) -> Callable[..., Any]:
        """(cluster, desiredStatus, nextToken) -> {"taskArns": [...], "nextToken": ...}."""

    @property
    def describe_tasks(self) -> Callable[..., Any]:
        """(cluster, tasks) -> {"tasks": [...], "failures": [...]}."""


class Ec2Client(Protocol):
    """What is used of botocore's EC2 client."""

    @property
    def describe_instances(self) -> Callable[..., Any]:
        """(InstanceIds) -> {"Reservations": [{"Instances": [...]}]}."""


class UnknownTaskDefinitionError(Exception):
    """ECS does not know a task definition."""


class ExternalInstanceError(Exception):
    """A task that needs its host's address runs on a machine that is not in EC2."""


class Lookups:
    """Definitions of one mesh's tasks and host addresses, remembered. Clients are made when first needed."""

    def __init__(self, ecs: Callable[[], EcsClient], ec2: Callable[[], Ec2Client], mesh: str = DEFAULT_MESH) -> None:
        self._make_ecs = ecs
        self._make_ec2 = ec2
        self._mesh = mesh
        self._definitions: dict[str, tuple[Definition | DefinitionError | None, Advice]] = {}
        self._hosts: dict[str, str | ExternalInstanceError] = {}

    @cached_property
    def ecs(self) -> EcsClient:
        """The ECS client."""
        return self._make_ecs()

    @cached_property
    def _ec2(self) -> Ec2Client:
        return self._make_ec2()

    def remembers(self, arn: str) -> bool:
        """Return whether a task definition is known without a call."""
        return arn in self._definitions

    def definition(self, arn: str) -> Definition | None:
        """Return what a task definition offers, None when it is not ours.

        Raises DefinitionError for a mistake in its label and UnknownTaskDefinitionError.
        """
        if arn not in self._definitions:
            _make_room(self._definitions)
            self._definitions[arn] = self._read_definition(arn)
        known, _ = self._definitions[arn]
        if isinstance(known, DefinitionError):
            raise known.with_traceback(None)
        return known

    def advice(self, arn: str) -> Advice | None:
        """Return what is wrong with a definition that has been read; None for one that has not."""
        known = self._definitions.get(arn)
        return None if known is None else known[1]

    def _read_definition(self, arn: str) -> tuple[Definition | DefinitionError | None, Advice]:
        try:
            answer: Mapping[str, Any] = self.ecs.describe_task_definition(taskDefinition=arn)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in _UNKNOWN:
                raise UnknownTaskDefinitionError(
                    f"task definition {short_name(arn)}: ECS does not know it "
                    f"({error.response['Error'].get('Message', '')}); was it deleted?"
                ) from error
            raise
        return advice.read(answer["taskDefinition"], self._mesh)

    def host_address(self, cluster_arn: str, container_instance_arn: str) -> str | None:
        """Return the private address of a container instance, None when ECS or EC2 do not know it (yet).

        Raises ExternalInstanceError.
        """
        if container_instance_arn not in self._hosts:
            address = self._read_host_address(cluster_arn, container_instance_arn)
            if address is None:
                return None
            _make_room(self._hosts)
            self._hosts[container_instance_arn] = address
        known = self._hosts[container_instance_arn]
        if isinstance(known, ExternalInstanceError):
            raise known.with_traceback(None)
        return known

    def _read_host_address(self, cluster_arn: str, container_instance_arn: str) -> str | ExternalInstanceError | None:
        answer = self.ecs.describe_container_instances(cluster=cluster_arn, containerInstances=[container_instance_arn])
        ids = [each.get("ec2InstanceId") for each in answer.get("containerInstances", ())]
        if not ids or not ids[0]:
            return None
        if ids[0].startswith(_EXTERNAL_PREFIX):
            return ExternalInstanceError(
                f"container instance {ids[0]} is an external one (ECS Anywhere), whose address AWS does not know; "
                "run the task on EC2 or Fargate, or take its services out of the label"
            )
        try:
            found = self._ec2.describe_instances(InstanceIds=[ids[0]])
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in _NO_INSTANCE:
                return None
            raise
        for reservation in found.get("Reservations", ()):
            for instance in reservation.get("Instances", ()):
                address = ip_address(str(instance.get("PrivateIpAddress") or instance.get("Ipv6Address")))
                if address is not None:
                    return address
        return None


def _make_room(known: dict[str, Any]) -> None:
    """Forget the oldest entry of a full dictionary."""
    if len(known) >= REMEMBERED:
        del known[next(iter(known))]
