from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from infra.local.httpserver import Request
from infra.local.identity import DEFAULT_ROLE, of_task
from infra.local.metadata import MetadataEndpoint
from tests.support.control_plane.local_cluster import cluster, definition, until


def test_containers_and_their_task(tmp_path: Path) -> None:
    async def main() -> None:
        async with cluster(tmp_path) as made:
            endpoint = MetadataEndpoint(made.tasks)
            made.register(definition())
            runner = made.run_task("app")
            await until(lambda: bool(runner.process_ids()), "the container")
            runtime_id = runner.identity.runtime_ids["app"]

            async def get(path: str) -> tuple[int, Any]:
                answer = await endpoint.handle(Request("GET", path, path, (), (), b"", "127.0.0.1"))
                return answer.status, json.loads(answer.body)

            status, found = await get(f"/v4/{runtime_id}")
            assert (status, found["DockerId"], found["Name"]) == (200, runtime_id, "app")
            status, found = await get(f"/v4/{runtime_id}/task")
            assert (status, found["TaskARN"]) == (200, runner.identity.arn)
            assert [container["Name"] for container in found["Containers"]] == ["app"]
            status, found = await get(f"/v2/credentials/{runtime_id}")
            given = of_task(DEFAULT_ROLE, runner.identity.task_id)
            assert (status, found["AccessKeyId"], found["SecretAccessKey"], found["Token"]) == (
                200,
                *(given.access_key, given.secret_key, given.token),
            )
            assert found["RoleArn"] == f"arn:aws:iam::123456789012:role/{DEFAULT_ROLE}"
            assert datetime.fromisoformat(found["Expiration"]) > datetime.now(UTC) + timedelta(hours=5)
            for path in (
                "/",
                "/v3/x",
                "/v2/credentials",
                "/v2/credentials/feed-1",
                "/v4/feed-1",
                f"/v4/{runtime_id[:-1]}",
                f"/v4/{runtime_id}/stats",
            ):
                assert (await get(path))[0] == 404

    asyncio.run(main())
