"""`tramo redrive`: letters as AWS writes them, from SQS's queue to functions and back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from infra.cli.letters import Letter, LetterError, describe, read_letter
from infra.cli.redrive import redrive
from infra.cli.tables import Row
from infra.local import eventbus
from tests.support.control_plane import aws
from tests.support.control_plane.ecs import event, life
from tests.support.control_plane.functions import FakeFunction, spec

REGISTRAR = "arn:aws:lambda:us-east-1:123456789012:function:tramo-Registrar-1A2B"
STOPPED = life("aa")[7]


def envelope(payload: Any, function: str = REGISTRAR + ":$LATEST") -> dict[str, Any]:
    """Return what Lambda sends to a destination on failure."""
    return {
        "version": "1.0",
        "timestamp": "2026-11-22T13:00:00.000Z",
        "requestContext": {
            "requestId": "r-1",
            "functionArn": function,
            "condition": "RetriesExhausted",
            "approximateInvokeCount": 3,
        },
        "requestPayload": payload,
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
        "responsePayload": {"errorType": "ClientError", "errorMessage": "Rate exceeded", "stackTrace": []},
    }


def positions() -> dict[str, Any]:
    """Return what Lambda's reader of a stream sends when it gives records up."""
    found = envelope(None)
    del found["requestPayload"], found["responsePayload"]
    return {**found, "DDBStreamBatchInfo": {"shardId": "shardId-1", "startSequenceNumber": "1", "batchSize": 1}}


def test_lambdas_envelope_is_taken_off() -> None:
    found = read_letter(json.dumps(envelope(STOPPED)), {})
    assert found == Letter("tramo-Registrar-1A2B", STOPPED, "ClientError: Rate exceeded")
    assert describe(found.event) == "ECS Task State Change aa"


def test_what_eventbridge_could_not_deliver_is_the_event_itself() -> None:
    attributes = {"TARGET_ARN": REGISTRAR, "ERROR_CODE": "NO_PERMISSIONS", "RULE_ARN": "arn:aws:events:x"}
    assert read_letter(json.dumps(STOPPED), attributes) == Letter("tramo-Registrar-1A2B", STOPPED, "NO_PERMISSIONS")


def test_a_stream_leaves_positions_only() -> None:
    found = read_letter(json.dumps(positions()), {})
    assert (found.event, found.error) == (None, "RetriesExhausted")
    assert describe(found.event) == "records of the stream"


@pytest.mark.parametrize(
    ("body", "attributes", "mistake"),
    [
        ("nonsense", {}, "not JSON"),
        ("[]", {}, "not an object"),
        (json.dumps(STOPPED), {}, "neither Lambda's nor EventBridge's"),
        (json.dumps({"requestContext": {"functionArn": REGISTRAR}}), {}, "no requestPayload"),
        (json.dumps(envelope(STOPPED, "arn:aws:sqs:us-east-1:1:q")), {}, "not the ARN of a function"),
        (json.dumps(STOPPED), {"TARGET_ARN": "arn:aws:sqs:us-east-1:123456789012:q"}, "not the ARN of a function"),
    ],
)
def test_what_is_no_dead_letter_says_why(body: str, attributes: dict[str, str], mistake: str) -> None:
    with pytest.raises(LetterError, match=mistake):
        read_letter(body, attributes)


class Mesh:
    """A queue of SQS and functions of which some events go wrong."""

    def __init__(self, endpoint: str) -> None:
        self.sqs = aws.client("sqs", endpoint)
        self.url = self.sqs.create_queue(QueueName="letters")["QueueUrl"]
        self.handled: list[tuple[str, Any]] = []
        self.wrong: dict[str, str] = {}

    def send(self, body: Any, **attributes: str) -> None:
        typed = {name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()}
        self.sqs.send_message(QueueUrl=self.url, MessageBody=json.dumps(body), MessageAttributes=typed)

    def invoke(self, function: str, event: Any) -> str | None:
        self.handled.append((function, event))
        return self.wrong.get(event["id"])

    def redrive(self, limit: int = 100, dry_run: bool = False) -> list[Row]:
        return redrive(self.sqs, self.url, {"tramo-Registrar-1A2B"}, self.invoke, limit, dry_run)

    def waiting(self) -> int:
        found = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["ApproximateNumberOfMessages"])
        return int(found["Attributes"]["ApproximateNumberOfMessages"])


