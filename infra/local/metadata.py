"""The task metadata endpoint, version 4, of every container: what ECS_CONTAINER_METADATA_URI_V4 points to.

`/v4/<runtime id>` is the container, `/v4/<runtime id>/task` its task ("Amazon ECS task metadata endpoint
version 4 for tasks on Fargate" in the ECS developer guide).
"""

import json
from collections.abc import Mapping

from infra.local.httpserver import Request, Response
from infra.local.runner import TaskRunner
from infra.local.task import container_metadata, metadata


class MetadataEndpoint:
    """Answers for all tasks of a cluster, by runtime id."""

    def __init__(self, tasks: Mapping[str, TaskRunner]) -> None:
        self._tasks = tasks

    async def handle(self, request: Request) -> Response:
        """Answer one request."""
        parts = request.path.strip("/").split("/")
        if request.method != "GET" or parts[0] != "v4" or len(parts) not in (2, 3):
            return _answer(404, "404 page not found")
        runtime_id = parts[1]
        runner = self._tasks.get(runtime_id.partition("-")[0])
        names = {} if runner is None else {rid: name for name, rid in runner.identity.runtime_ids.items()}
        if runner is None or runtime_id not in names:
            return _answer(404, f"V4 metadata handler: unable to find the container {runtime_id}")
        if len(parts) == 2:
            return _answer(200, container_metadata(runner.identity, runner.state, names[runtime_id]))
        if parts[2] == "task":
            return _answer(200, metadata(runner.identity, runner.state))
        return _answer(404, "404 page not found")


def _answer(status: int, body: object) -> Response:
    return Response(status, json.dumps(body).encode(), (("Content-Type", "application/json"),))
