"""One address that stands for AWS before the functions: who asks for what is checked against template.yaml.

Rules:
- A caller's access key is the logical id of its function. A call that its role in the template does not allow is
  refused as AWS refuses it, so a missing permission fails the test that needs it.
- DynamoDB is DynamoDB Local, to which calls go on unchanged. ECS and EC2 are answered by a FakeEcs.
- A transaction is authorised as the single writes in it are ("IAM and transactions", DynamoDB developer guide).
"""

from __future__ import annotations

import http.client
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from botocore.exceptions import ClientError

from tests.support.control_plane import sam
from tests.support.control_plane.ecs import FakeEcs
from tests.support.wire.answer_server import AnswerServer, Request, Response

_CALLER: Final = re.compile(r"Credential=(\w+)/")
_WRITES: Final = {
    "Put": "dynamodb:PutItem",
    "Update": "dynamodb:UpdateItem",
    "Delete": "dynamodb:DeleteItem",
    "ConditionCheck": "dynamodb:ConditionCheckItem",
}
_ECS_CALLS: Final = {
    "DescribeTaskDefinition": "describe_task_definition",
    "DescribeContainerInstances": "describe_container_instances",
    "DescribeTasks": "describe_tasks",
    "ListClusters": "list_clusters",
    "ListTasks": "list_tasks",
}
_INSTANCES: Final = """<DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><reservationSet><item>
<instancesSet><item><instanceId>{id}</instanceId><privateIpAddress>{address}</privateIpAddress></item></instancesSet>
</item></reservationSet></DescribeInstancesResponse>"""


class FrontDoor:
    """The address, what was asked at it by each function, and what it shall refuse for a while."""

    def __init__(self, dynamodb: str, ecs: FakeEcs) -> None:
        self.url = ""
        self.ecs = ecs
        self.asked: defaultdict[str, set[str]] = defaultdict(set)
        self.away: set[str] = set()
        """Services that fail: `dynamodb`, `ecs`, `ec2`."""
        self.granted = granted()
        self._dynamodb = urlsplit(dynamodb).netloc

    def answer(self, request: Request) -> Response:
        """Return what AWS answers, or the refusal of a caller without the permission."""
        found = _CALLER.search(request.fields.get("authorization", ""))
        caller = found[1] if found else "nobody"
        service, operation, actions = _actions(request.fields, request.body)
        if service in self.away:
            return _error(500, "InternalServerError", f"{service} is away")
        self.asked[caller] |= actions
        refused = actions - self.granted.get(caller, frozenset())
        if refused:
            return _error(400, "AccessDeniedException", f"{caller} may not {', '.join(sorted(refused))}")
        if service == "dynamodb":
            return self._forward(request)
        try:
            if service == "ec2":
                return Response(200, {"Content-Type": "text/xml"}, self._instances(request.body))
            return _json(200, getattr(self.ecs, _ECS_CALLS[operation])(**json.loads(request.body)))
        except ClientError as error:
            return _error(400, error.response["Error"]["Code"], error.response["Error"]["Message"])

    def _forward(self, request: Request) -> Response:
        connection = http.client.HTTPConnection(self._dynamodb, timeout=10)
        try:
            passed = ("authorization", "content-type", "x-amz-date", "x-amz-target")
            connection.request("POST", "/", request.body, {name: request.fields[name] for name in passed})
            answer = connection.getresponse()
            return Response(answer.status, {"Content-Type": answer.headers["Content-Type"]}, answer.read())
        finally:
            connection.close()

    def _instances(self, body: bytes) -> bytes:
        instance = parse_qs(body.decode())["InstanceId.1"][0]
        found = self.ecs.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]
        return _INSTANCES.format(id=instance, address=found["PrivateIpAddress"]).encode()


def granted() -> dict[str, frozenset[str]]:
    """Return the actions that the template allows to each function, with every parameter at its default."""
    stack = sam.deployed()
    found: dict[str, frozenset[str]] = {}
    for name, function in sam.resources("AWS::Lambda::Function").items():
        (role, _) = function["Role"]["Fn::GetAtt"]
        statements = [
            each for policy in stack[role]["Properties"]["Policies"] for each in policy["PolicyDocument"]["Statement"]
        ]
        actions = [each["Action"] if isinstance(each["Action"], list) else [each["Action"]] for each in statements]
        found[name] = frozenset(action for each in actions for action in each)
    return found


def _actions(headers: Mapping[str, str], body: bytes) -> tuple[str, str, frozenset[str]]:
    """Return the service, the operation, and the actions that IAM looks for."""
    target, _, operation = headers.get("x-amz-target", "").partition(".")
    if not operation:
        operation = parse_qs(body.decode())["Action"][0]
        return "ec2", operation, frozenset({f"ec2:{operation}"})
    if target.startswith("AmazonEC2ContainerService"):
        return "ecs", operation, frozenset({f"ecs:{operation}"})
    if operation == "TransactWriteItems":
        return "dynamodb", operation, frozenset(_WRITES[k] for each in json.loads(body)["TransactItems"] for k in each)
    return "dynamodb", operation, frozenset({f"dynamodb:{operation}"})


def _json(status: int, value: Any) -> Response:
    return Response(status, {"Content-Type": "application/x-amz-json-1.1"}, json.dumps(value).encode())


def _error(status: int, code: str, message: str) -> Response:
    return _json(status, {"__type": code, "message": message})


@contextmanager
def open_front_door(dynamodb: str, ecs: FakeEcs) -> Iterator[FrontDoor]:
    """Yield a front door on a free port of 127.0.0.1; `dynamodb` is the URL behind it."""
    door = FrontDoor(dynamodb, ecs)
    with AnswerServer(door.answer) as server:
        door.url = server.origin
        yield door
