"""The ECS API of this machine: AWS JSON 1.1, the operations that the mesh and the `tramo` command use.

Names, errors and limits are those of the ECS API reference. Pages: `maxResults` up to 100, `nextToken` is the
place after the last entry of the page before. DescribeTasks and DescribeServices answer what they do not know
in `failures`, as ECS does.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from infra.local.cluster import Cluster, EcsError
from infra.local.definition import DefinitionError
from infra.local.httpserver import Request, Response
from infra.local.service import describe
from infra.local.settings import ACCOUNT, LocalError
from infra.local.state import Status
from infra.local.task import description

TARGET: Final = "AmazonEC2ContainerServiceV20141113"
_PAGE: Final = 100
_MOST_TASKS: Final = 100
_MOST_SERVICES: Final = 10
_MOST_STARTED: Final = 10

Json = dict[str, Any]


class EcsApi:
    """Answers for one cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._operations: Mapping[str, Callable[[Json], Json]] = {
            "ListClusters": self._list_clusters,
            "DescribeClusters": self._describe_clusters,
            "ListTasks": self._list_tasks,
            "DescribeTasks": self._describe_tasks,
            "ListServices": self._list_services,
            "DescribeServices": self._describe_services,
            "DescribeTaskDefinition": self._describe_task_definition,
            "DescribeContainerInstances": self._describe_container_instances,
            "RegisterTaskDefinition": self._register_task_definition,
            "CreateService": self._create_service,
            "UpdateService": self._update_service,
            "RunTask": self._run_task,
            "StopTask": self._stop_task,
        }

    async def handle(self, request: Request) -> Response:
        """Answer one request."""
        service, _, name = request.header("x-amz-target").partition(".")
        operation = self._operations.get(name) if service == TARGET else None
        if operation is None:
            return _error("UnknownOperationException", f"The operation {name or '(none)'} is not known here.")
        try:
            parameters = json.loads(request.body or b"{}")
        except ValueError:
            return _error("SerializationException", "The body is not JSON.")
        if not isinstance(parameters, dict):
            return _error("SerializationException", "The body is not a JSON object.")
        try:
            return _answer(200, operation(parameters))
        except EcsError as error:
            return _error(error.code, str(error))
        except DefinitionError as error:
            return _error("ClientException", str(error))
        except LocalError as error:
            return _error("ServerException", str(error), 500)

    def _check_cluster(self, parameters: Json) -> None:
        name = str(parameters.get("cluster", "default")).rpartition("/")[2]
        if name != self._cluster.name:
            raise EcsError("ClusterNotFoundException", "Cluster not found.")

    def _list_clusters(self, parameters: Json) -> Json:
        return _page("clusterArns", [self._cluster.arn], parameters)

    def _describe_clusters(self, parameters: Json) -> Json:
        wanted = parameters.get("clusters", ["default"])
        known = {self._cluster.name, self._cluster.arn}
        states = [runner.state for runner in self._cluster.tasks.values()]
        cluster = {
            "clusterArn": self._cluster.arn,
            "clusterName": self._cluster.name,
            "status": "ACTIVE",
            "runningTasksCount": sum(state.status is Status.RUNNING for state in states),
            "pendingTasksCount": sum(state.status in (Status.PROVISIONING, Status.PENDING) for state in states),
            "activeServicesCount": len(self._cluster.services),
            "registeredContainerInstancesCount": 0,
        }
        return {
            "clusters": [cluster for name in wanted if name in known],
            "failures": _missing(self._cluster_arn(name) for name in wanted if name not in known),
        }

    def _cluster_arn(self, name: str) -> str:
        return name if name.startswith("arn:") else f"{self._cluster.arn.rpartition('/')[0]}/{name}"

    def _list_tasks(self, parameters: Json) -> Json:
        self._check_cluster(parameters)
        service = parameters.get("serviceName")
        if service is not None:
            service = self._cluster.service(str(service)).name
        family, started_by = parameters.get("family"), parameters.get("startedBy")
        desired = Status(parameters.get("desiredStatus", "RUNNING"))
        found = [
            runner.identity.arn
            for runner in self._cluster.tasks.values()
            if runner.state.desired is desired
            and (service is None or runner.identity.service == service)
            and (family is None or runner.identity.definition.family == family)
            and (started_by is None or runner.identity.started_by == started_by)
        ]
        return _page("taskArns", found, parameters)

    def _describe_tasks(self, parameters: Json) -> Json:
        self._check_cluster(parameters)
        wanted = _names(parameters, "tasks", _MOST_TASKS)
        known = {name: self._cluster.tasks.get(name.rpartition("/")[2]) for name in wanted}
        return {
            "tasks": [description(r.identity, r.state) for r in known.values() if r is not None],
            "failures": _missing(self._task_arn(name) for name, runner in known.items() if runner is None),
        }

    def _task_arn(self, name: str) -> str:
        region = self._cluster.settings.region
        return name if name.startswith("arn:") else f"arn:aws:ecs:{region}:{ACCOUNT}:task/{self._cluster.name}/{name}"

    def _list_services(self, parameters: Json) -> Json:
        self._check_cluster(parameters)
        return _page("serviceArns", [service.arn for service in self._cluster.services.values()], parameters)

    def _describe_services(self, parameters: Json) -> Json:
        self._check_cluster(parameters)
        wanted = _names(parameters, "services", _MOST_SERVICES)
        known = {name: self._cluster.services.get(name.rpartition("/")[2]) for name in wanted}
        region = self._cluster.settings.region
        prefix = f"arn:aws:ecs:{region}:{ACCOUNT}:service/{self._cluster.name}"
        return {
            "services": [describe(s, self._cluster.members(s)) for s in known.values() if s is not None],
            "failures": _missing(f"{prefix}/{name}" for name, service in known.items() if service is None),
        }

    def _describe_task_definition(self, parameters: Json) -> Json:
        definition = self._cluster.definition(str(parameters.get("taskDefinition", "")))
        return {"taskDefinition": definition.document, "tags": []}

    def _describe_container_instances(self, parameters: Json) -> Json:
        self._check_cluster(parameters)  # every task here is on Fargate: there are no instances
        return {"containerInstances": [], "failures": _missing(_names(parameters, "containerInstances", _MOST_TASKS))}

    def _register_task_definition(self, parameters: Json) -> Json:
        return {"taskDefinition": self._cluster.register(parameters).document, "tags": []}

    def _create_service(self, parameters: Json) -> Json:
        self._check_cluster(parameters)
        service = self._cluster.create_service(parameters)
        return {"service": describe(service, self._cluster.members(service))}

    def _update_service(self, parameters: Json) -> Json:
        self._check_cluster(parameters)
        service = self._cluster.update_service(
            str(parameters.get("service", "")),
            desired_count=parameters.get("desiredCount"),
            definition=parameters.get("taskDefinition"),
            force=bool(parameters.get("forceNewDeployment", False)),
        )
        return {"service": describe(service, self._cluster.members(service))}

    def _run_task(self, parameters: Json) -> Json:
        self._check_cluster(parameters)
        count = parameters.get("count", 1)
        if not isinstance(count, int) or not 1 <= count <= _MOST_STARTED:
            raise EcsError("InvalidParameterException", f"count must be 1 to {_MOST_STARTED}.")
        runners = [
            self._cluster.run_task(
                str(parameters.get("taskDefinition", "")),
                group=parameters.get("group"),
                started_by=parameters.get("startedBy"),
                overrides=parameters.get("overrides", {}).get("containerOverrides", []),
            )
            for _ in range(count)
        ]
        return {"tasks": [description(r.identity, r.state) for r in runners], "failures": []}

    def _stop_task(self, parameters: Json) -> Json:
        self._check_cluster(parameters)
        runner = self._cluster.stop_task(str(parameters.get("task", "")), parameters.get("reason"))
        return {"task": description(runner.identity, runner.state)}


