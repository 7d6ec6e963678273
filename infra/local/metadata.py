"""The endpoint that tells the containers of tasks about themselves.

`/v4/<runtime id>` is the container, `/v4/<runtime id>/task` its task: what ECS_CONTAINER_METADATA_URI_V4 points to
("Amazon ECS task metadata endpoint version 4 for tasks on Fargate" in the ECS developer guide).
`/v2/credentials/<runtime id>` are the credentials of its role, as the AWS SDKs look for them in a container.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from infra.local import identity
from infra.local.httpserver import Request, Response
from infra.local.runner import TaskRunner
from infra.local.settings import ACCOUNT
from infra.local.task import container_metadata, metadata

CREDENTIALS_SECONDS: Final = 6 * 3600.0
"""What ECS gives; the SDKs ask again some minutes before."""


class MetadataEndpoint:
    """Answers for all tasks of a cluster, by runtime id."""

    def __init__(self, tasks: Mapping[str, TaskRunner]) -> None:
        self._tasks = tasks

    async def handle(self, request: Request) -> Response:
        """Answer one request."""
        parts = request.path.strip("/").split("/")
        if request.method != "GET" or len(parts) not in (2, 3):
            return _answer(404, "404 page not found")
        wants_credentials = parts[:-1] == ["v2", "credentials"]
        if not wants_credentials and parts[0] != "v4":
            return _answer(404, "404 page not found")
        runtime_id = parts[-1] if wants_credentials else parts[1]
        runner = self._tasks.get(runtime_id.partition("-")[0])
        names = {} if runner is None else {rid: name for name, rid in runner.identity.runtime_ids.items()}
        if runner is None or runtime_id not in names:
            return _answer(404, f"V4 metadata handler: unable to find the container {runtime_id}")
        if wants_credentials:
            return _answer(200, _credentials(runner.identity.role, runner.identity.task_id, time.time()))
        if len(parts) == 2:
            return _answer(200, container_metadata(runner.identity, runner.state, names[runtime_id]))
        if parts[2] == "task":
            return _answer(200, metadata(runner.identity, runner.state))
        return _answer(404, "404 page not found")


def _credentials(role: str, task_id: str, now: float) -> Mapping[str, str]:
    given = identity.of_task(role, task_id)
    expires = datetime.fromtimestamp(now + CREDENTIALS_SECONDS, UTC)
    return {
        "RoleArn": f"arn:aws:iam::{ACCOUNT}:role/{role}",
        "AccessKeyId": given.access_key,
        "SecretAccessKey": given.secret_key,
        "Token": given.token,
        "Expiration": expires.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def _answer(status: int, body: object) -> Response:
    return Response(status, json.dumps(body).encode(), (("Content-Type", "application/json"),))
