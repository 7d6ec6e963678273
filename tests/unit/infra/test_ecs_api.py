"""The ECS API as boto3 sees it: its parsing and validation are part of the test."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from infra.local.cluster import Cluster
from infra.local.ecs_api import EcsApi
from infra.local.httpserver import HttpServer
from tests.support.control_plane.local_cluster import cluster, container, definition

if TYPE_CHECKING:
    from mypy_boto3_ecs import ECSClient

TASK = "arn:aws:ecs:us-east-1:123456789012:task/test/"


def run(tmp_path: Path, use: Callable[[ECSClient], None], prepare: Callable[[Cluster], Any] | None = None) -> None:
    async def main() -> None:
        async with cluster(tmp_path) as made:
            made.register(definition())
            if prepare is not None:
                prepare(made)
            server = HttpServer(EcsApi(made).handle)
            port = await server.listen("127.0.0.1")
            client = boto3.client(
                "ecs",
                endpoint_url=f"http://127.0.0.1:{port}",
                region_name="us-east-1",
                config=Config(retries={"total_max_attempts": 1}),
            )
            try:
                await asyncio.to_thread(use, client)
            finally:
                await asyncio.to_thread(client.close)
                await server.close()

    asyncio.run(main())


def error_of(call: Callable[[], Any]) -> str:
    with pytest.raises(ClientError) as caught:
        call()
    return caught.value.response["Error"]["Code"]


def test_clusters(tmp_path: Path) -> None:
    def use(ecs: ECSClient) -> None:
        [arn] = ecs.list_clusters()["clusterArns"]
        assert arn == "arn:aws:ecs:us-east-1:123456789012:cluster/test"
        answer = ecs.describe_clusters(clusters=["test", "other"])
        assert [found["clusterName"] for found in answer["clusters"]] == ["test"]
        assert [failure["reason"] for failure in answer["failures"]] == ["MISSING"]
        assert error_of(lambda: ecs.list_tasks(cluster="other")) == "ClusterNotFoundException"

    run(tmp_path, use)


def test_tasks_come_in_pages(tmp_path: Path) -> None:
    def prepare(made: Cluster) -> None:
        for _ in range(5):
            made.run_task("app")

    def use(ecs: ECSClient) -> None:
        pages = ecs.get_paginator("list_tasks").paginate(cluster="test", PaginationConfig={"PageSize": 2})
        arns = [page["taskArns"] for page in pages]
        assert [len(page) for page in arns] == [2, 2, 1]
        assert len({arn for page in arns for arn in page}) == 5
        assert ecs.list_tasks(cluster="test", desiredStatus="STOPPED")["taskArns"] == []
        assert ecs.list_tasks(cluster="test", family="other")["taskArns"] == []
        assert error_of(lambda: ecs.list_tasks(cluster="test", serviceName="none")) == "ServiceNotFoundException"
        assert error_of(lambda: ecs.list_tasks(cluster="test", nextToken="x")) == "InvalidParameterException"

    run(tmp_path, use, prepare)


def test_tasks_are_described_and_what_is_missing_is_told(tmp_path: Path) -> None:
    def use(ecs: ECSClient) -> None:
        [started] = ecs.run_task(cluster="test", taskDefinition="app", startedBy="me")["tasks"]
        answer = ecs.describe_tasks(cluster="test", tasks=[started["taskArn"], "feed"])
        [task] = answer["tasks"]
        assert (task["startedBy"], task["group"], task["healthStatus"]) == ("me", "family:app", "UNKNOWN")
        assert task["createdAt"].year > 2000
        assert task["version"] >= 1
        assert answer["failures"] == [{"arn": TASK + "feed", "reason": "MISSING"}]
        assert error_of(lambda: ecs.describe_tasks(cluster="test", tasks=[])) == "InvalidParameterException"
        stopped = ecs.stop_task(cluster="test", task=task["taskArn"], reason="enough")["task"]
        assert (stopped["desiredStatus"], stopped["stoppedReason"]) == ("STOPPED", "enough")
        assert error_of(lambda: ecs.stop_task(cluster="test", task="feed")) == "InvalidParameterException"

    run(tmp_path, use)


def test_task_definitions(tmp_path: Path) -> None:
    def use(ecs: ECSClient) -> None:
        made = ecs.register_task_definition(
            family="other",
            networkMode="awsvpc",
            containerDefinitions=[{"name": "a", "image": "i", "memory": 64, "command": ["x"]}],
        )["taskDefinition"]
        found = ecs.describe_task_definition(taskDefinition="other:1")["taskDefinition"]
        assert found == made
        assert (found["revision"], found["status"]) == (1, "ACTIVE")
        assert error_of(lambda: ecs.describe_task_definition(taskDefinition="other:2")) == "ClientException"
        assert error_of(lambda: ecs.register_task_definition(family="x", containerDefinitions=[])) == "ClientException"

    run(tmp_path, use)


def test_services(tmp_path: Path) -> None:
    def use(ecs: ECSClient) -> None:
        made = ecs.create_service(cluster="test", serviceName="s", taskDefinition="app", desiredCount=2)["service"]
        assert made["deployments"][0]["status"] == "PRIMARY"
        changed = ecs.update_service(cluster="test", service="s", desiredCount=1, forceNewDeployment=True)["service"]
        assert changed["desiredCount"] == 1
        assert [deployment["status"] for deployment in changed["deployments"]] == ["PRIMARY", "ACTIVE"]
        assert ecs.list_services(cluster="test")["serviceArns"] == [made["serviceArn"]]
        answer = ecs.describe_services(cluster="test", services=["s", "none"])
        assert [service["serviceName"] for service in answer["services"]] == ["s"]
        assert [failure["reason"] for failure in answer["failures"]] == ["MISSING"]
        assert error_of(lambda: ecs.update_service(cluster="test", service="none")) == "ServiceNotFoundException"
        assert ecs.list_tasks(cluster="test", serviceName="s")["taskArns"]

    run(tmp_path, use)


def test_there_are_no_container_instances(tmp_path: Path) -> None:
    def use(ecs: ECSClient) -> None:
        answer = ecs.describe_container_instances(cluster="test", containerInstances=["i"])
        assert answer["containerInstances"] == []
        assert [failure["reason"] for failure in answer["failures"]] == ["MISSING"]

    run(tmp_path, use)


def test_what_is_not_known_here(tmp_path: Path) -> None:
    def use(ecs: ECSClient) -> None:
        assert error_of(lambda: ecs.list_account_settings()) == "UnknownOperationException"
        assert error_of(lambda: ecs.run_task(cluster="test", taskDefinition="app", count=11)).startswith("Invalid")

    run(tmp_path, use, lambda made: made.register(definition(container(), family="b")))
