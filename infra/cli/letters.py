"""Dead letters of the stack's queue: what is in them. Pure.

Three parts of AWS write them, each in a form of its own:

- Lambda, for an event that a function failed to handle: an envelope with the event as `requestPayload`.
- EventBridge, for an event that Lambda did not take: the event; the function is the attribute TARGET_ARN.
- Lambda's reader of the table's stream: where the records stood in the stream, not the records. There is nothing
  in it to redrive, and no need: the reconciler compares each namespace with its snapshot once a minute.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


class LetterError(Exception):
    """A message of the queue is no dead letter that is known."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter: the function's name, the event (None when the letter has only its place), and what went wrong."""

    function: str
    event: object | None
    error: str


def read_letter(body: str, attributes: Mapping[str, str]) -> Letter:
    """Return what is in a message of the queue. Raises LetterError."""
    try:
        document = json.loads(body)
    except ValueError as error:
        raise LetterError("its body is not JSON") from error
    if not isinstance(document, dict):
        raise LetterError("its body is not an object")
    if "TARGET_ARN" in attributes:
        reason = attributes.get("ERROR_MESSAGE") or attributes.get("ERROR_CODE") or "Lambda did not take the event"
        return Letter(_name(attributes["TARGET_ARN"]), document, reason)
    context = document.get("requestContext")
    if not isinstance(context, dict) or not isinstance(context.get("functionArn"), str):
        raise LetterError("it is neither Lambda's nor EventBridge's")
    function = _name(context["functionArn"])
    if "requestPayload" in document:
        return Letter(function, document["requestPayload"], _error(document))
    if "DDBStreamBatchInfo" in document:
        return Letter(function, None, _error(document))
    raise LetterError("it has no requestPayload")


def describe(event: object | None) -> str:
    """Return an event in a few words: what it is and what it is about."""
    if event is None:
        return "records of the stream"
    if not isinstance(event, Mapping):
        return "no event"
    if "Records" in event:
        return f"{len(event['Records'])} records of the stream"
    resources = event.get("resources") or [""]
    return f"{event.get('detail-type', 'no event')} {str(resources[0]).rpartition('/')[2]}".strip()


def _name(arn: str) -> str:
    """Return the function's name in its ARN, which may end with a version."""
    parts = arn.split(":")
    if len(parts) < 7 or parts[2] != "lambda":
        raise LetterError(f"{arn} is not the ARN of a function")
    return parts[6]


def _error(document: Mapping[str, Any]) -> str:
    payload = document.get("responsePayload")
    if isinstance(payload, Mapping) and payload.get("errorMessage"):
        return f"{payload.get('errorType', 'Error')}: {payload['errorMessage']}"
    return str(document["requestContext"].get("condition", "it failed"))
