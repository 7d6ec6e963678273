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
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from botocore.exceptions import ClientError

from tests.support.control_plane import sam
from tests.support.control_plane.ecs import FakeEcs

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
_JSON: Final = "application/x-amz-json-1.1"
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

    def answer(self, headers: Mapping[str, str], body: bytes) -> tuple[int, str, bytes]:
        """Return status, content type and body."""
        found = _CALLER.search(headers.get("authorization", ""))
        caller = found[1] if found else "nobody"
        service, operation, actions = _actions(headers, body)
        if service in self.away:
            return 500, _JSON, _error("InternalServerError", f"{service} is away")
        self.asked[caller] |= actions
        refused = actions - self.granted.get(caller, frozenset())
        if refused:
            return 400, _JSON, _error("AccessDeniedException", f"{caller} may not {', '.join(sorted(refused))}")
        if service == "dynamodb":
            return self._forward(headers, body)
        try:
            if service == "ec2":
                return 200, "text/xml", self._instances(body)
            return 200, _JSON, _json(getattr(self.ecs, _ECS_CALLS[operation])(**json.loads(body)))
        except ClientError as error:
            return 400, _JSON, _error(error.response["Error"]["Code"], error.response["Error"]["Message"])

    def _forward(self, headers: Mapping[str, str], body: bytes) -> tuple[int, str, bytes]:
        connection = http.client.HTTPConnection(self._dynamodb, timeout=10)
        try:
            passed = ("authorization", "content-type", "x-amz-date", "x-amz-target")
            connection.request("POST", "/", body, {name: headers[name] for name in passed})
            answer = connection.getresponse()
            return answer.status, answer.headers["Content-Type"], answer.read()
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


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def _error(code: str, message: str) -> bytes:
    return _json({"__type": code, "message": message})


@contextmanager
def open_front_door(dynamodb: str, ecs: FakeEcs) -> Iterator[FrontDoor]:
    """Yield a front door on a free port of 127.0.0.1; `dynamodb` is the URL behind it."""
    door = FrontDoor(dynamodb, ecs)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, content_type, answer = door.answer({k.lower(): v for k, v in self.headers.items()}, body)
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing: what was asked is recorded."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    door.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, name="front door", daemon=True)
    thread.start()
    try:
        yield door
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
