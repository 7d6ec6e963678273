"""Who sends, in OpenTelemetry's words: the resource of all spans and metrics of this sidecar.

https://opentelemetry.io/docs/specs/semconv/resource/ and, for ECS,
https://opentelemetry.io/docs/specs/semconv/resource/cloud-provider/aws/ecs/

Rules:
- `service.name` is OTEL_SERVICE_NAME, else that of OTEL_RESOURCE_ATTRIBUTES, else the first service that the task
  offers, else its ECS service. So a caller's `peer.service` and the called one's `service.name` are the same word.
- OTEL_RESOURCE_ATTRIBUTES comes before what is found. What is not known is left out.
"""

from __future__ import annotations

from sidecar import __version__
from sidecar.config import Config
from sidecar.core.otlp import Attributes
from sidecar.metadata import TaskIdentity

UNKNOWN_SERVICE = "unknown_service:tramo"


def resource(config: Config, identity: TaskIdentity) -> Attributes:
    """Return the attributes of this task."""
    given = dict(config.otlp.attributes) if config.otlp is not None else {}
    offered = config.inbound[0].name if config.inbound else ""
    ecs_service = config.service_name or identity.service_name
    named = config.otlp.service_name if config.otlp is not None else ""
    found = {
        "service.namespace": config.namespace,
        "service.instance.id": identity.task_id,
        "telemetry.distro.name": "tramo",
        "telemetry.distro.version": __version__,
        "cloud.region": config.region,
        "cloud.availability_zone": config.zone or identity.zone,
        "aws.ecs.service.name": ecs_service,
        **_ecs(identity),
        **given,
        "service.name": named or given.get("service.name", "") or offered or ecs_service or UNKNOWN_SERVICE,
    }
    return [(name, value) for name, value in found.items() if value]


def _ecs(identity: TaskIdentity) -> dict[str, str]:
    """Return what only a task of ECS has."""
    parts = identity.task_arn.split(":", 5)  # arn:aws:ecs:region:account:task/cluster/id
    if len(parts) < 6:
        return {}
    cluster = parts[5].split("/")
    return {
        "cloud.provider": "aws",
        "cloud.platform": "aws_ecs",
        "cloud.account.id": parts[4],
        "aws.ecs.task.arn": identity.task_arn,
        "aws.ecs.task.id": identity.task_id,
        "aws.ecs.cluster.arn": ":".join((*parts[:5], f"cluster/{cluster[1]}")) if len(cluster) == 3 else "",
        "aws.ecs.task.family": identity.family,
        "aws.ecs.task.revision": identity.revision,
        "aws.ecs.launchtype": identity.launch_type.lower(),
    }
