"""What ECS says of its services: actions of the scheduler and the steps of deployments. Pure.

These events have no version and change nothing in the registry. They are kept for a week as the recent
history of an ECS service, for the people who ask why a service is as it is.

Source: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_service_events.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from registry.domain.bounds import ID_CHARACTERS, REASON_CHARACTERS, SERVICE_PATH_CHARACTERS, shortened
from registry.domain.events import EventError, epoch

DETAIL_TYPES: Final = frozenset({"ECS Service Action", "ECS Deployment State Change"})


@dataclass(frozen=True, slots=True)
class ServiceEvent:
    """One thing that happened to an ECS service. `at` is epoch seconds, `level` is INFO, WARN or ERROR.

    `service` is cluster/name: a service's name is unique in its cluster only.
    """

    event_id: str
    service: str
    at: float
    kind: str
    name: str
    level: str
    deployment: str | None
    reason: str | None


def ecs_service(cluster_arn: str, name: str) -> str:
    """Return how an ECS service is written here."""
    return f"{cluster_arn.rpartition('/')[2]}/{name}"


def parse_service_event(event: object) -> ServiceEvent | None:
    """Return what an EventBridge event says of a service, None for another kind of event. Raises EventError."""
    if not isinstance(event, Mapping) or event.get("detail-type") not in DETAIL_TYPES:
        return None
    detail = event.get("detail")
    if not isinstance(detail, Mapping):
        raise EventError("detail", "it is missing or not an object")
    # arn:aws:ecs:REGION:ACCOUNT:service/CLUSTER/NAME; services of before 2018 have no cluster in it.
    resources = event.get("resources")
    arn = resources[0] if isinstance(resources, list) and resources and isinstance(resources[0], str) else ""
    kind, _, path = arn.rpartition(":")[2].partition("/")
    cluster, _, name = path.rpartition("/")
    cluster = cluster or str(detail.get("clusterArn", "")).rpartition("/")[2]
    if kind != "service" or not name or not cluster:
        raise EventError("resources", f"the ARN of an ECS service was expected, this is {arn[:ID_CHARACTERS]!r}")
    if len(cluster) + 1 + len(name) > SERVICE_PATH_CHARACTERS:
        raise EventError("resources", f"cluster and service have more than {SERVICE_PATH_CHARACTERS} characters")
    at = next(
        (
            found
            for field, value in (
                ("detail.updatedAt", detail.get("updatedAt")),
                ("detail.createdAt", detail.get("createdAt")),
                ("time", event.get("time")),
            )
            if (found := epoch(value, field, None)) is not None
        ),
        None,
    )
    if at is None:
        raise EventError("time", "neither it nor any other time is there")
    what = detail.get("eventName")
    if not isinstance(what, str) or not what:
        raise EventError("detail.eventName", "it is missing or not a text")

    def optional(field: str) -> str | None:
        value = detail.get(field)
        return shortened(value, REASON_CHARACTERS) if isinstance(value, str) and value else None

    return ServiceEvent(
        event_id=str(event.get("id", ""))[:ID_CHARACTERS],
        service=f"{cluster}/{name}",
        at=at,
        kind=str(event["detail-type"]),
        name=shortened(what, REASON_CHARACTERS),
        level=optional("eventType") or "INFO",
        deployment=optional("deploymentId"),
        reason=optional("reason"),
    )
