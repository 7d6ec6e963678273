"""The gate: the container that makes ECS wait until callers know a new task and its app listens.

It belongs into the task definition of every service that offers something. ECS stops the old tasks of a deployment as
soon as the new ones are HEALTHY; the gate is HEALTHY once other sidecars have read of this task. It is of the
sidecar's image, waits for SIGTERM and does nothing else, and its health never counts for the task's endpoints.
"""

from __future__ import annotations

from typing import Any


def gate(image: str, sidecar: str = "sidecar") -> dict[str, Any]:
    """Return the container definition; `image` is the sidecar's image, `sidecar` the name of its container."""
    return {
        "name": "gate",
        "image": image,
        "essential": True,
        "cpu": 8,
        "memory": 16,
        "entryPoint": ["tramo-sidecar"],
        "command": ["--wait"],
        "dockerLabels": {"tramo.gate": "true"},
        "dependsOn": [{"containerName": sidecar, "condition": "START"}],
        "healthCheck": {
            "command": ["CMD", "tramo-sidecar", "--gate"],
            "interval": 5,
            "timeout": 2,
            "retries": 3,
            "startPeriod": 300,  # the most that ECS takes: beyond it the task is replaced
        },
    }
