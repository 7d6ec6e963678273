"""The envelope of EventBridge events."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from infra.local.settings import ACCOUNT


def task_state_change(detail: Mapping[str, Any], region: str, now: float) -> dict[str, Any]:
    """Return an 'ECS Task State Change' event."""
    return _event("aws.ecs", "ECS Task State Change", [detail["taskArn"]], detail, region, now)


def service_action(
    service_arn: str, cluster_arn: str, name: str, level: str, reason: str | None, region: str, now: float
) -> dict[str, Any]:
    """Return an 'ECS Service Action' event; `level` is INFO, WARN or ERROR."""
    detail = {"eventType": level, "eventName": name, "clusterArn": cluster_arn, "createdAt": _moment(now)}
    if reason is not None:
        detail["reason"] = reason
    return _event("aws.ecs", "ECS Service Action", [service_arn], detail, region, now)


def deployment_change(
    service_arn: str, deployment: str, name: str, level: str, reason: str, region: str, now: float
) -> dict[str, Any]:
    """Return an 'ECS Deployment State Change' event; `level` is INFO or ERROR."""
    detail = {"eventType": level, "eventName": name, "deploymentId": deployment, "updatedAt": _moment(now)}
    return _event("aws.ecs", "ECS Deployment State Change", [service_arn], {**detail, "reason": reason}, region, now)


def scheduled(rule: str, region: str, now: float) -> dict[str, Any]:
    """Return the event with which a schedule calls its target."""
    arn = f"arn:aws:events:{region}:{ACCOUNT}:rule/{rule}"
    return _event("aws.events", "Scheduled Event", [arn], {}, region, now)


def _moment(now: float) -> str:
    return datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _event(
    source: str, kind: str, resources: list[str], detail: Mapping[str, Any], region: str, now: float
) -> dict[str, Any]:
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": kind,
        "source": source,
        "account": ACCOUNT,
        "time": datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "region": region,
        "resources": resources,
        "detail": dict(detail),
    }
