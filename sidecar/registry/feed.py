"""The feed's client: a namespace's version, its latest changes and whole documents, read from DynamoDB and S3.

Rules:
- A sidecar reads the copy that its task's id names, so that a fleet spreads over all of them.
- Reads are eventually consistent, which costs half. Changes that lag behind HEAD are read once more, consistently.
- A mistake of the configuration is a `FeedError` that says what to look at.
"""

from __future__ import annotations

import binascii
import json
import re
import zlib
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from sidecar.aws_calls import Caller, CallError, address, code_of, decoded, document_of, domain
from sidecar.credentials import TaskCredentials

COPIES: Final = 8
READ_SECONDS: Final = 2.0
"""DynamoDB answers in milliseconds; who waits longer has no use for the answer."""
WHOLE_READ_SECONDS: Final = 10.0

_HINTS: Final = {
    "AccessDeniedException": "the task role may not read the feed; attach the policy in the stack's output "
    "SidecarPolicyArn, whose parameter Namespace must be this task's",
    "ResourceNotFoundException": "there is no such table; set TRAMO_FEED_TABLE to the stack's output FeedTableName",
    "ProvisionedThroughputExceededException": "more is read than the stack's parameter FeedReadCapacity allows",
    "RequestLimitExceeded": "the account reads more of DynamoDB than its quota allows",
    "ThrottlingException": "more is read of the feed than DynamoDB allows for now",
}
_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


class FeedError(CallError):
    """The feed cannot be read."""


class FeedHead(NamedTuple):
    """What the feed has: a version, where its changes begin, and the revision of the whole document, if there is one.

    `seconds` is how often the feed shall be read, None if it does not say; `questions` are those of operators.
    """

    epoch: str
    revision: int
    since: int
    seconds: float | None
    bucket: str
    whole: int | None
    questions: str = ""


class FeedChanges(NamedTuple):
    """A document with all that happened after the revision `since`, up to `revision` of an epoch."""

    epoch: str
    revision: int
    since: int
    body: bytes


class FeedClient:
    """Reads one namespace's feed. One instance belongs to one thread."""

    def __init__(
        self,
        table: str,
        namespace: str,
        copy: int,
        region: str,
        credentials: TaskCredentials,
        dynamodb_url: str = "",
        s3_url: str = "",
    ) -> None:
        self._table = table
        self._namespace = namespace
        self._key = f"FEED#{namespace}#{copy}"
        self._url = f"{dynamodb_url or address('dynamodb', region)}/"
        self._s3_url = s3_url
        self._s3_host = f"s3.{region}.{domain(region)}"
        self._dynamodb = Caller("dynamodb", region, credentials, READ_SECONDS)
        self._s3 = Caller("s3", region, credentials, WHOLE_READ_SECONDS)

    def head(self) -> FeedHead | None:
        """Return what the feed has, None when it has nothing of the namespace. Raises FeedError."""
        item = self._item("HEAD", consistent=False)
        if item is None:
            return None
        seconds = _number(item, "seconds")
        return FeedHead(
            _text(item, "epoch"),
            _required(item, "revision"),
            _required(item, "since"),
            float(seconds) if seconds else None,
            _text(item, "bucket"),
            _number(item, "whole"),
            _text(item, "questions"),
        )

    def changes(self, consistent: bool) -> FeedChanges | None:
        """Return the latest changes, None when they are too large for the feed. Raises FeedError."""
        item = self._item("CHANGES", consistent)
        data = item.get("data", {}).get("B") if item is not None else None
        if item is None or data is None:
            return None
        try:
            body = decoded(binascii.a2b_base64(data), "gzip")
        except ValueError as error:  # base64's own is one
            raise FeedError(f"the changes in the feed {self._table} are damaged: what it holds {error}") from error
        return FeedChanges(_text(item, "epoch"), _required(item, "revision"), _required(item, "since"), body)

    def whole(self, head: FeedHead) -> bytes:
        """Return the whole document that the head names. Raises FeedError."""
        if _BUCKET.fullmatch(head.bucket) is None or head.whole is None:
            raise FeedError(f"the feed {self._table} names no bucket with whole documents")
        key = f"snapshots/{quote(self._namespace, safe='')}/{head.epoch}-{head.whole}.json.gz"
        url = f"{self._s3_url}/{head.bucket}/{key}" if self._s3_url else f"https://{head.bucket}.{self._s3_host}/{key}"
        try:
            reply = self._s3.call("GET", url, {})
            if reply.status == 200:
                return decoded(reply.body, "gzip")
        except (CallError, ValueError) as error:
            raise FeedError(f"the whole document at {url} cannot be read: {error}") from error
        hint = "the task role may not read it, or it is gone" if reply.status == 403 else "see S3's error codes"
        raise FeedError(f"S3 answered {reply.status} to GET {url}: {hint}")

    def _item(self, sort_key: str, consistent: bool) -> dict[str, Any] | None:
        call = {
            "TableName": self._table,
            "Key": {"pk": {"S": self._key}, "sk": {"S": sort_key}},
            "ConsistentRead": consistent,
        }
        headers = {"content-type": "application/x-amz-json-1.0", "x-amz-target": "DynamoDB_20120810.GetItem"}
        try:
            reply = self._dynamodb.call("POST", self._url, headers, json.dumps(call).encode())
        except CallError as error:
            raise FeedError(f"the feed {self._table} cannot be read: {error}") from error
        document = document_of(reply)
        if reply.status == 200 and document is not None:
            item: dict[str, Any] | None = document.get("Item")
            return item
        code = code_of(document)
        hint = _HINTS.get(code, "see DynamoDB's error codes")
        raise FeedError(f"DynamoDB answered {reply.status} {code or 'without a code'} for {self._table}: {hint}")


def copy_of(task_id: str) -> int:
    """Return the number of the copy that a task reads."""
    return zlib.crc32(task_id.encode()) % COPIES


def _text(item: dict[str, Any], name: str) -> str:
    return str(item.get(name, {}).get("S", ""))


def _number(item: dict[str, Any], name: str) -> int | None:
    try:
        return int(item[name]["N"])
    except (KeyError, TypeError, ValueError):
        return None


def _required(item: dict[str, Any], name: str) -> int:
    number = _number(item, name)
    if number is None:
        raise FeedError(f"the feed has no {name}: it is of another release")
    return number
