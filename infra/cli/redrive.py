"""`tramo redrive`: gives dead letters back to the functions that failed to handle them.

Rules:
1. A letter is deleted when its function has handled it, or when it holds no event. Any other stays.
2. The command waits for the function, so that the outcome is known. A run takes a letter at most once.
3. A run takes at most `limit` letters and ends when the queue is empty.
4. Functions take an event twice without harm, so it does no harm either when a run ends between the two steps.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from infra.cli import tables
from infra.cli.letters import Letter, LetterError, describe, read_letter
from infra.cli.mesh import control
from infra.cli.tables import Row, show
from infra.client import stack
from infra.local.settings import LocalError

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef

AT_ONCE: Final = 10  # SQS hands out no more
# Nobody else is given a letter for so long: ten functions, each of which may take its whole time of a minute.
HIDDEN_SECONDS: Final = 900
WAIT_SECONDS: Final = 2  # all of SQS's servers are asked then, so that an empty answer means an empty queue
# One attempt: a function that takes long is not called a second time meanwhile.
_INVOKE: Final = Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=70)

Invoke = Callable[[str, object], str | None]
"""Invokes a function with an event, and returns what went wrong."""


class Outcome(StrEnum):
    """What became of a letter."""

    WAITING = "waiting"  # a dry run leaves it
    HANDLED = "handled"
    NOTHING = "nothing to redrive"
    FAILED = "failed again"
    UNKNOWN = "not understood"


def run(options: argparse.Namespace) -> int:
    """Redrive, print what became of the letters, and return 1 if one of them is still there for a failure."""
    if options.stack:
        rows = redrive_stack(options.stack, options.region, options.limit, options.dry_run)
    elif options.dry_run:
        rows = rows_of(control(options).status()["dead_letters"][: options.limit])
    else:
        rows = rows_of(control(options).call("POST", f"/redrive/{options.limit}")["letters"])
    show(sys.stdout, options.output, tables.REDRIVEN, rows)
    return int(any(row["outcome"] in (Outcome.FAILED, Outcome.UNKNOWN) for row in rows))


def redrive_stack(name: str, region: str | None, limit: int, dry_run: bool) -> list[Row]:
    """Redrive the dead letters of a stack and return a row for each. Raises LocalError."""
    try:
        session = stack.open_session(region)
        found = stack.resources(session, name)
        if "DeadLetters" not in found:
            raise LocalError(f"the stack {name} has no queue DeadLetters; is it tramo's?")
        queue = session.client("sqs", config=stack.CONFIG)
        return redrive(queue, found["DeadLetters"], found.values(), _invoker(session), limit, dry_run)
    except (BotoCoreError, ClientError) as error:
        raise LocalError(str(error)) from error


def redrive(
    queue: SQSClient, url: str, functions: Collection[str], invoke: Invoke, limit: int, dry_run: bool
) -> list[Row]:
    """Redrive up to `limit` letters of a queue; only to `functions`, which are names. Raises what botocore raises."""
    rows: list[Row] = []
    seen: set[str] = set()
    kept: list[str] = []
    try:
        while len(rows) < limit:
            messages = queue.receive_message(
                QueueUrl=url,
                MaxNumberOfMessages=min(AT_ONCE, limit - len(rows)),
                VisibilityTimeout=HIDDEN_SECONDS,
                WaitTimeSeconds=WAIT_SECONDS,
                MessageSystemAttributeNames=["SentTimestamp"],
                MessageAttributeNames=["All"],
            ).get("Messages", [])
            # SQS may hand a message out twice; then it has nothing new to give.
            fresh = [each for each in messages if each["MessageId"] not in seen]
            if not fresh:
                return rows
            for message in fresh:
                seen.add(message["MessageId"])
                kept.append(message["ReceiptHandle"])
                row = _redrive_one(message, functions, invoke, dry_run)
                rows.append(row)
                if row["outcome"] in (Outcome.HANDLED, Outcome.NOTHING) and not dry_run:
                    queue.delete_message(QueueUrl=url, ReceiptHandle=kept.pop())
        return rows
    finally:
        for receipt in kept:
            queue.change_message_visibility(QueueUrl=url, ReceiptHandle=receipt, VisibilityTimeout=0)


def _redrive_one(message: MessageTypeDef, functions: Collection[str], invoke: Invoke, dry_run: bool) -> Row:
    attributes = {name: each.get("StringValue", "") for name, each in message.get("MessageAttributes", {}).items()}
    sent = int(message.get("Attributes", {}).get("SentTimestamp", 0)) / 1000
    try:
        letter = read_letter(message["Body"], attributes)
        if letter.function not in functions:
            raise LetterError(f"{letter.function} is no function of this stack")
    except LetterError as error:
        return _row(sent, Letter("", {}, str(error)), Outcome.UNKNOWN)
    if letter.event is None:
        return _row(sent, letter, Outcome.NOTHING)
    if dry_run:
        return _row(sent, letter, Outcome.WAITING)
    wrong = invoke(letter.function, letter.event)
    if wrong is None:
        return _row(sent, letter, Outcome.HANDLED)
    return _row(sent, Letter(letter.function, letter.event, wrong), Outcome.FAILED)


def _invoker(session: boto3.Session) -> Invoke:
    client = session.client("lambda", config=_INVOKE)

    def invoke(function: str, event: object) -> str | None:
        try:
            answer = client.invoke(FunctionName=function, Payload=json.dumps(event).encode())
        except (BotoCoreError, ClientError) as error:
            return str(error)
        if not answer.get("FunctionError"):
            return None
        payload = json.loads(answer["Payload"].read() or b"{}")
        return f"{payload.get('errorType', answer['FunctionError'])}: {payload.get('errorMessage', '')}"

    return invoke


def rows_of(letters: list[Mapping[str, Any]]) -> list[Row]:
    """Return the rows of a local cluster's letters; those that were redriven have an outcome."""
    return [
        _row(
            each["time"],
            Letter(each["function"], each["event"], each["error"]),
            Outcome(each.get("outcome", Outcome.WAITING)),
        )
        for each in letters
    ]


def _row(time: float, letter: Letter, outcome: Outcome) -> Row:
    return {
        "time": datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "function": letter.function,
        "event": describe(letter.event) if outcome is not Outcome.UNKNOWN else "",
        "outcome": outcome.value,
        "error": "" if outcome is Outcome.HANDLED else letter.error,
    }