@pytest.fixture
def mesh(moto_endpoint: str) -> Iterator[Mesh]:
    made = Mesh(moto_endpoint)
    try:
        yield made
    finally:
        made.sqs.delete_queue(QueueUrl=made.url)


def outcomes(rows: list[Row]) -> list[str]:
    return sorted(str(row["outcome"]) for row in rows)


def test_letters_go_back_to_their_function_and_out_of_the_queue(mesh: Mesh) -> None:
    mesh.send(envelope(STOPPED))
    mesh.send(event("service_action"), TARGET_ARN=REGISTRAR)
    mesh.send(positions())
    assert outcomes(mesh.redrive()) == ["handled", "handled", "nothing to redrive"]
    assert {name for name, _ in mesh.handled} == {"tramo-Registrar-1A2B"}
    assert [each for _, each in mesh.handled if each == STOPPED]
    assert mesh.waiting() == 0
    assert mesh.redrive() == []


def test_what_fails_again_stays_and_can_be_redriven_at_once(mesh: Mesh) -> None:
    mesh.wrong = {STOPPED["id"]: "ClientError: still throttled"}
    mesh.send(envelope(STOPPED))
    mesh.send(envelope(life("bb")[3]))
    rows = mesh.redrive()
    assert outcomes(rows) == ["failed again", "handled"]
    assert {row["error"] for row in rows} == {"", "ClientError: still throttled"}
    assert mesh.waiting() == 1
    mesh.wrong = {}
    assert outcomes(mesh.redrive()) == ["handled"]


def test_a_dry_run_changes_nothing(mesh: Mesh) -> None:
    mesh.send(envelope(STOPPED))
    mesh.send(positions())
    assert outcomes(mesh.redrive(dry_run=True)) == ["nothing to redrive", "waiting"]
    assert (mesh.handled, mesh.waiting()) == ([], 2)


def test_a_run_has_a_limit(mesh: Mesh) -> None:
    for number in range(13):
        mesh.send(envelope(life(f"t{number}")[3]))
    assert len(mesh.redrive(limit=12)) == 12
    assert mesh.waiting() == 1


def test_a_letter_for_somebody_elses_function_is_left_alone(mesh: Mesh) -> None:
    mesh.send(envelope(STOPPED, "arn:aws:lambda:us-east-1:123456789012:function:payroll"))
    mesh.send("nonsense")
    rows = mesh.redrive()
    assert outcomes(rows) == ["not understood", "not understood"]
    assert {row["error"] for row in rows} == {"payroll is no function of this stack", "its body is not an object"}
    assert (mesh.handled, mesh.waiting()) == ([], 2)


def test_the_local_clusters_letters() -> None:
    letters = eventbus.DeadLetters(clock=lambda: 7.0)
    good, bad = FakeFunction(spec(name="Good")), FakeFunction(spec(name="Bad"), failures=9)
    partial = FakeFunction(spec(name="Partial"), answer=lambda _: {"batchItemFailures": [{"itemIdentifier": "1"}]})
    for name in ("Good", "Bad", "Partial", "Good"):
        letters.add(name, "at first", {"for": name})
    functions = {"Good": good, "Bad": bad, "Partial": partial}
    redriven = asyncio.run(eventbus.redrive(letters, functions, limit=3))
    assert [wrong for _, wrong in redriven] == [
        None,
        "Bad: ValueError: on purpose",
        "the function reported failed records",
    ]
    assert [letter.function for letter in letters.letters] == ["Bad", "Partial", "Good"]
    assert good.events == [{"for": "Good"}]
