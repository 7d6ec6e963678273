"""`--stack`: commands about a stack in AWS. moto plays AWS, and the local API Gateway the stack's API."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import boto3
import pytest

from infra.cli import preflight
from infra.cli.main import main
from infra.cli.stack_health import FUNCTIONS, RULES, function_findings, stack_findings
from infra.local.api_gateway import ApiGateway
from infra.local.settings import ACCESS_KEY, SECRET_KEY
from infra.local.template import load
from tests.support.control_plane.aws import ENVIRONMENT
from tests.support.control_plane.functions import FakeFunction, spec
from tests.support.control_plane.stacks import Stack, cloudformation

REGION: Final = "eu-west-3"  # no other test's
TASK: Final = "ab" * 16
SERVICE: Final = {
    "name": "orders",
    "protocol": "http",
    "vip": "127.254.0.2",
    "revision": 4,
    "aliases": [{"dns_name": "orders", "port": 80}],
    "refused": [],
}
ENDPOINT: Final = {
    "id": f"{TASK}/orders",
    "address": "10.0.1.5",
    "port": 15100,
    "state": "ready",
    "task_definition": "orders:1",
}
ANSWERS: Final[dict[str, Any]] = {
    "/v1/namespaces": {"namespaces": [{"name": "shop.local"}]},
    "/v1/findings": {"findings": [], "next": None},
    "/v1/namespaces/{namespace}/findings": {"findings": [], "next": None},
    "/v1/namespaces/{namespace}/services": {"services": [{**SERVICE, "endpoints": {"ready": 1}}], "next": None},
    "/v1/namespaces/{namespace}/snapshot": {"revision": 4, "services": [{**SERVICE, "endpoints": [ENDPOINT]}]},
    "/v1/namespaces/{namespace}/questions": {"id": "1", "asked": []},
}


def answer(event: Any) -> dict[str, Any]:
    return {"statusCode": 200, "body": json.dumps(ANSWERS[event["resource"]]), "headers": {}}


@pytest.fixture(scope="module")
def api() -> Iterator[str]:
    """The stack's API, in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="api", daemon=True)
    thread.start()
    routes = next(function.routes for function in load().functions if function.routes)
    gateway = ApiGateway(
        FakeFunction(spec(routes=routes), answer), stage="live", region=REGION, minimum_compression_size=100_000
    )
    asyncio.run_coroutine_threadsafe(gateway.back(), loop).result(30)
    try:
        yield gateway.url
    finally:
        asyncio.run_coroutine_threadsafe(gateway.away(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture(scope="module")
def stack(api: str, moto_endpoint: str) -> Iterator[str]:
    """A stack with the rules, the queue and the names of functions."""
    stacks: dict[str, Stack] = {}
    with pytest.MonkeyPatch.context() as patch, cloudformation(stacks) as url:
        own = {
            "AWS_ENDPOINT_URL": moto_endpoint,
            "AWS_ENDPOINT_URL_CLOUDFORMATION": url,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
        }
        for name, value in {**ENVIRONMENT, **own}.items():
            patch.setenv(name, value)
        patch.delenv("TRAMO_API_URL", raising=False)
        events = boto3.client("events")
        resources = {name: f"tramo-{name.lower()}" for name in FUNCTIONS}
        resources |= {name: f"blue-{name}-1" for name in RULES}
        for name in RULES:
            events.put_rule(Name=resources[name], ScheduleExpression="rate(1 minute)", State="ENABLED")
        resources["DeadLetters"] = boto3.client("sqs").create_queue(QueueName="blue-DeadLetters-1")["QueueUrl"]
        stacks["blue"] = Stack(resources, {"ApiUrl": api})
        yield "blue"


def found(stack: str) -> dict[str, list[str]]:
    return {what: [each.code for each in findings] for what, findings in stack_findings(stack, REGION)}


def test_a_healthy_stack_has_nothing_wrong(stack: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert [codes for codes in found(stack).values() if codes] == []
    assert len(found(stack)) == 3
    assert main(["check", "--stack", stack, "--region", REGION]) == 0
    assert capsys.readouterr().out.endswith("Status check results are √\n")
    assert main(["services", "--stack", stack, "--region", REGION, "-o", "json"]) == 0
    assert [each["name"] for each in json.loads(capsys.readouterr().out)] == ["orders"]


def test_a_disabled_rule_is_named_with_the_command_that_enables_it(stack: str) -> None:
    events = boto3.client("events")
    name = next(each["Name"] for each in events.list_rules()["Rules"] if "RegistrarTaskState" in each["Name"])
    events.disable_rule(Name=name)
    try:
        (rule,) = next(findings for _, findings in stack_findings(stack, REGION))
    finally:
        events.enable_rule(Name=name)
    assert (rule.code, rule.resource, rule.what) == ("TRM0404", "stack/RegistrarTaskState", "it is disabled")
    assert rule.remedy == f"aws events enable-rule --name {name}"


def test_dead_letters_are_counted(stack: str) -> None:
    queue = boto3.client("sqs")
    (url,) = queue.list_queues(QueueNamePrefix="blue-DeadLetters")["QueueUrls"]
    queue.send_message(QueueUrl=url, MessageBody="{}")
    try:
        assert found(stack)["every event was handled"] == ["TRM0403"]
    finally:
        queue.purge_queue(QueueUrl=url)


class Metrics:
    """CloudWatch's statistics of functions: errors by name. moto takes no metrics of AWS's own namespaces."""

    def __init__(self, **errors: float) -> None:
        self._errors = errors

    def get_metric_statistics(self, **asked: Any) -> dict[str, Any]:
        (dimension,) = asked["Dimensions"]
        errors = self._errors.get(dimension["Value"])
        return {"Datapoints": [] if errors is None else [{"Sum": errors}]}


def test_a_function_that_fails_is_named_with_its_log() -> None:
    names = {name: name.lower() for name in FUNCTIONS}
    (one,) = function_findings(Metrics(publisher=3.0, api=0.0), names)
    assert (one.code, one.resource) == ("TRM0406", "function/Publisher")
    assert one.what == "3 of its invocations failed in the last 10 minutes"
    assert one.remedy == "aws logs tail /aws/lambda/publisher --since 10m"


def test_a_stack_that_is_not_there_is_an_error(stack: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--stack", "nobody", "--region", REGION]) == 1
    assert "nobody does not exist" in capsys.readouterr().err


def test_before_an_installation_account_and_tools_are_looked_at(stack: str) -> None:
    looked = dict(preflight.look(None, REGION))
    assert [each for each in looked if each.startswith("AWS knows the credentials: account ")]
    wrong = [each for findings in looked.values() for each in findings]
    assert {each.resource for each in wrong} <= {"machine"}, "only tools that this machine has not"
    assert looked["stack tramo can be created or updated"] == []


def test_the_logs_of_a_service_are_read_from_cloudwatch(stack: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = {"awslogs-group": "/shop", "awslogs-region": REGION, "awslogs-stream-prefix": "mesh"}
    containers: list[Any] = [
        {"name": "app", "image": "x", "memory": 64, "logConfiguration": {"logDriver": "awslogs", "options": options}},
        {
            "name": "sidecar",
            "image": "x",
            "memory": 64,
            "logConfiguration": {"logDriver": "awslogs", "options": options},
        },
        {"name": "other", "image": "x", "memory": 64, "logConfiguration": {"logDriver": "fluentd", "options": {}}},
    ]
    boto3.client("ecs").register_task_definition(family="orders", containerDefinitions=containers)
    logs = boto3.client("logs")
    logs.create_log_group(logGroupName="/shop")
    logs.create_log_stream(logGroupName="/shop", logStreamName=f"mesh/app/{TASK}")
    now = int(time.time() * 1000)
    events: Any = [{"timestamp": now + number, "message": f"line {number}"} for number in range(5)]
    logs.put_log_events(logGroupName="/shop", logStreamName=f"mesh/app/{TASK}", logEvents=events)
    for what in ("orders", TASK[:6]):
        assert main(["logs", what, "--stack", stack, "--region", REGION, "--lines", "2"]) == 0
        assert capsys.readouterr().out.splitlines() == [
            "==> abababab app, /shop <==",
            "line 3",
            "line 4",
            "==> abababab sidecar, /shop <==",  # it has not written yet
            "==> abababab other, it logs to fluentd, and only awslogs can be read here <==",
        ]
    assert main(["logs", "nobody", "--stack", stack, "--region", REGION]) == 1
    assert "is called nobody" in capsys.readouterr().err


def test_what_has_changed_is_shown_against_a_picture(
    stack: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "before.json"
    assert main(["diff", "--save", str(path), "--stack", stack, "--region", REGION]) == 0
    assert main(["diff", str(path), "--stack", stack, "--region", REGION]) == 0
    assert capsys.readouterr().out.startswith("Nothing has changed since ")
    path.write_text(path.read_text().replace("orders:1", "orders:0"))
    assert main(["diff", str(path), "--stack", stack, "--region", REGION, "-o", "json"]) == 0
    assert [(each["sign"], each["what"]) for each in json.loads(capsys.readouterr().out)] == [
        ("-", "ready endpoints of orders:0: 1 → 0"),
        ("+", "ready endpoints of orders:1: 0 → 1"),
    ]
    path.write_text("{}")
    assert main(["diff", str(path), "--stack", stack, "--region", REGION]) == 65
    assert "no picture of a mesh" in capsys.readouterr().err
