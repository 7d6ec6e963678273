"""The envelope of EventBridge events."""

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from infra.local.settings import ACCOUNT


def task_state_change(detail: Mapping[str, Any], region: str, now: float) -> dict[str, Any]:
    """Return an 'ECS Task State Change' event."""
    return _event("aws.ecs", "ECS Task State Change", [detail["taskArn"]], detail, region, now)


def scheduled(rule: str, region: str, now: float) -> dict[str, Any]:
    """Return the event with which a schedule calls its target."""
    arn = f"arn:aws:events:{region}:{ACCOUNT}:rule/{rule}"
    return _event("aws.events", "Scheduled Event", [arn], {}, region, now)


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
