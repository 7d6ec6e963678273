"""What the task metadata endpoint says, in AWS's own form."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from sidecar.metadata import (
    IDENTIFY_ATTEMPTS,
    IDENTIFY_PAUSE_SECONDS,
    MetadataError,
    TaskHealth,
    TaskIdentity,
    TaskMetadata,
    TaskReading,
    identify,
)
from tests.support.wire.answer_server import AnswerServer, Request, Response

# https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-metadata-endpoint-v4-examples.html, shortened
TASK: dict[str, Any] = {
    "Cluster": "arn:aws:ecs:us-west-2:111122223333:cluster/default",
    "TaskARN": "arn:aws:ecs:us-west-2:111122223333:task/default/158d1c8083dd49d6b527399fd6414f5c",
    "Family": "curltest",
    "ServiceName": "MyService",
    "Revision": "26",
    "DesiredStatus": "RUNNING",
    "KnownStatus": "RUNNING",
    "AvailabilityZone": "us-west-2d",
    "LaunchType": "EC2",
    "Containers": [{"DockerId": "598cba581fe3", "Name": "~internal~ecs~pause", "Type": "CNI_PAUSE"}],
}


class FakeEndpoint(AnswerServer):
    """The endpoint with one answer about the task and one about the container."""

    def __init__(self) -> None:
        self.body = json.dumps(TASK).encode()
        self.own = b"{}"
        super().__init__(self._answer)

    def _answer(self, request: Request) -> Response:
        body = {"/v4/abc/task": self.body, "/v4/abc": self.own}.get(request.target)
        return Response(404) if body is None else Response(body=body)


@pytest.fixture
def endpoint() -> Iterator[FakeEndpoint]:
    with FakeEndpoint() as found:
        yield found


def metadata(endpoint: FakeEndpoint) -> TaskMetadata:
    return TaskMetadata(f"{endpoint.origin}/v4/abc")


def test_the_identity_of_a_task(endpoint: FakeEndpoint) -> None:
    expected = TaskIdentity(
        "158d1c8083dd49d6b527399fd6414f5c",
        "MyService",
        "default",
        "us-west-2d",
        "us-west-2",
        task_arn=TASK["TaskARN"],
        family="curltest",
        revision="26",
        launch_type="EC2",
    )
    assert metadata(endpoint).identity() == expected


def test_a_task_that_no_service_started(endpoint: FakeEndpoint) -> None:
    endpoint.body = json.dumps({"Cluster": "default", "TaskARN": "x/y/z"}).encode()
    assert metadata(endpoint).identity() == TaskIdentity("z", "", "default", "", task_arn="x/y/z")


def test_the_health_of_the_containers_that_have_a_check(endpoint: FakeEndpoint) -> None:
    assert metadata(endpoint).reading().health is None
    early, late = "2026-11-22T12:00:00Z", "2026-11-22T12:05:00Z"
    for statuses, combined in (
        (["HEALTHY", "HEALTHY"], "HEALTHY"),
        (["HEALTHY", "UNKNOWN"], "UNKNOWN"),
        (["UNHEALTHY", "UNKNOWN"], "UNHEALTHY"),
    ):
        checks = [
            {"status": status, "statusSince": since} for status, since in zip(statuses, (early, late), strict=True)
        ]
        containers = [{"Name": "app", "Health": checks[0]}, {"Name": "plain"}, {"Name": "side", "Health": checks[1]}]
        endpoint.body = json.dumps(TASK | {"Containers": containers}).encode()
        assert metadata(endpoint).reading().health == TaskHealth(combined, late)


def test_the_gates_health_does_not_count(endpoint: FakeEndpoint) -> None:
    since = "2026-11-22T12:00:00Z"
    app = {"Name": "app", "Health": {"status": "HEALTHY", "statusSince": since}}
    gate = {"Name": "gate", "Health": {"status": "UNHEALTHY", "statusSince": since}, "Labels": {"tramo.gate": "true"}}
    endpoint.body = json.dumps(TASK | {"Containers": [app, gate]}).encode()
    assert metadata(endpoint).reading().health == TaskHealth("HEALTHY", since)
    endpoint.body = json.dumps(TASK | {"Containers": [gate]}).encode()
    assert metadata(endpoint).reading().health is None


@pytest.mark.parametrize(("desired", "is_stopping"), [("RUNNING", False), ("STOPPED", True)])
def test_ecs_says_that_it_stops_the_task(endpoint: FakeEndpoint, desired: str, is_stopping: bool) -> None:
    endpoint.body = json.dumps(TASK | {"DesiredStatus": desired}).encode()
    assert metadata(endpoint).reading() == TaskReading(None, is_stopping)


def test_the_labels_of_ours_are_shown_with_their_containers(endpoint: FakeEndpoint) -> None:
    containers = [
        {"Name": "app", "Labels": {"tramo.service-conect": "{}", "com.amazonaws.ecs.cluster": "default"}},
        {"Name": "sidecar", "Labels": {"tramo.sidecar": "true"}},
    ]
    endpoint.body = json.dumps(TASK | {"Containers": containers}).encode()
    assert metadata(endpoint).reading().labels == {
        ("app", "tramo.service-conect", "{}"),
        ("sidecar", "tramo.sidecar", "true"),
    }


@pytest.mark.parametrize("body", [b"", b"no json", b"[]", b'{"Cluster": 5}'])
def test_answers_that_make_no_sense(endpoint: FakeEndpoint, body: bytes) -> None:
    endpoint.body = body
    with pytest.raises(MetadataError):
        metadata(endpoint).identity()


def test_an_endpoint_that_is_not_there() -> None:
    with pytest.raises(MetadataError):
        TaskMetadata("http://127.0.0.1:1/v4/abc").identity()


@pytest.mark.parametrize("failures", [0, 1, IDENTIFY_ATTEMPTS - 1])
def test_a_task_asks_again_who_it_is(failures: int) -> None:
    answers: Iterator[MetadataError | TaskIdentity] = iter([*[MetadataError("not yet")] * failures, TaskIdentity("z")])
    pauses: list[float] = []

    def read() -> TaskIdentity:
        answer = next(answers)
        if isinstance(answer, MetadataError):
            raise answer
        return answer

    assert identify(read, pauses.append) == TaskIdentity("z")
    assert pauses == [IDENTIFY_PAUSE_SECONDS] * failures


def test_a_task_does_not_ask_for_ever() -> None:
    asked: list[None] = []

    def read() -> TaskIdentity:
        asked.append(None)
        raise MetadataError("away")

    with pytest.raises(MetadataError):
        identify(read, lambda _: None)
    assert len(asked) == IDENTIFY_ATTEMPTS


@pytest.mark.parametrize(
    ("own", "task", "expected"),
    [
        ({"Limits": {"CPU": 2, "Memory": 128}}, {"Limits": {"CPU": 0.25, "Memory": 512}}, 128 << 20),
        ({"Limits": {"CPU": 2}}, {"Limits": {"CPU": 0.25, "Memory": 512}}, 512 << 20),
        ({}, {}, None),
    ],
    ids=["the container's own", "the task's", "none"],
)
def test_the_limit_of_the_memory(
    endpoint: FakeEndpoint, own: dict[str, Any], task: dict[str, Any], expected: int | None
) -> None:
    endpoint.own, endpoint.body = json.dumps(own).encode(), json.dumps(TASK | task).encode()
    assert metadata(endpoint).memory_limit() == expected
