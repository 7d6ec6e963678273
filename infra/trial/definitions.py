"""The task definitions of the trial, finished by `tramo inject` and judged by `tramo analyze`. Pure except for files.

The apps' source stands in their commands, so that no image is needed but Python's own and the sidecar's.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from infra.analysis import documents, issues
from infra.inject import Settings, inject
from infra.trial.account import TrialError
from infra.trial.apps import orders

APPS: Final = Path(__file__).parent / "apps"
PYTHON: Final = "public.ecr.aws/docker/library/python:3.11-slim-bookworm"
NAMESPACE: Final = "trial.local"


@dataclass(frozen=True, slots=True)
class Place:
    """What the task definitions need to know. `name` is that of mesh and log group."""

    name: str
    region: str
    image: str
    api_url: str
    feed_table: str
    execution_role: str
    task_role: str


def orders_definition(place: Place, version: str) -> dict[str, Any]:
    """Return the service that is called."""
    app = _app("orders", place, [{"name": "VERSION", "value": version}])
    app["portMappings"] = [{"name": "http", "containerPort": orders.PORT, "protocol": "tcp", "appProtocol": "http"}]
    alias = {"dnsName": "orders", "port": 80}
    return _finished("orders", place, app, [{"portName": "http", "discoveryName": "orders", "clientAliases": [alias]}])


def caller_definition(place: Place) -> dict[str, Any]:
    """Return the service that calls it."""
    return _finished("caller", place, _app("caller", place, []), [])


def _app(name: str, place: Place, environment: list[dict[str, str]]) -> dict[str, Any]:
    return {
        "name": name,
        "image": PYTHON,
        "essential": True,
        "cpu": 64,
        "memory": 128,
        "command": ["python", "-u", "-c", (APPS / f"{name}.py").read_text(encoding="utf-8")],
        "environment": environment,
        "logConfiguration": {
            "logDriver": "awslogs",
            "options": {
                "awslogs-group": place.name,
                "awslogs-region": place.region,
                "awslogs-stream-prefix": name,
            },
        },
    }


def _finished(name: str, place: Place, app: Mapping[str, Any], services: list[dict[str, Any]]) -> dict[str, Any]:
    document = {
        "family": f"{place.name}-{name}",
        "networkMode": "awsvpc",
        "requiresCompatibilities": ["FARGATE"],
        "cpu": "256",
        "memory": "512",
        "executionRoleArn": place.execution_role,
        "taskRoleArn": place.task_role,
        "containerDefinitions": [app],
    }
    block = {"namespace": NAMESPACE, "mesh": place.name, "services": services}
    return inject(document, Settings(place.image, place.api_url, feed_table=place.feed_table), block)


def check(definitions: list[dict[str, Any]]) -> None:
    """Judge them as `tramo analyze --offline` does. Raises TrialError."""
    with tempfile.TemporaryDirectory(prefix="tramo-trial-") as folder:
        for number, each in enumerate(definitions):
            (Path(folder) / f"{number}.json").write_text(json.dumps(each), encoding="utf-8")
        found = issues.analyze(documents.read([Path(folder)]))
    if found:
        raise TrialError("; ".join(f"{each.code} {each.resource}, {each.where}: {each.what}" for each in found))