def _names(parameters: Json, key: str, most: int) -> list[str]:
    names = parameters.get(key)
    if not isinstance(names, list) or not names:
        raise EcsError("InvalidParameterException", f"{key} cannot be empty.")
    if len(names) > most:
        raise EcsError("InvalidParameterException", f"{key} can have at most {most} items.")
    return [str(name) for name in names]


def _page(key: str, found: Sequence[str], parameters: Json) -> Json:
    size = parameters.get("maxResults") or _PAGE
    token = parameters.get("nextToken") or "0"
    if not isinstance(size, int) or not 1 <= size <= _PAGE or not str(token).isdecimal():
        raise EcsError("InvalidParameterException", "maxResults must be 1 to 100 and nextToken one that was given.")
    start = int(token)
    page: Json = {key: list(found[start : start + size])}
    if start + size < len(found):
        page["nextToken"] = str(start + size)
    return page


def _missing(arns: Iterable[str]) -> list[Json]:
    return [{"arn": arn, "reason": "MISSING"} for arn in arns]


def _answer(status: int, body: Json) -> Response:
    return Response(status, json.dumps(body).encode(), (("Content-Type", "application/x-amz-json-1.1"),))


def _error(code: str, message: str, status: int = 400) -> Response:
    return _answer(status, {"__type": code, "message": message})
